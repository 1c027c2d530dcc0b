import { expect, test, vi } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { dueNow } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 120_000 });

async function insertAs(world: World, login: string, ...names: string[]): Promise<string> {
  const app = await world.database.as('acme_app', { login });
  const { pem } = await makeCsr({ names });
  const [row] = await app<[{ id: string }]>`
    insert into acme.csr (pem) values (${pem}) returning id`;
  return row.id;
}

async function tenant(world: World, login: string): Promise<string> {
  return (await world.database.login('acme_app', { login })).role;
}

/** Gives the name to the tenant of a login, whose csr was rejected, and has it tried again. */
async function move(world: World, name: string, login: string, csr: string): Promise<void> {
  await world.sql`select acme.move_name(${name}, ${await tenant(world, login)})`;
  await world.sql`select acme.retry(${csr})`;
}

test('a name that was moved is proved again by its new owner, also where the server would reuse the proof', async () => {
  const world = await pebbleWorld({ authzReuse: 100 });
  await world.worker();
  const name = freshName();
  await world.reach(await insertAs(world, 'seller', `shop.${name}`), 'issued');
  const wanted = await insertAs(world, 'buyer', `shop.${name}`);
  expect(await world.reach(wanted, 'rejected')).toMatchObject({ reason_code: 'name_held' });
  await move(world, `shop.${name}`, 'buyer', wanted);
  await world.reach(wanted, 'issued');
  const authorizations = await world.sql<{ tenant: string; state: string; url: string }[]>`
    select tenant, state, url from acme.authorization order by id`;
  expect(authorizations).toMatchObject([
    { tenant: await tenant(world, 'seller'), state: 'deactivated' },
    { tenant: await tenant(world, 'buyer'), state: 'valid' },
  ]);
  const events = await world.sql<{ event: string; tenant: string }[]>`
    select event, tenant from acme.event
     where event in ('authorization_deactivated', 'order_created') order by id`;
  expect(events.map(({ event }) => event)).toEqual([
    'order_created',
    'authorization_deactivated',
    'order_created',
  ]);
});

test('while the server does not deactivate the proof, the name waits with that reason', async () => {
  const world = await faultyWorld({ authzReuse: 'valid' });
  await world.worker();
  const name = freshName();
  await world.reach(await insertAs(world, 'seller', name), 'issued');
  const wanted = await insertAs(world, 'buyer', name);
  await world.reach(wanted, 'rejected');
  const orders = world.ca.count('newOrder');
  const outage = world.ca.on('authorization', {
    when: ({ payload }) => payload !== undefined,
    times: Infinity,
    problem: { type: 'serverInternal', status: 500, detail: 'try again later' },
  });
  await move(world, name, 'buyer', wanted);
  await until(
    async () => {
      const row = await world.status(wanted);
      return row.state === 'retrying' && row.reason_code === 'name_handed_on';
    },
    { what: 'the name waits', timeoutMs: 20_000 },
  );
  expect((await world.status(wanted)).next_attempt_at).not.toBeNull();
  expect(world.ca.count('newOrder')).toBe(orders);
  outage.remove();
  await dueNow(world.sql, 'authorization', { state: 'deactivating' });
  await world.sql`select acme_private.enqueue('authorization', id) from acme_private.authorization where state = 'deactivating'`;
  await world.reach(wanted, 'issued', 60_000);
  expect(world.ca.count('newOrder')).toBe(orders + 1);
});

test('a tenant gets no certificate by the proof of another, however the server spells the name', async () => {
  const world = await faultyWorld({ authzReuse: 'valid' });
  await world.worker();
  world.ca.on('authorization', {
    rewrite: ({ identifier, ...rest }) => {
      const { type, value } = identifier as { type: string; value: string };
      return { ...rest, identifier: { type, value: value.toUpperCase() } };
    },
    times: Infinity,
  });
  const name = freshName();
  await world.reach(await insertAs(world, 'owner', name), 'issued');
  const stranger = await insertAs(world, 'stranger', name);
  expect(await world.reach(stranger, ['issued', 'rejected'])).toMatchObject({
    reason_code: 'name_held',
  });
});

test('orders of two tenants for overlapping names never run at the same time, and one tenant gets them', async () => {
  const world = await pebbleWorld({ authzReuse: 100 });
  await world.worker();
  await world.worker({ http01Listen: undefined });
  const name = freshName();
  const names = [name, `a.${name}`, `b.a.${name}`, `a.a.${name}`];
  const ids = await Promise.all(
    names.flatMap((one) => ['left', 'right'].map((login) => insertAs(world, login, one))),
  );
  const ends = await Promise.all(ids.map((id) => world.reach(id, ['issued', 'rejected'], 100_000)));
  const overlaps = await world.sql`
    select a.id, b.id
      from acme."order" a
      join acme."order" b on b.tenant > a.tenant
       and tstzrange(a.created_at, a.finished_at) && tstzrange(b.created_at, b.finished_at)
       and exists (select from unnest(a.identifiers) x cross join unnest(b.identifiers) y
                    where acme_private.is_within(x, y) or acme_private.is_within(y, x))`;
  expect(overlaps).toEqual([]);
  const owners = await world.sql<{ tenant: string; others: string[] | null }[]>`
    select a.name, a.tenant, array_agg(b.name) filter (where b.tenant <> a.tenant) as others
      from acme.name_owner a
      join acme.name_owner b on acme_private.is_within(b.name, a.name)
     group by a.name, a.tenant`;
  expect(owners.filter(({ others }) => others !== null)).toEqual([]);
  expect(ends.filter(({ state }) => state === 'issued').length).toBeGreaterThan(0);
  for (const row of ends) if (row.state === 'rejected') expect(row.reason_code).toBe('name_held');
});
