import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  ago,
  ahead,
  lease,
  putInState,
  registerDefaultAccount,
  set,
} from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

let shop: Shop;
let url: string;
const sessions: postgres.Sql[] = [];

beforeAll(async () => {
  shop = await openShop();
  ({ url } = await shop.database.login('acme_worker'));
  await registerDefaultAccount(shop.sql);
});
afterAll(async () => {
  await Promise.all(sessions.map((session) => session.end({ timeout: 1 })));
});

interface SignedIn {
  id: number;
  beat(): Promise<{ is_known: boolean; freed: number }>;
  /** Ends its session, and waits until PostgreSQL has noticed. */
  die(): Promise<void>;
}

async function signIn(replaces: number | null = null, pid = 1): Promise<SignedIn> {
  const session = postgres(url, { max: 1, onnotice: () => undefined });
  sessions.push(session);
  const [row] = await session<{ id: string; pid: number }[]>`
    select acme_private.worker_begin('here', ${pid}, 'test', 1, ${replaces}) as id, pg_backend_pid() as pid`;
  const id = Number(row?.id);
  return {
    id,
    async beat() {
      const [beat] = await session<{ beat: { is_known: boolean; freed: number } }[]>`
        select acme_private.worker_beat(${id}, ${`pool-of-${id}`}, '100 milliseconds', clock_timestamp()) as beat`;
      if (beat === undefined) throw new Error('no answer');
      return beat.beat;
    },
    async die() {
      await session.end({ timeout: 1 });
      await until(
        async () =>
          (await shop.sql`select from pg_stat_activity where pid = ${row?.pid ?? 0}`).length === 0,
        { what: 'the session is gone' },
      );
    },
  };
}

/** Makes the last sign of life an old one. */
async function silence({ id }: SignedIn): Promise<void> {
  await set(shop.sql, 'worker', id, { heartbeat_at: ago('1 minute') });
}

/** Each beat frees what one dead worker held; some of them are of tests before. */
async function beatOften(worker: SignedIn): Promise<void> {
  for (let i = 0; i < 8; i++) await worker.beat();
}

async function orderHeldBy({ id }: SignedIn): Promise<string> {
  const csr = await shop.insert();
  await putInState(shop.sql, csr, 'ordering');
  await shop.clearJobs();
  const [order = ''] = await lease(
    shop.sql,
    'order',
    { csr_id: csr },
    { worker: id, length: '1 hour' },
  );
  return order;
}

async function isHeld(order: string): Promise<boolean> {
  const rows = await shop.sql`
    select from acme_private."order" where id = ${order} and lease_token is not null`;
  return rows.length > 0;
}

async function stateOf({ id }: SignedIn): Promise<string | undefined> {
  const [row] = await shop.sql<{ state: string }[]>`
    select state from acme.worker_status where worker_status.id = ${id}`;
  return row?.state;
}

test('what a dead worker held is freed and woken, its jobs are unlocked, and an event says so', async () => {
  const dead = await signIn();
  await dead.beat();
  const order = await orderHeldBy(dead);
  await shop.sql`select from acme_worker.add_job('dispatch', '{}'::json)`;
  await shop.sql`
    update acme_worker._private_jobs set locked_by = ${`pool-of-${dead.id}`}, locked_at = now()`;
  const other = await signIn();
  await dead.die();
  await silence(dead);
  expect(await other.beat()).toMatchObject({ is_known: true, freed: 1 });
  expect(await isHeld(order)).toBe(false);
  expect(await stateOf(dead)).toBe('lost');
  const jobs = await shop.jobs();
  expect(jobs.map(({ key }) => key)).toContain(`pgacme:order:${order}`);
  const locked = await shop.sql`select from acme_worker.jobs where locked_at is not null`;
  expect(locked).toHaveLength(0);
  const [event] = await shop.sql<{ detail: object }[]>`
    select detail from acme.event where event = 'worker_lost' and worker_id = ${dead.id}`;
  expect(event?.detail).toMatchObject({ freed: 1, found_by: other.id });
  // Once is enough.
  expect(await other.beat()).toMatchObject({ freed: 0 });
  await other.die();
});

test('a worker that is silent but holds its lock is left alone', async () => {
  const slow = await signIn();
  const order = await orderHeldBy(slow);
  const other = await signIn();
  await silence(slow);
  await beatOften(other);
  expect(await isHeld(order)).toBe(true);
  expect(await stateOf(slow)).toBe('silent');
  expect(await slow.beat()).toMatchObject({ is_known: true });
  await Promise.all([slow.die(), other.die()]);
});

test('a worker that gave a sign of life just now is not looked at', async () => {
  const quick = await signIn();
  const order = await orderHeldBy(quick);
  await quick.die();
  await set(shop.sql, 'worker', quick.id, { heartbeat_at: ahead('1 minute') });
  const other = await signIn();
  await beatOften(other);
  expect(await isHeld(order)).toBe(true);
  await other.die();
});

test("somebody else's session that takes a dead worker's lock does not keep it alive", async () => {
  const dead = await signIn();
  const order = await orderHeldBy(dead);
  await dead.die();
  await silence(dead);
  const stranger = postgres(url, { max: 1 });
  sessions.push(stranger);
  // worker_lock_class(), which a worker may not call
  await stranger`select pg_advisory_lock(1885823331, ${dead.id})`;
  const other = await signIn();
  await beatOften(other);
  expect(await isHeld(order)).toBe(false);
  await other.die();
});

test('a worker that was buried is told so, and signs in anew under another id', async () => {
  const first = await signIn();
  const order = await orderHeldBy(first);
  const again = await signIn(first.id);
  expect(await isHeld(order)).toBe(false);
  expect(await first.beat()).toMatchObject({ is_known: false });
  expect(again.id).not.toBe(first.id);
  await Promise.all([first.die(), again.die()]);
});

test('a claim counts against its row where the process is gone, not where it goes on under another id', async () => {
  const claimsOf = async (order: string) => {
    const [row] = await shop.sql<[{ claims: number }]>`
      update acme_private."order" set claims = claims + 1 where id = ${order} returning claims`;
    return row.claims - 1;
  };
  const first = await signIn();
  const order = await orderHeldBy(first);
  await claimsOf(order);
  const again = await signIn(first.id);
  expect(await claimsOf(order)).toBe(0);
  await lease(shop.sql, 'order', order, { worker: again.id, length: '1 hour' });
  await again.die();
  await silence(again);
  const other = await signIn();
  await beatOften(other);
  expect(await isHeld(order)).toBe(false);
  expect(await claimsOf(order)).toBe(1);
  await Promise.all([first.die(), other.die()]);
});

test('a worker whose old id is another one by now, after a fail-over that lost its row, buries nobody', async () => {
  const other = await signIn();
  const order = await orderHeldBy(other);
  const later = await signIn(other.id, 2);
  expect(await isHeld(order)).toBe(true);
  expect(await other.beat()).toMatchObject({ is_known: true });
  await Promise.all([other.die(), later.die()]);
});

test('what a worker says of itself is bounded, and holds nothing that acts on a terminal', async () => {
  const { sql, database } = shop;
  const worker = await database.as('acme_worker', { max: 1 });
  const odd = `\u001b]0;owned\u0007\u202e${'x'.repeat(2_000_000)}`;
  const [{ id }] = await worker<[{ id: string }]>`
    select acme_private.worker_begin(${odd}, -1, ${odd}, 2147483647, null) as id`;
  await worker`select acme_private.worker_beat(${id}, ${odd}, '1 minute', clock_timestamp())`;
  await worker`select acme_private.worker_hold(${id}, ${odd})`;
  await worker`select acme_private.worker_started_with(${id}, ${odd}, true)`;
  const [row] = await sql<[Record<string, unknown>]>`
    select * from acme_private.worker where id = ${id}`;
  const texts = Object.entries(row).filter(([, value]) => typeof value === 'string');
  for (const [column, value] of texts) {
    expect(String(value).length, column).toBeLessThanOrEqual(300);
    expect(value, column).not.toMatch(/[\u0000-\u001f\u202e]/);
  }
  expect(texts.map(([column]) => column)).toEqual(
    expect.arrayContaining(['host', 'version', 'environment', 'pool_id', 'http01']),
  );
  expect(row).toMatchObject({ pid: 0, concurrency: 100_000 });
});
