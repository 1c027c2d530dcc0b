import { X509Certificate } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { scaled } from '../helpers/scale.ts';
import { until } from '../helpers/until.ts';
import { freshName, pebbleWorld } from '../helpers/world.ts';

test('an inserted CSR comes back as a certificate', async () => {
  const world = await pebbleWorld();
  await world.worker();
  const name = freshName();
  const id = await world.insert({ names: [name, `www.${name}`] });
  await world.reach(id, 'issued');
  const [row] = await world.sql<[{ chain_pem: string; identifiers: string[] }]>`
    select chain_pem, identifiers from acme.current_certificate where csr_id = ${id}`;
  expect(row.identifiers).toEqual([name, `www.${name}`].sort());
  expect(new X509Certificate(row.chain_pem).subjectAltName).toContain(name);
  expect(await world.events(id)).toEqual([
    'accepted',
    'order_created',
    'challenge_published',
    'challenge_published',
    'authorization_valid',
    'authorization_valid',
    'order_finalized',
    'issued',
  ]);
  const left = await world.sql`
    select from acme.record where state <> 'removed'
    union all
    select from acme_private."order" where lease_token is not null
    union all
    select from acme_private.authorization where lease_token is not null`;
  expect(left).toHaveLength(0);
});

test('a CSR inserted while no worker runs is issued when one starts', async () => {
  const world = await pebbleWorld();
  const id = await world.insert({ names: [freshName()] });
  const before = await world.status(id);
  expect(before).toMatchObject({ state: 'received', reason_code: 'waiting_for_worker' });
  await world.worker();
  await world.reach(id, 'issued');
});

test('two workers share the work, and each order is made once', async () => {
  const world = await pebbleWorld();
  const first = await world.worker({ concurrency: 2 });
  const second = await world.worker({ concurrency: 2, http01Listen: undefined });
  await until(
    async () => (await world.sql`select from acme.account_status where state = 'valid'`).length > 0,
    {
      what: 'the account is registered',
    },
  );
  const count = scaled(40);
  const pems = await Promise.all(
    Array.from({ length: count }, async () => (await makeCsr({ names: [freshName()] })).pem),
  );
  await world.sql`insert into acme.csr (pem) select unnest(${pems}::text[])`;
  await until(
    async () => {
      const [row] = await world.sql<[{ issued: number }]>`
        select count(*)::int as issued from acme.csr_status where state = 'issued'`;
      if (row.issued !== count) throw new Error(`${row.issued} of ${count} issued`);
      return true;
    },
    { what: 'all are issued', timeoutMs: 50_000 },
  );
  const shares = await world.sql<{ worker_id: string; issued: number }[]>`
    select worker_id, count(*)::int as issued from acme.event where event = 'issued' group by 1`;
  expect(shares.map((row) => Number(row.worker_id)).sort()).toEqual([first.id, second.id].sort());
  const [orders] = await world.sql<
    [{ made: number }]
  >`select count(*)::int as made from acme."order"`;
  expect(orders.made).toBe(count);
}, 70_000);

test("an application's transaction left open after its INSERT delays nobody", async () => {
  const world = await pebbleWorld();
  await world.worker();
  const application = await world.database.as('acme_app');
  const { pem } = await makeCsr({ names: [freshName('slow')] });
  let inserted: (() => void) | undefined;
  let isOpen = true;
  const isInserted = new Promise<void>((resolve) => (inserted = resolve));
  const open = application.begin(async (tx) => {
    const [row] = await tx<
      [{ id: string }]
    >`insert into acme.csr (pem) values (${pem}) returning id`;
    inserted?.();
    // The ten seconds are what is tested: nobody else may wait for this transaction.
    await delay(10_000);
    isOpen = false;
    return row.id;
  });
  await isInserted;
  for (let i = 0; i < 3; i++) {
    const id = await world.insert({ names: [freshName('quick')] });
    await world.reach(id, 'issued', 5000);
  }
  expect(isOpen).toBe(true);
  await world.reach(await open, 'issued');
}, 40_000);

test('upper case, duplicates and an A-label are normalised and issued', async () => {
  const world = await pebbleWorld();
  await world.worker();
  const name = freshName();
  const id = await world.insert({
    names: [name.toUpperCase(), name, `xn--bcher-kva.${name}`],
  });
  const row = await world.reach(id, 'issued');
  expect(row.identifiers).toEqual([name, `xn--bcher-kva.${name}`].sort());
});

test('a second tenant that asks for a name of the first is rejected, also when the server would reuse the authorization', async () => {
  const world = await pebbleWorld({ authzReuse: 100 });
  await world.worker();
  const name = freshName();
  const insertAs = async (login: string, names: string[]) => {
    const sql = await world.database.as('acme_app', { login });
    const { pem } = await makeCsr({ names });
    const [row] = await sql<
      [{ id: string }]
    >`insert into acme.csr (pem) values (${pem}) returning id`;
    return row.id;
  };
  await world.reach(await insertAs('tenant_a', [`shop.${name}`]), 'issued');
  for (const names of [
    [`shop.${name}`],
    [name],
    [`pay.shop.${name}`],
    [`other.${name}`, `SHOP.${name}`],
  ]) {
    const rejected = await world.reach(await insertAs('tenant_b', names), ['rejected', 'issued']);
    expect(rejected, names.join()).toMatchObject({ state: 'rejected', reason_code: 'name_held' });
  }
  // A sibling overlaps with nothing, and the first tenant may come again with another key.
  await world.reach(await insertAs('tenant_b', [`blog.${name}`]), 'issued');
  await world.reach(await insertAs('tenant_a', [`shop.${name}`]), 'issued');
});
