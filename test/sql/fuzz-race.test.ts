import * as fc from 'fast-check';
import postgres from 'postgres';
import { test } from 'vitest';
import { type Action, anyAction, type Memory, perform, prepare } from '../helpers/fuzz/actions.ts';
import { crowded, logTransitions, violations } from '../helpers/fuzz/invariants.ts';
import { comeToRest } from '../helpers/fuzz/rest.ts';
import { assertProperty } from '../helpers/fuzz/run.ts';
import { type FuzzWorker, makeWorker } from '../helpers/fuzz/worker.ts';
import { makeWorld, type World } from '../helpers/fuzz/world.ts';
import { scaled } from '../helpers/scale.ts';

/** Moves of each session; the sessions make theirs at the same time. */
interface Race {
  workers: Action[][];
  others: Action[][];
  losesJobs: boolean;
}

const WORKERS = 5;

function anyRace(): fc.Arbitrary<Race> {
  const list = (arbitrary: fc.Arbitrary<Action>) =>
    fc.array(arbitrary, { minLength: 60, maxLength: 60 });
  return fc.record({
    workers: fc.array(list(anyAction('worker')), { minLength: WORKERS, maxLength: WORKERS }),
    others: fc.tuple(
      list(anyAction('application')),
      list(anyAction('application')),
      list(anyAction('application', 'administrator')),
    ),
    losesJobs: fc.boolean(),
  });
}

/** What happened, in the order in which it ended, and what must not have. */
interface Log {
  told: string[];
  problems: string[];
}

async function makeMoves(
  name: string,
  world: World,
  worker: FuzzWorker,
  memory: Memory,
  actions: Action[],
  log: Log,
): Promise<void> {
  for (const action of actions) {
    try {
      log.told.push(`${name}: ${await perform(world, worker, memory, action)}`);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const detail =
        error instanceof postgres.PostgresError
          ? ` ${error.code} ${error.detail ?? ''} ${error.where ?? ''}`
          : '';
      log.told.push(`${name}: ${action.what} fails: ${error.message}`);
      log.problems.push(`${name}: ${JSON.stringify(action)}: ${error.message}${detail}`);
    }
  }
}

/** Looks at one snapshot after the other while the others work. */
async function watch(world: World, byHand: boolean, log: Log, isOver: () => boolean) {
  while (!isOver()) {
    log.problems.push(
      ...(await violations(world.sql)),
      ...(byHand ? [] : await crowded(world.sql)),
    );
  }
}

async function run({ workers, others, losesJobs }: Race, byHand: boolean): Promise<void> {
  const world = await makeWorld({ byHand, dawdle: true, places: { ca: 5, other: 3 } });
  try {
    await logTransitions(world.sql);
    const crew = await Promise.all(workers.map((_, i) => makeWorker(world, `worker_${String(i)}`)));
    const idle = await makeWorker(world, 'idle');
    const memory: Memory = { asked: new Map() };
    const log: Log = { told: [], problems: [] };
    let isOver = false;
    await prepare(world, idle, 24);
    const watching = watch(world, byHand, log, () => isOver);
    await Promise.all([
      ...workers.map((actions, i) =>
        makeMoves(`worker_${String(i)}`, world, crew[i] ?? idle, memory, actions, log),
      ),
      ...others.map((actions, i) =>
        makeMoves(`other_${String(i)}`, world, idle, memory, actions, log),
      ),
    ]).finally(() => {
      isOver = true;
    });
    await watching;
    if (log.problems.length > 0) {
      throw new Error(`${log.problems.join('\n')}\nThe moves:\n${log.told.join('\n')}`);
    }
    await comeToRest(world, crew, memory, { losesJobs });
  } finally {
    await world.database.drop();
  }
}

test.each([
  ['the built-in responder', false],
  ['some names published by hand', true],
])(
  'sessions that work at the same time lock in one order, keep the rules and lose nothing: %s',
  { timeout: 3_600_000 },
  async (_, byHand) => {
    await assertProperty(
      fc.asyncProperty(anyRace(), (race) => run(race, byHand)),
      // A race does not come out the same way again: a smaller one proves nothing.
      { numRuns: scaled(4, 2), endOnFailure: true },
    );
  },
);
