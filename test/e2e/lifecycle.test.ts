import { expect, test } from 'vitest';
import { travel } from '../helpers/clock.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';

const current = async ({ sql }: World, id: string): Promise<string | undefined> => {
  const [row] = await sql<{ certificate_id: string }[]>`
    select certificate_id from acme.current_certificate where csr_id = ${id}`;
  return row?.certificate_id;
};

test('a certificate is renewed when a third of its lifetime is left, and served until the new one is there', async () => {
  const world = await pebbleWorld();
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  const { renew_at: renewAt } = await world.reach(id, 'issued');
  const first = await current(world, id);
  const [row] = await world.sql<[{ left: number }]>`
    select (extract(epoch from not_after - ${renewAt}) / extract(epoch from not_after - not_before))::float8 as left
      from acme.current_certificate where csr_id = ${id}`;
  expect(row.left).toBeGreaterThan(0.333);
  expect(row.left).toBeLessThan(0.36);
  await world.sql`select acme_private.reconcile()`;
  expect((await world.status(id)).state).toBe('issued');
  // Pebble's default lifetime differs by version; a little after two thirds of it is due.
  const [lifetime] = await world.sql<[{ days: number }]>`
    select (extract(epoch from not_after - not_before) / 86400)::float8 as days from acme.current_certificate where csr_id = ${id}`;
  await travel(world.sql, Math.ceil(lifetime.days * 0.67));
  await world.sql`select acme_private.reconcile()`;
  const second = await until(
    async () => {
      const now = await current(world, id);
      expect(now).toBeDefined();
      return now !== first && now;
    },
    { what: 'a new certificate is current' },
  );
  expect((await world.status(id)).certificate_id).toBe(second);
  const states = await world.sql<{ state: string }[]>`
    select state from acme.certificate where csr_id = ${id} order by id`;
  expect(states.map(({ state }) => state)).toEqual(['superseded', 'current']);
  expect(await world.events(id)).toContain('renewal_due');
});

test('a failing renewal does not hide the certificate that is still good', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  const name = freshName();
  const id = await world.insert({ names: [name] });
  await world.reach(id, 'issued');
  const first = await current(world, id);
  ca.options.validation = { type: 'caa', detail: 'CAA says no' };
  await world.sql`select acme.renew(${id}, 'a new chain')`;
  const waiting = await world.reach(id, 'retrying');
  expect(waiting).toMatchObject({ has_certificate: true, certificate_id: first });
  const [served] = await world.sql<[{ certificate_id: string }]>`
    select certificate_id from acme.certificate_for(${name.toUpperCase()})`;
  expect(served.certificate_id).toBe(first);
  ca.options.validation = 'fetch';
  await world.sql`select acme.retry(${id})`;
  await world.reach(id, 'issued');
  expect(await current(world, id)).not.toBe(first);
});

test('renewal can be switched off and on again', async () => {
  const world = await pebbleWorld();
  await world.worker();
  const id = await world.insert({ names: [freshName()] }, { renewal: 'off' });
  const row = await world.reach(id, 'issued');
  expect(row.renew_at).toBeNull();
  await world.sql`update acme.csr set renewal = 'reuse' where id = ${id}`;
  await until(async () => (await world.status(id)).renew_at, { what: 'a renewal is planned' });
  await world.sql`update acme.csr set renewal = 'off' where id = ${id}`;
  await until(async () => (await world.status(id)).renew_at === null, {
    what: 'no renewal is planned',
  });
});

test('a renewal that is asked for while an order is under way is done after it', async () => {
  const { ca, ...world } = await faultyWorld({ finalizeDelayMs: 500 });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await until(() => ca.count('finalize') === 1, { what: 'the first order is finalized' });
  await world.sql`select acme.renew(${id})`;
  await until(
    async () => (await world.sql`select from acme.certificate where csr_id = ${id}`).length === 2,
    {
      what: 'a second certificate',
    },
  );
  await world.reach(id, 'issued');
  expect(ca.count('newOrder')).toBe(2);
});

test('cancelling before finalize deactivates what is pending and cleans up', async () => {
  const { ca, ...world } = await faultyWorld({ validationDelayMs: 60_000 });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await until(() => ca.count('challenge') === 1, { what: 'the challenge is answered' });
  await world.sql`select acme.cancel(${id})`;
  await world.reach(id, 'cancelled', 20_000);
  const rows = await world.sql<{ order: string; authorization: string; record: string }[]>`
    select (select state from acme."order") as order,
           (select state from acme.authorization) as authorization,
           (select state from acme.record) as record`;
  expect(rows[0]).toEqual({ order: 'cancelled', authorization: 'deactivated', record: 'removed' });
  const deactivated = ca.seen.some(
    ({ resource, payload }) =>
      resource === 'authorization' && (payload as { status?: string }).status === 'deactivated',
  );
  expect(deactivated).toBe(true);
  // Its CSR may be inserted anew.
  const [csr] = await world.sql<[{ pem: string }]>`select pem from acme.csr where id = ${id}`;
  ca.options.validationDelayMs = 0;
  await world.reach(await world.insert({ pem: csr.pem }), 'issued');
}, 70_000);

test('cancelling after finalize stores the certificate first', async () => {
  const { ca, ...world } = await faultyWorld({ finalizeDelayMs: 700 });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await until(() => ca.count('finalize') === 1, { what: 'the order is finalized' });
  await world.sql`select acme.cancel(${id})`;
  const row = await world.reach(id, 'cancelled');
  expect(row.has_certificate).toBe(true);
  expect(row.renew_at).toBeNull();
  const [event] = (await world.events(id)).slice(-1);
  expect(event).toBe('cancelled');
});

test('a csr that is cancelled before a worker sees it never becomes an order', async () => {
  const { ca, ...world } = await faultyWorld();
  const id = await world.insert({ names: [freshName()] });
  await world.sql`select acme.cancel(${id})`;
  await world.worker();
  await world.reach(id, 'cancelled');
  expect(ca.count('newOrder')).toBe(0);
});

test('a paused server admits nothing until it is resumed, and says why', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  await world.sql`select acme.pause('server', 'ca', 'maintenance until noon')`;
  const id = await world.insert({ names: [freshName()] });
  const row = await world.reach(id, 'paused');
  expect(row.reason).toContain('maintenance until noon');
  expect(ca.count('newOrder')).toBe(0);
  await world.sql`select acme.resume('server', 'ca')`;
  await world.reach(id, 'issued');
});

test('tenants take turns, whatever the length of their queues', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.sql`update acme.server set max_orders_in_flight = 1 where name = 'ca'`;
  await world.sql`select acme.pause('server', 'ca', 'until all are queued')`;
  const order: string[] = [];
  for (const [tenant, count] of [
    ['a', 6],
    ['b', 2],
    ['c', 2],
  ] as const) {
    for (let i = 0; i < count; i++) {
      order.push(await world.insert({ names: [freshName()] }, { tenant }));
    }
  }
  await world.worker();
  await until(
    async () => (await world.sql`select from acme.csr_status where state = 'paused'`).length === 10,
    { what: 'all are queued' },
  );
  await world.sql`select acme.resume('server', 'ca')`;
  for (const id of order) await world.reach(id, 'issued', 20_000);
  const rows = await world.sql<{ tenant: string }[]>`
    select tenant from acme.event where event = 'order_created' order by id`;
  const served = rows.map(({ tenant }) => tenant).join('');
  // Whoever was first, b and c are through after at most six orders.
  expect([...served.slice(0, 6)].sort().join('')).toBe('aabbcc');
  expect(ca.count('newOrder')).toBe(10);
});

test('two csrs for the same names are ordered one after the other', async () => {
  const { ca, ...world } = await faultyWorld({ reuseOrders: true });
  await world.worker();
  const name = freshName();
  const ids = [await world.insert({ names: [name] }), await world.insert({ names: [name] })];
  for (const id of ids) await world.reach(id, 'issued');
  expect(ca.count('finalize')).toBe(2);
  const [row] = await world.sql<[{ keys: number }]>`
    select count(distinct spki_sha256)::int as keys from acme.current_certificate`;
  expect(row.keys).toBe(2);
});
