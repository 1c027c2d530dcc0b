import * as fc from 'fast-check';
import { test } from 'vitest';
import { type Action, anyAction, type Memory, perform, prepare } from '../helpers/fuzz/actions.ts';
import { crowded, fingerprint, logTransitions, violations } from '../helpers/fuzz/invariants.ts';
import { comeToRest } from '../helpers/fuzz/rest.ts';
import { assertProperty, replay, shrinkingForAMinute } from '../helpers/fuzz/run.ts';
import { type FuzzWorker, leases, makeWorker } from '../helpers/fuzz/worker.ts';
import { makeWorld, type World } from '../helpers/fuzz/world.ts';
import { scaled } from '../helpers/scale.ts';

/** What must be true of the tables at the moment, beside what is in them. */
interface Model {
  /** Who holds which row, by what was handed out and given back. */
  leases: Map<string, { token: string; holds: boolean }>;
}

interface Real {
  world: World;
  workers: FuzzWorker[];
  memory: Memory;
  byHand: boolean;
}

/** One move of one of the workers or of somebody else, one after the other. */
class Move implements fc.AsyncCommand<Model, Real> {
  readonly #action: Action;
  #told = '';

  constructor(action: Action) {
    this.#action = action;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const { world, workers, memory } = real;
    const worker = workers[this.#action.c % workers.length];
    if (worker === undefined) throw new Error('There is no worker.');
    await see(model, world);
    const isLate = this.#isLate(model, worker);
    const before = isLate ? await fingerprint(world.sql) : '';
    const heldBefore = new Set(worker.held.flatMap((held) => tokenOf(held)));
    this.#told = `${worker.name}: ${await perform(world, worker, memory, this.#action)}${isLate ? ' (too late)' : ''}`;
    if (isLate && (await fingerprint(world.sql)) !== before) {
      throw new Error(`Its lease was gone, and it counted: ${this.#told}`);
    }
    const problems = [
      ...(await violations(world.sql)),
      ...(await stolen(model, world, heldBefore)),
      ...(real.byHand ? [] : await crowded(world.sql)),
    ];
    if (problems.length > 0) throw new Error(`After ${this.#told}: ${problems.join('; ')}`);
  }

  /** A commit of something that the worker no longer holds. */
  #isLate(model: Model, worker: FuzzWorker): boolean {
    if (!['go', 'echo'].includes(this.#action.what) || worker.held.length === 0) return false;
    const held = worker.held[worker.held.length - 1 - (this.#action.a % worker.held.length)];
    if (held === undefined || !('claim' in held)) return false;
    const { kind, id, lease } = held.claim;
    return model.leases.get(`${kind} ${String(id)}`)?.token !== lease;
  }

  toString(): string {
    return this.#told === '' ? JSON.stringify(this.#action) : `\n  ${this.#told}`;
  }
}

function tokenOf(held: FuzzWorker['held'][number]): string[] {
  return ['claim' in held ? held.claim.lease : held.lease];
}

async function see(model: Model, world: World): Promise<void> {
  model.leases = new Map(
    (await leases(world.sql)).map(({ row, token, holds }) => [row, { token, holds }]),
  );
}

/** Rows that another worker held, rightly, and that went to this one. */
async function stolen(model: Model, world: World, own: Set<string>): Promise<string[]> {
  const before = model.leases;
  await see(model, world);
  return [...model.leases].flatMap(([row, { token }]) => {
    const last = before.get(row);
    const isStolen = last?.holds === true && last.token !== token && !own.has(last.token);
    return isStolen ? [`${row} was taken from the worker that held it`] : [];
  });
}

const { commands: replayPath } = replay();

test.each([
  ['the built-in responder', false],
  ['some names published by hand', true],
])(
  'any sequence of moves keeps the rules and loses nothing: %s',
  { timeout: 3_600_000 },
  async (_, byHand) => {
    const moves = anyAction('worker', 'application', 'administrator');
    await assertProperty(
      fc.asyncProperty(
        fc.commands([moves.map((action) => new Move(action))], {
          maxCommands: 120,
          size: 'max',
          ...(replayPath === undefined ? {} : { replayPath }),
        }),
        fc.boolean(),
        shrinkingForAMinute(
          async (commands: Iterable<fc.AsyncCommand<Model, Real>>, losesJobs: boolean) => {
            const world = await makeWorld({ byHand, dawdle: false, places: { ca: 2, other: 1 } });
            try {
              await logTransitions(world.sql);
              const workers = [await makeWorker(world, 'anna'), await makeWorker(world, 'ben')];
              const memory: Memory = { asked: new Map() };
              const real: Real = { world, workers, memory, byHand };
              for (const worker of workers.slice(0, 1)) await prepare(world, worker, 6);
              await fc.asyncModelRun(() => ({ model: { leases: new Map() }, real }), commands);
              await comeToRest(world, workers, memory, { losesJobs });
            } finally {
              await world.database.drop();
            }
          },
        ),
      ),
      { numRuns: scaled(8, 4) },
    );
  },
);
