import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { inTurn } from '../helpers/in-turn.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  accepted,
  add,
  ago,
  authorizationOf,
  challengeByHand,
  fail,
  held,
  orderMade,
  ownName,
  putInState,
  registerDefaultAccount,
  set,
  underWay,
} from '../helpers/state/index.ts';

// What the fuzz of the claim and commit functions found, each in the shortest form.

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
});

/**
 * A first session takes `taken`. A second one works and comes to wait for it. Whatever the first one
 * then wants is free, or the two would wait for each other.
 */
async function neverCross(
  taken: (tx: postgres.TransactionSql) => Promise<unknown>,
  work: (sql: postgres.ReservedSql) => Promise<unknown>,
  wanted: (tx: postgres.TransactionSql) => Promise<unknown>,
): Promise<void> {
  await inTurn(
    shop.sql,
    async (tx) => {
      await tx`set local lock_timeout = '2s'`;
      await taken(tx);
    },
    work,
    wanted,
  );
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

describe('an application that is about to free a name holds up nobody', () => {
  const free = (tx: postgres.TransactionSql, name: string) =>
    tx`select from acme.release_domain(${name})`;
  const quickly = async () => {
    const worker = await shop.database.as('acme_worker', { max: 1 });
    await worker`set statement_timeout = '5s'`;
    return worker;
  };
  /** The application's tenant has this name already. */
  async function hasName(name: string): Promise<void> {
    const { role } = await shop.database.login('acme_app');
    await ownName(shop.sql, role, name);
  }

  test('not the dispatcher, which judges a csr with that name', async () => {
    const worker = await quickly();
    const [id, other] = [await shop.insert(), await shop.insert()];
    const name = `csr-${id}.example.org`;
    await hasName(name);
    const [{ turn }] = await worker<[{ turn: { received: { lease: string } } }]>`
      select acme_private.dispatch(null, null, null, 1) as turn`;
    await shop.app.begin(async (tx) => {
      await free(tx, name);
      const verdicts = worker.json([accepted(id), accepted(other)] as never);
      await worker`select acme_private.dispatch(null, ${turn.received.lease}, ${verdicts}, 1)`;
    });
    expect(await shop.status(other)).toMatchObject({ state: 'ordering' });
  });

  test('not whoever takes it for a pre-authorization', async () => {
    const worker = await quickly();
    await hasName('www.example.org');
    const [{ id }] = await shop.app<[{ id: string }]>`
      select acme.preauthorize('www.example.org') as id`;
    const [{ claim }] = await worker<[{ claim: { lease: string } }]>`
      select acme_private.claim(null, 'authorization', ${id}) as claim`;
    await shop.app.begin(async (tx) => {
      await free(tx, 'www.example.org');
      const [{ answer }] = await worker<[{ answer: unknown }]>`
        select acme_private.authorization_named(null, ${id}, ${claim.lease}, 'example.org') as answer`;
      expect(answer).toEqual({});
    });
  });
});

test('what belongs to a csr goes with it when it is deleted', async () => {
  const { sql } = shop;
  const { csr, order } = await underWay(shop, { state: 'creating' });
  await authorizationOf(sql, [order]);
  await add(sql, 'request', { csr_id: csr });
  await sql`delete from acme.csr where id = ${csr}`;
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
  await underWay(shop, { state: 'creating' });
  const [full, free] = [await shop.insert(), await shop.insert()];
  for (const id of [full, free]) await putInState(sql, id, 'queued');
  const [other] = await sql<[{ account_id: string; server_id: string }]>`
    select a.id as account_id, s.id as server_id
      from acme.account a
      join acme.server s on s.name = a.server
     where a.name = 'free'`;
  await set(sql, 'csr', free, { ...other });
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
  const { csr, order } = await underWay(shop, { state: 'authorizing', url: 'u', is_parked: true });
  const id = await authorizationOf(shop.sql, [order]);
  await neverCross(
    (tx) => tx`select from acme_private."order" where csr_id = ${csr} for update`,
    (sql) => sql`select acme_private.claim(null, 'authorization', ${id})`,
    (tx) => tx`select from acme_private.authorization where id = ${id} for update`,
  );
});

test('a challenge that is published by hand is chosen with the orders locked first', async () => {
  const { sql } = shop;
  await sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{example.org}')`;
  const { csr, order } = await underWay(shop, { state: 'authorizing', url: 'u' });
  const id = await authorizationOf(shop.sql, [order]);
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
  const [, { csr: last }] = [await underWay(shop, columns), await underWay(shop, columns)];
  await neverCross(
    (tx) => tx`select from acme_private.csr_state where csr_id = ${last} for no key update`,
    (second) => second`select acme_private.reconcile()`,
    (tx) => tx`select acme_private.dispatch_at(acme_private.clock(), 'now')`,
  );
  const rows = await sql<{ state: string }[]>`select state from acme_private."order"`;
  expect(rows.map(({ state }) => state)).toEqual(['failed', 'failed']);
});

test('reconcile takes no key of a job before it has waited for the last row', async () => {
  const { sql } = shop;
  await underWay(shop, { state: 'authorizing', url: 'u', expires_at: '2000-01-01' });
  const [{ server, account }] = await sql<[{ server: string; account: string }]>`
    select server_id as server, account_id as account from acme_private.account_state`;
  await add(sql, 'cooldown', {
    server_id: server,
    account_id: account,
    scope: 'orders',
    until: ago('1 second'),
    reason: 'It is over.',
  });
  await neverCross(
    (tx) => tx`
      select acme_private.start_cooldown(null, ${server}, ${account}, 'orders', null, null, now() + interval '10 seconds', null, null)`,
    (second) => second`select acme_private.reconcile()`,
    (tx) => tx`select acme_private.dispatch_at(acme_private.clock(), 'now')`,
  );
});

test('reconcile locks orders in the order of their ids, whichever csrs they are of', async () => {
  const { sql } = shop;
  const columns = { state: 'authorizing', url: 'u', expires_at: '2000-01-01' };
  const [one, two] = [await underWay(shop, columns), await underWay(shop, columns)];
  const id = await authorizationOf(sql, [one.order, two.order]);
  // The csr that came first has the younger order.
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    for (const [order, csr] of [
      [one.order, '0'],
      [two.order, one.csr],
      [one.order, two.csr],
    ]) {
      await set(tx, 'order', order ?? '', { csr_id: csr ?? '' });
      await set(tx, 'csr', csr ?? '', { order_id: order ?? '' });
    }
  });
  await neverCross(
    (tx) => tx`select from acme_private."order" where id = ${one.order} for update`,
    (second) => second`select acme_private.reconcile()`,
    (tx) => tx`select acme_private.claim(null, 'authorization', ${id})`,
  );
});

test('an order that shares what is to be published by hand is stored with the others locked first', async () => {
  const { sql } = shop;
  const other = await underWay(shop, { state: 'authorizing', url: 'u', is_parked: true });
  const { order } = await underWay(shop, { state: 'creating', ...held() });
  const urls = ['https://ca.example.org/authorization/1', 'https://ca.example.org/authorization/2'];
  const shared = await authorizationOf(sql, [other.order], { url: urls[0] ?? '' });
  await authorizationOf(sql, [other.order], { url: urls[1] ?? '', state: 'valid' });
  await challengeByHand(sql, shared);
  await neverCross(
    (tx) => tx`select acme_private.lock_orders(${shared})`,
    (second) => orderMade(second, order, urls),
    (tx) => tx`select from acme_private.authorization where id = ${shared} for update`,
  );
});

test('orders that held no place pass none on', async () => {
  const { sql } = shop;
  await sql`update acme.server set max_orders_in_flight = 1 where name = 'ca'`;
  const parked = { state: 'authorizing', url: 'u', is_parked: true, ...held() };
  const ending = [await underWay(shop, parked), await underWay(shop, parked)];
  for (const id of [await shop.insert(), await shop.insert()]) await putInState(sql, id, 'queued');
  const end = (tx: postgres.TransactionSql, order = '') =>
    fail(tx, 'order', order, { class: 'refused' });
  // Neither sees what the other does.
  await sql.begin(async (one) => {
    await end(one, ending[0]?.order);
    await sql.begin((other) => end(other, ending[1]?.order));
  });
  await dispatch(sql);
  expect(await sql`select from acme_private."order" where is_live and not is_parked`).toHaveLength(
    1,
  );
});

test('a worker that comes too late with an authorization that was given up changes nothing', async () => {
  const { sql } = shop;
  const { csr, order } = await underWay(shop, { state: 'authorizing', url: 'u' });
  const id = await authorizationOf(shop.sql, [order]);
  const [{ claim }] = await sql<[{ claim: { lease: string } }]>`
    select acme_private.claim(null, 'authorization', ${id}) as claim`;
  await sql`delete from acme.csr where id = ${csr}`;
  await set(sql, 'authorization', id, { expires_at: ago('1 hour'), lease_until: ago('1 hour') });
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
  await add(sql, 'request', { csr_id: id });
  await shop.attend(id);
  expect(await sql`select from acme_private.request`).toHaveLength(0);
});
