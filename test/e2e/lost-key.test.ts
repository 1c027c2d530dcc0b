import { randomBytes } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { account, valid } from '../helpers/account.ts';
import { travel } from '../helpers/clock.ts';
import { ago, all, now, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';

vi.setConfig({ testTimeout: 90_000 });

/** As after the loss of PGACME_SECRET_KEY: no worker opens the key of `main` any more. */
const anotherSecret = () => ({ secretKey: randomBytes(32).toString('base64') });

/** Another account takes the place of `main`. */
async function replace({ sql }: World): Promise<void> {
  await sql`insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
  await sql`select acme.replace_account('main', 'second')`;
}

const waitsForKey = (world: World, id: string) =>
  until(async () => (await world.status(id)).reason_code === 'secret_key_wrong', {
    what: `csr ${id} waits for the key`,
    timeoutMs: 30_000,
  });

const orders = ({ sql }: World, id: string) => sql`
  select a.name, o.state, o.reason_code
    from acme."order" o join acme.account a on a.id = o.account_id
   where o.csr_id = ${id} order by o.id`;

async function manual({ sql }: World): Promise<void> {
  await sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{by-hand.example.org}')`;
}

test('csrs whose orders wait for a key that is lost go on with the account that takes its place', async () => {
  const world = await pebbleWorld();
  await manual(world);
  const first = await world.worker();
  await valid(world);
  const renewed = await world.insert({ names: [freshName()] });
  await world.reach(renewed, 'issued');
  const byHand = await world.insert({ names: ['www.by-hand.example.org'] });
  await until(async () => (await world.status(byHand)).reason_code === 'waiting_for_publication', {
    what: 'it waits for a person',
  });
  await first.stop();
  await world.worker(anotherSecret());
  const fresh = await world.insert({ names: [freshName()] });
  await world.sql`select acme.renew(${renewed})`;
  await waitsForKey(world, fresh);
  await waitsForKey(world, renewed);
  await replace(world);
  await world.reach(fresh, 'issued', 30_000);
  await until(async () => (await orders(world, renewed)).length === 3, {
    what: 'the renewal is ordered anew',
  });
  await world.reach(renewed, 'issued', 30_000);
  const gone = { name: 'main', state: 'cancelled', reason_code: 'account_replaced' };
  const issued = { state: 'issued', reason_code: null };
  expect(await orders(world, fresh)).toEqual([gone, { name: 'second', ...issued }]);
  expect(await orders(world, renewed)).toEqual([
    { name: 'main', ...issued },
    gone,
    { name: 'second', ...issued },
  ]);
  expect(await world.events(fresh)).toContain('account_replaced');
  await until(async () => (await orders(world, byHand))[1]?.['state'] === 'authorizing', {
    what: 'the new account asks for the name',
  });
  expect((await orders(world, byHand))[0]).toEqual(gone);
  // What the lost account wanted published is not asked for any more.
  expect(
    await world.sql`select csr_id from acme.challenge_todo where action = 'publish'`,
  ).toHaveLength(1);
  expect(await world.status(fresh)).toMatchObject({ attempts: 0 });
});

test('a lost wake-up of a replaced account is found by reconcile, and by acme.stuck', async () => {
  const world = await pebbleWorld();
  const first = await world.worker();
  await valid(world);
  await first.stop();
  const lost = await world.worker(anotherSecret());
  const id = await world.insert({ names: [freshName()] });
  await waitsForKey(world, id);
  await lost.stop();
  await replace(world);
  await world.sql`
    delete from acme_worker._private_jobs j using acme_worker._private_tasks t
     where t.id = j.task_id and t.identifier = 'attend'`;
  await set(world.sql, 'request', all, { created_at: ago('3 minutes') });
  expect(
    await world.sql`select kind from acme.stuck where reason_code = 'request_not_seen'`,
  ).toEqual([{ kind: 'request' }]);
  await world.sql`select acme_private.reconcile()`;
  expect(
    await world.sql`select key from acme_worker.jobs where key = ${`pgacme:csr:${id}`}`,
  ).toHaveLength(1);
  await world.worker(anotherSecret());
  await world.reach(id, 'issued', 30_000);
});

test('an account whose key is lost: deactivated, its csrs are cancelled, and it says that it is open at the server', async () => {
  const world = await pebbleWorld();
  await manual(world);
  const first = await world.worker();
  await valid(world);
  const byHand = await world.insert({ names: ['www.by-hand.example.org'] });
  await until(async () => (await world.status(byHand)).reason_code === 'waiting_for_publication', {
    what: 'it waits for a person',
  });
  await first.stop();
  const lost = await world.worker(anotherSecret());
  const fresh = await world.insert({ names: [freshName()] });
  await waitsForKey(world, fresh);
  await world.sql`select acme.deactivate_account('main')`;
  for (const id of [byHand, fresh]) await world.reach(id, 'cancelled');
  const row = await until(
    async () => {
      const main = await account(world);
      return main.reason_code === 'secret_key_wrong' && main;
    },
    { what: 'the account says so', timeoutMs: 30_000 },
  );
  expect(row.state).toBe('deactivating');
  expect(row.reason).toContain('It is not closed at the server before a worker has the key');
  // It is, once one has.
  await lost.stop();
  await world.worker();
  await set(world.sql, 'account', all, { next_attempt_at: null });
  await world.sql`select acme_private.reconcile()`;
  await until(async () => (await account(world)).state === 'deactivated', {
    what: 'the account is closed',
    timeoutMs: 30_000,
  });
});

/** As after this many tries and more: the next one comes at once. */
async function failed({ sql }: World, tries: number): Promise<void> {
  const update = async () => {
    const attempts = sql`greatest(attempts, ${tries})`;
    const free = { is_live: true, lease_token: null };
    return (await set(sql, 'order', free, { attempts, next_attempt_at: now() })).length === 1;
  };
  await until(update, { what: 'nobody holds the order' });
}

/** A csr whose CSR the server has, which takes its time, when the key of its account is lost. */
async function finalizing() {
  const { ca, ...world } = await faultyWorld({ finalizeDelayMs: 20_000 });
  const first = await world.worker();
  await valid(world);
  const id = await world.insert({ names: [freshName()] });
  await until(async () => (await orders(world, id))[0]?.['state'] === 'finalizing', {
    what: 'the server is issuing',
  });
  await first.stop();
  return { ...world, ca, id };
}

test('an order whose CSR the server has waits an hour for a worker with the key, then a new one is made', async () => {
  const { ca, id, ...world } = await finalizing();
  await world.worker(anotherSecret());
  await waitsForKey(world, id);
  await replace(world);
  await valid(world);
  await travel(world.sql, 50 / 1440);
  await failed(world, 20);
  await world.sql`select acme_private.reconcile()`;
  await until(
    async () =>
      (await world.sql`select from acme."order" where csr_id = ${id} and attempts > 20`).length ===
      1,
    { what: 'it is tried once more' },
  );
  expect(await orders(world, id)).toEqual([
    { name: 'main', state: 'finalizing', reason_code: 'secret_key_wrong' },
  ]);
  expect(await world.sql`select from acme.stuck where kind = 'request'`).toHaveLength(0);
  await travel(world.sql, 70 / 1440);
  await failed(world, 10);
  await world.sql`select acme_private.reconcile()`;
  await until(async () => (await orders(world, id)).length === 2, { what: 'there is a new order' });
  const [row] = await world.sql<[{ reason: string }]>`
    select reason from acme."order" where csr_id = ${id} order by id limit 1`;
  expect(row.reason).toContain('It was given up after an hour');
  expect((await orders(world, id))[0]).toEqual({
    name: 'main',
    state: 'failed',
    reason_code: 'secret_key_wrong',
  });
  await until(() => ca.count('finalize') === 2, { what: 'the second CSR is sent' });
});

test('a worker with the key that comes within the hour fetches the certificate, and nothing is ordered twice', async () => {
  const { ca, id, ...world } = await finalizing();
  const other = await world.worker(anotherSecret());
  await waitsForKey(world, id);
  await replace(world);
  await until(async () => (await world.status(id)).has_pending_request, { what: 'it is to move' });
  await other.stop();
  await until(() => [...ca.store.orders.values()].every(({ state }) => state === 'valid'), {
    what: 'the server has issued it',
    timeoutMs: 30_000,
  });
  await world.worker();
  await travel(world.sql, 10 / 1440);
  await world.sql`select acme_private.reconcile()`;
  await world.reach(id, 'issued', 40_000);
  expect(ca.count('newOrder')).toBe(1);
  expect((await world.sql`select account from acme.csr_status`)[0]).toEqual({ account: 'second' });
});

test('a cancelled csr whose CSR the server has ends at once, and its order is watched until it expires', async () => {
  const { id, ...world } = await finalizing();
  await world.worker(anotherSecret());
  await waitsForKey(world, id);
  await world.sql`select acme.deactivate_account('main')`;
  await world.reach(id, 'cancelled', 30_000);
  const watched = async () => {
    const [row] = await world.sql<[{ state: string; is_watched: boolean }]>`
      select state, watched_until is not null as is_watched from acme_private."order" where csr_id = ${id}`;
    return row;
  };
  expect(await watched()).toEqual({ state: 'cancelled', is_watched: true });
  await set(world.sql, 'order', { csr_id: id }, { watched_until: ago('1 second') });
  await until(
    async () => {
      await world.sql`select acme_private.reconcile()`;
      return !(await watched()).is_watched;
    },
    { what: 'nothing more is expected of it', timeoutMs: 60_000 },
  );
});
