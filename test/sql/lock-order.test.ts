import type postgres from 'postgres';
import { beforeEach, expect, test } from 'vitest';
import { accepted, putInState, registerDefaultAccount } from '../helpers/csr-state.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { until } from '../helpers/until.ts';

// What the fuzz of the claim and commit functions found, each in the shortest form.

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
});

/** A csr whose order is live; `columns` are those of the order. */
async function withOrder(columns: Record<string, string | boolean>): Promise<string> {
  const { sql } = shop;
  const id = await shop.insert();
  await putInState(sql, id, 'ordering');
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`update acme_private."order" set ${tx(columns)} where csr_id = ${id}`;
  });
  return id;
}

/** An authorization of the order of this csr. */
async function addAuthorization(csr: string): Promise<string> {
  const [row] = await shop.sql<[{ id: string }]>`
    with made as (
      insert into acme_private.authorization (account_id, url, tenant)
      select account_id, 'https://ca.example.org/authorization/' || id, tenant
        from acme_private."order" where csr_id = ${csr}
      returning id
    )
    insert into acme_private.order_authorization (order_id, authorization_id)
    select o.id, made.id from acme_private."order" o, made where o.csr_id = ${csr}
    returning authorization_id as id`;
  return row.id;
}

/**
 * A first session takes `held`. A second one works and comes to wait for it. Whatever the first one
 * then wants is free, or the two would wait for each other.
 */
async function neverCross(
  held: (tx: postgres.TransactionSql) => Promise<unknown>,
  work: (sql: postgres.ReservedSql) => Promise<unknown>,
  wanted: (tx: postgres.TransactionSql) => Promise<unknown>,
): Promise<void> {
  const { sql } = shop;
  const second = await sql.reserve();
  const [{ pid }] = await second<[{ pid: number }]>`select pg_backend_pid() as pid`;
  let working: Promise<unknown> = Promise.resolve();
  try {
    await sql.begin(async (tx) => {
      await tx`set local lock_timeout = '2s'`;
      await held(tx);
      working = work(second);
      working.catch(() => undefined);
      await until(
        async () =>
          (
            await sql`
              select from pg_stat_activity where pid = ${pid} and wait_event_type = 'Lock'`
          ).length === 1,
        { what: 'the second session waits for the first' },
      );
      await wanted(tx);
    });
    await working;
  } finally {
    second.release();
  }
}

const dispatch = (sql: postgres.ISql) => sql`select acme_private.dispatch(null, null, null, 0)`;

test('an application that has its own csr locked holds up nobody', async () => {
  const { app, database } = shop;
  const worker = await database.as('acme_worker', { max: 1 });
  const id = await shop.insert();
  const [{ turn }] = await worker<[{ turn: { received: { lease: string } } }]>`
    select acme_private.dispatch(null, null, null, 1) as turn`;
  await app.begin(async (tx) => {
    await tx`select from acme.csr where id = ${id} for update`;
    await worker`set lock_timeout = '2s'`;
    await worker`
      select acme_private.dispatch(null, ${turn.received.lease}, ${worker.json([accepted(id)] as never)}, 0)`;
  });
  expect(await shop.status(id)).toMatchObject({ state: 'ordering' });
});

test('what belongs to a csr goes with it when it is deleted', async () => {
  const { sql } = shop;
  const id = await withOrder({ state: 'creating' });
  await addAuthorization(id);
  await sql`insert into acme_private.request (csr_id) values (${id})`;
  await sql`delete from acme.csr where id = ${id}`;
  expect(await sql`select from acme_private.csr_state`).toHaveLength(0);
  expect(await sql`select from acme_private."order"`).toHaveLength(0);
  expect(await sql`select from acme_private.order_authorization`).toHaveLength(0);
  expect(await sql`select from acme_private.request`).toHaveLength(0);
  await expect(sql`truncate acme.csr`).rejects.toThrow(/truncate/);
});

test('a dispatcher that comes back to a full server keeps nobody from its lock', async () => {
  const { sql } = shop;
  await sql`update acme.server set max_orders_in_flight = 1 where name = 'ca'`;
  await sql`insert into acme.server (name, directory_url) values ('free', 'https://free.example.org/dir')`;
  await sql`insert into acme.account (name, server) values ('free', 'free')`;
  await withOrder({ state: 'creating' });
  const [full, free] = [await shop.insert(), await shop.insert()];
  for (const id of [full, free]) await putInState(sql, id, 'queued');
  await sql`
    update acme_private.csr_state s
       set account_id = a.account_id, server_id = a.server_id
      from acme_private.account_state a
      join acme.account c on c.id = a.account_id and c.name = 'free'
     where s.csr_id = ${free}`;
  await neverCross(
    (tx) => tx`select from acme_private.lock where name = 'dispatch' for update`,
    dispatch,
    (tx) => tx`select acme_private.come_back(array(select id from acme.server), '{}')`,
  );
});

test('a worker that judges too late keeps nobody from the dispatchers lock', async () => {
  const id = await shop.insert();
  const [{ turn }] = await shop.sql<[{ turn: { received: { lease: string } } }]>`
    select acme_private.dispatch(null, null, null, 1) as turn`;
  const verdicts = shop.sql.json([
    { csr_id: Number(id), identifiers: [], domains: [], spki: '00', reasons: [] },
  ]);
  await neverCross(
    (tx) => tx`select from acme_private.csr_state where csr_id = ${id} for no key update`,
    (sql) => sql`select acme_private.dispatch(null, ${turn.received.lease}, ${verdicts}, 0)`,
    (tx) => tx`select from acme_private.lock where name = 'dispatch' for update`,
  );
});

test('a claim of an authorization locks its orders first', async () => {
  const csr = await withOrder({ state: 'authorizing', url: 'u', is_parked: true });
  const id = await addAuthorization(csr);
  await neverCross(
    (tx) => tx`select from acme_private."order" where csr_id = ${csr} for update`,
    (sql) => sql`select acme_private.claim(null, 'authorization', ${id})`,
    (tx) => tx`select from acme_private.authorization where id = ${id} for update`,
  );
});

test('a challenge that is published by hand is chosen with the orders locked first', async () => {
  const { sql } = shop;
  await sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{example.org}')`;
  const csr = await withOrder({ state: 'authorizing', url: 'u' });
  const id = await addAuthorization(csr);
  const [{ claim }] = await sql<[{ claim: { lease: string } }]>`
    select acme_private.claim(null, 'authorization', ${id}) as claim`;
  const facts = sql.json({
    identifier: 'a.example.org',
    is_wildcard: false,
    offered: [{ url: 'c', type: 'http-01', token: 't', key_authorization: 't.k' }],
  });
  await neverCross(
    (tx) => tx`select from acme_private."order" where csr_id = ${csr} for update`,
    (second) =>
      second`select acme_private.challenge_intended(null, ${id}, ${claim.lease}, null, ${facts})`,
    (tx) => tx`select from acme_private.authorization where id = ${id} for update`,
  );
});

test('reconcile asks for a dispatch after it has locked the last csr', async () => {
  const { sql } = shop;
  const past = '2000-01-01';
  const columns = { state: 'authorizing', url: 'u', expires_at: past };
  const ids = [await withOrder(columns), await withOrder(columns)];
  await neverCross(
    (tx) => tx`select from acme_private.csr_state where csr_id = ${ids[1] ?? ''} for no key update`,
    (second) => second`select acme_private.reconcile()`,
    (tx) => tx`select acme_private.dispatch_at(acme_private.clock(), 'now')`,
  );
  const rows = await sql<{ state: string }[]>`select state from acme_private."order"`;
  expect(rows.map(({ state }) => state)).toEqual(['failed', 'failed']);
});

test('orders that held no place pass none on', async () => {
  const { sql } = shop;
  await sql`update acme.server set max_orders_in_flight = 1 where name = 'ca'`;
  const lease = '00000000-0000-4000-8000-000000000000';
  const parked = { state: 'authorizing', url: 'u', is_parked: true, lease_token: lease };
  const ending = [await withOrder(parked), await withOrder(parked)];
  for (const id of [await shop.insert(), await shop.insert()]) await putInState(sql, id, 'queued');
  const end = (tx: postgres.TransactionSql, csr = '') => tx`
    select acme_private.step_failed(null, 'order', o.id, ${lease},
             ${tx.json({ class: 'refused', code: 'server_refused', text: 'No.' })}, 1)
      from acme_private."order" o where o.csr_id = ${csr}`;
  // Neither sees what the other does.
  await sql.begin(async (one) => {
    await end(one, ending[0]);
    await sql.begin((other) => end(other, ending[1]));
  });
  await dispatch(sql);
  expect(await sql`select from acme_private."order" where is_live and not is_parked`).toHaveLength(
    1,
  );
});

test('a worker that comes too late with an authorization that was given up changes nothing', async () => {
  const { sql } = shop;
  const csr = await withOrder({ state: 'authorizing', url: 'u' });
  const id = await addAuthorization(csr);
  const [{ claim }] = await sql<[{ claim: { lease: string } }]>`
    select acme_private.claim(null, 'authorization', ${id}) as claim`;
  await sql`delete from acme.csr where id = ${csr}`;
  await sql`
    update acme_private.authorization
       set expires_at = now() - interval '1 hour', lease_until = now() - interval '1 hour' where id = ${id}`;
  await sql`select acme_private.reconcile()`;
  const outcome = sql.json({
    class: 'validation',
    code: 'c',
    text: 'No.',
    authorization_state: 'invalid',
  });
  await sql`select acme_private.step_failed(null, 'authorization', ${id}, ${claim.lease}, ${outcome}, 1)`;
  expect(await sql`select state from acme.authorization`).toEqual([{ state: 'expired' }]);
});

test('a reminder of a request that is seen already goes', async () => {
  const { sql } = shop;
  const id = await shop.insert();
  await sql`insert into acme_private.request (csr_id) values (${id})`;
  await shop.attend(id);
  expect(await sql`select from acme_private.request`).toHaveLength(0);
});
