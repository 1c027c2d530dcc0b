import { expect, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { makeLogger } from '../../src/log.ts';
import { Published } from '../../src/solver/published.ts';
import { startResponder } from '../../src/worker/responder.ts';
import { type PostgresPair, startPostgresPair } from '../helpers/postgres-pair.ts';
import type { Kind } from '../helpers/recording-proxy/index.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import {
  expectOneCertificateEach,
  finalizedFor,
  type Inserted,
  insertWithKey,
  namesOf,
  whileItRuns,
} from './certificates.ts';
import { type CrashWorld, crashWorlds } from './crash-world.ts';

const WAIT_MS = 180_000;
const newWorld = crashWorlds({ authzReuse: 100 });

/** Inserts a CSR, and holds back the CA's answers of one kind about it. */
async function insertAndHold(world: CrashWorld, kind: Kind, names: string[]) {
  const held = hold(world, kind, names);
  return { ...held, csr: await insertWithKey(world, names) };
}

async function worldOn(pair: PostgresPair): Promise<CrashWorld> {
  const database = await pair.database();
  await migrate({ databaseUrl: database.url });
  return newWorld(database);
}

/** Holds back the CA's answers of one kind about orders for these names. */
function hold(world: CrashWorld, kind: Kind, names: string[]) {
  let deliver = () => undefined as void;
  const delivered = new Promise<void>((resolve) => (deliver = resolve));
  let isReached = false;
  world.proxy.holdAnswers(
    (record) => record.kind === kind && namesOf(world, record).join() === names.join(),
    () => {
      isReached = true;
      return delivered;
    },
  );
  return {
    deliver,
    /** The CA has acted, and its answer is held. */
    reached: () =>
      until(() => isReached, {
        what: `the CA has answered ${kind} for ${names.join()}`,
        timeoutMs: WAIT_MS,
      }),
  };
}

/** What was just published is answered by a responder whose URL names the standby first. */
async function expectAnswerOf({ standbyFirst }: PostgresPair, world: CrashWorld): Promise<void> {
  const records = await world.sql<{ token: string; value: string }[]>`
    select token, value from acme.record where state = 'published' order by id desc limit 1`;
  const url = standbyFirst(world.database.url);
  const responder = await startResponder(
    { host: '127.0.0.1', port: 0 },
    { url, isPooled: false },
    new Published(),
    makeLogger('silent'),
  );
  try {
    const answers = records.map(async ({ token }) => {
      const path = `/.well-known/acme-challenge/${token}`;
      return (await fetch(`http://127.0.0.1:${responder.port}${path}`)).text();
    });
    expect(await Promise.all(answers)).toEqual(records.map(({ value }) => value));
    expect(answers).toHaveLength(1);
  } finally {
    await responder.stop();
  }
}

test('a synchronous standby is promoted in the middle of orders: nothing is lost, nothing is doubled', async () => {
  // The primary's log is flushed late, so that commits that do not wait for it are really lost.
  const pair = await startPostgresPair({
    isSynchronous: true,
    settings: { wal_writer_delay: '10s' },
  });
  const world = await worldOn(pair);
  const worker = world.spawn({ concurrency: 8 });
  const known = await insertWithKey(world, [freshName('known')]);
  await world.reach(known.id, 'issued', WAIT_MS);

  const held = [
    await insertAndHold(world, 'newOrder', [freshName('unmade')]),
    await insertAndHold(world, 'challenge', [freshName('answered')]),
    await insertAndHold(world, 'finalize', [freshName('sent')]),
    // The CA takes its name as proved: this order is ready at once, and nothing is published for it.
    await insertAndHold(world, 'finalize', known.names),
    await insertAndHold(world, 'certificate', [freshName('fetched')]),
  ];
  for (const { reached } of held) await reached();
  const waiting = await insertWithKey(world, [freshName('waiting')]);
  await pair.killPrimary();
  for (const { deliver } of held) deliver();
  await pair.promote();

  const csrs = [known, ...held.map(({ csr }) => csr), waiting];
  for (const { id } of csrs) await whileItRuns(worker, world.reach(id, 'issued', WAIT_MS));
  await expectOneCertificateEach(world, csrs);
  for (const { names } of csrs) {
    // Two csrs have the same name.
    const wanted = csrs.filter((other) => other.names.join() === names.join()).length;
    expect(finalizedFor(world, names), names.join()).toBe(wanted);
  }
  expect(worker.lines.join('\n')).toContain('the worker lost its lock and starts anew');
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
}, 600_000);

test('an asynchronous standby is promoted: what was lost is found again at the CA, or ordered anew', async () => {
  const pair = await startPostgresPair({ isSynchronous: false });
  const world = await worldOn(pair);
  const worker = world.spawn({ concurrency: 8 });
  const kept = await insertWithKey(world, [freshName('kept')]);
  await world.reach(kept.id, 'issued', WAIT_MS);

  const first = await insertAndHold(world, 'newOrder', [freshName('unknown')]);
  const second = await insertAndHold(world, 'challenge', [freshName('found')]);
  for (const { reached } of [first, second]) await reached();
  await pair.caughtUp();
  await pair.cutStandby();
  // Lost: the whole order of the one, and all of the other but its order's URL; and another worker.
  const newcomer = world.spawn({ concurrency: 8 });
  await newcomer.waitForLine(/"msg":"worker started"/, WAIT_MS);
  const published = hold(world, 'challenge', first.csr.names);
  for (const { deliver } of [first, second]) deliver();
  await published.reached();
  await expectAnswerOf(pair, world);
  published.deliver();
  const [unknown, found] = [first.csr, second.csr];
  for (const { id } of [unknown, found]) await world.reach(id, 'issued', WAIT_MS);
  const serials = () => world.sql<{ csr_id: string; serial: string }[]>`
    select csr_id::text, serial from acme.current_certificate order by csr_id`;
  const before = await serials();
  const workersBefore = await world.sql`select from acme.worker_status`;
  expect(workersBefore).toHaveLength(2);
  await pair.killPrimary();
  await pair.promote();
  await until(
    async () => {
      const states = await world.sql<{ id: string; state: string }[]>`
        select id::text, state from acme.csr_status where state = 'issued'`;
      return states.length === 3;
    },
    { what: 'all are issued again', timeoutMs: WAIT_MS },
  );

  const csrs = [kept, unknown, found];
  await expectOneCertificateEach(world, csrs);
  const after = await serials();
  const isSame = (csr: Inserted) =>
    before.find(({ csr_id }) => csr_id === csr.id)?.serial ===
    after.find(({ csr_id }) => csr_id === csr.id)?.serial;
  // Its order was known: the very certificate that was lost. The other one's was not: a new order.
  expect([isSame(kept), isSame(found), isSame(unknown)]).toEqual([true, true, false]);
  expect(finalizedFor(world, found.names)).toBe(1);
  expect(finalizedFor(world, unknown.names)).toBe(2);

  const next = await insertWithKey(world, [freshName('next')]);
  await world.reach(next.id, 'issued', WAIT_MS);
  await expectOneCertificateEach(world, [...csrs, next]);
  for (const one of [worker, newcomer]) {
    expect(await one.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  }
}, 600_000);
