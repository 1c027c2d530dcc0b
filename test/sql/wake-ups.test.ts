import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { inTurn } from '../helpers/in-turn.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  accountId,
  addAccountKey,
  age,
  all,
  authorizationOf,
  fail,
  held,
  LEASE,
  now,
  orderMade,
  putInState,
  registerDefaultAccount,
  set,
  underWay,
} from '../helpers/state/index.ts';

// A wake-up that meets a lease is spent, and reconcile comes by once a minute: whoever gives the lease back sees to what
// was asked for meanwhile.

let shop: Shop;
let account: string;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
  account = await accountId(shop.sql);
  await set(shop.sql, 'account', account, { thumbprint: 'of its key' });
  await shop.clearJobs();
});

/** A worker takes a row; null: it may not. */
async function claim(kind: string, id: string): Promise<{ step: string; lease: string } | null> {
  const [row] = await shop.sql<[{ claim: { step: string; lease: string } | null }]>`
    select acme_private.claim(null, ${kind}, ${id}) as claim`;
  return row.claim;
}

/** The rows that somebody is to look at now. */
async function woken(): Promise<string[]> {
  const rows = await shop.sql<{ row: string }[]>`
    select (payload ->> 'kind') || ' ' || (payload ->> 'id') as row
      from acme_worker._private_jobs
     where run_at <= now() and payload ->> 'kind' is not null
     order by id`;
  return rows.map(({ row }) => row);
}

describe('what is asked for while somebody holds the row is looked at when it is given back', () => {
  test('that an order is cancelled which is being created, and that is in trouble', async () => {
    const { csr, order } = await underWay(shop, { state: 'creating', attempts: 6, ...held() });
    await shop.app`select acme.cancel(${csr})`;
    await shop.attend(csr);
    expect(await claim('order', order), 'it is held').toBeNull();
    await shop.clearJobs();
    await fail(shop.sql, 'order', order, { class: 'trouble' });
    expect(await woken()).toEqual([`order ${order}`]);
    expect(await claim('order', order)).toMatchObject({ step: 'cancel' });
  });

  test('that an authorization is given up which is being proved', async () => {
    const { order } = await underWay(shop, { state: 'authorizing', url: 'u' });
    const id = await authorizationOf(shop.sql, [order], held());
    await shop.app`select acme.deactivate_authorization(${id})`;
    expect(await claim('authorization', id), 'it is held').toBeNull();
    await shop.clearJobs();
    const facts = shop.sql.json({ identifier: 'a.example.org', is_wildcard: false });
    await shop.sql`select acme_private.authorization_proved(null, ${id}, ${LEASE}, ${facts}, 1)`;
    expect(await woken()).toEqual([`authorization ${id}`]);
    expect(await claim('authorization', id)).toMatchObject({ step: 'deactivate' });
  });

  test('that an authorization is given up whose proof is in trouble', async () => {
    const { order } = await underWay(shop, { state: 'authorizing', url: 'u' });
    const id = await authorizationOf(shop.sql, [order], { attempts: 6, ...held() });
    await shop.app`select acme.deactivate_authorization(${id})`;
    expect(await claim('authorization', id), 'it is held').toBeNull();
    await shop.clearJobs();
    await fail(shop.sql, 'authorization', id, { class: 'trouble' });
    expect(await woken()).toEqual([`authorization ${id}`]);
    expect(await claim('authorization', id)).toMatchObject({ step: 'deactivate' });
  });

  test('that a certificate is revoked, asked for once more while a worker takes it', async () => {
    const csr = await shop.insert();
    await putInState(shop.sql, csr, 'issued');
    const [id = ''] = await set(shop.sql, 'certificate', all, {
      state: 'revoking',
      revocation_reason: 'superseded',
      revoking_since: now(),
      attempts: 3,
    });
    const take = (on: postgres.ISql) => on<[{ claim: { lease: string } | null }]>`
      select acme_private.claim(null, 'certificate', ${id}) as claim`;
    let lease = '';
    const [second] = await inTurn(
      shop.sql,
      async (tx) => {
        lease = (await take(tx))[0].claim?.lease ?? '';
        await shop.sql`select acme.revoke_certificate(${id}, 'cessationOfOperation')`;
      },
      take,
    );
    expect(second.claim, 'it is held').toBeNull();
    await shop.clearJobs();
    await fail(shop.sql, 'certificate', id, { class: 'refused' }, lease);
    expect(await woken()).toEqual([`certificate ${id}`]);
    expect(await claim('certificate', id)).toMatchObject({ reason: 'cessationOfOperation' });
  });

  test('that an account is registered again, which an order and its own step found lost', async () => {
    const { order } = await underWay(shop, { state: 'creating', ...held() });
    await shop.sql`select acme.verify_account('main')`;
    const lease = (await claim('account', account))?.lease;
    const [{ version }] = await shop.sql<[{ version: string }]>`
      select acme_private.account_version(${account}) as version`;
    const lost = { class: 'account_lost', account_version: version };
    await fail(shop.sql, 'order', order, lost);
    expect(await claim('account', account), 'it is held').toBeNull();
    await shop.clearJobs();
    await fail(shop.sql, 'account', account, lost, lease);
    expect(await woken()).toEqual([`account ${account}`]);
    expect(await claim('account', account)).toMatchObject({ step: 'register' });
  });
});

describe('an order that comes to need an authorization while that ends', () => {
  test.each([
    ['fails', 'pending', 'prove'],
    ['is given up', 'deactivating', 'deactivate'],
  ])('ends with it, too: one that %s', async (how, state, step) => {
    const { sql } = shop;
    const first = await underWay(shop, { state: 'authorizing', url: 'u' });
    const second = await underWay(shop, { state: 'creating', ...held() });
    const url = 'https://ca.example.org/authorization/both';
    const id = await authorizationOf(sql, [first.order], { url, state, ...held() });
    const end = (on: typeof sql, lease = LEASE) =>
      how === 'fails'
        ? fail(on, 'authorization', id, { class: 'validation', identifier: 'a.example.org' }, lease)
        : on`select acme_private.authorization_deactivated(null, ${id}, ${lease}, 'deactivated', 0)`;
    await inTurn<unknown>(
      sql,
      (tx) => orderMade(tx, second.order, [url]),
      (other) => end(other),
    );
    expect(await woken(), 'once more, with that one').toContain(`authorization ${id}`);
    const again = await claim('authorization', id);
    expect(again).toMatchObject({ step });
    await end(sql, again?.lease);
    expect(await sql`select state from acme."order" order by id`).toEqual([
      { state: 'failed' },
      { state: 'failed' },
    ]);
  });

  test('has it given up at once, where it waits to be', async () => {
    const { order } = await underWay(shop, { state: 'creating', ...held() });
    const other = await underWay(shop, { state: 'authorizing', url: 'u' });
    const tomorrow = new Date(Date.now() + 86_400_000);
    const url = 'https://ca.example.org/authorization/1';
    const columns = { url, state: 'deactivating', attempts: 3, next_attempt_at: tomorrow };
    const id = await authorizationOf(shop.sql, [other.order], columns);
    await shop.clearJobs();
    await orderMade(shop.sql, order, [url]);
    expect(await woken()).toEqual([`authorization ${id}`]);
    expect(await claim('authorization', id)).toMatchObject({ step: 'deactivate' });
  });
});

describe('a limit wakes the dispatcher when its scope opens', () => {
  /** When the dispatcher is woken for it, and when the scopes open. */
  const times = async () => ({
    jobs: await shop.sql`
      select run_at as at from acme_worker._private_jobs
       where key like 'pgacme:dispatch:reopen:%' order by run_at`,
    closures: await shop.sql`select until as at from acme_private.closure order by until`,
  });
  const limited = (order: string, seconds: number) =>
    fail(shop.sql, 'order', order, {
      class: 'limited',
      limits: [{ scope: 'orders' }],
      retry_after_ms: seconds * 1000,
    });

  test.each([
    ['the longer first', [20, 5]],
    ['the shorter first', [5, 20]],
  ])('that of each account: %s', async (_, seconds) => {
    const [other] = await shop.sql<[{ id: string }]>`
      insert into acme.account (name, server) values ('other', 'ca') returning id`;
    const orders = [
      await underWay(shop, { state: 'creating', ...held() }),
      await underWay(shop, { state: 'creating', account_id: other.id, ...held() }),
    ];
    await shop.clearJobs();
    for (const [i, { order }] of orders.entries()) await limited(order, seconds[i] ?? 0);
    const { jobs, closures } = await times();
    expect(closures).toHaveLength(2);
    expect(jobs).toEqual(closures);
  });

  test('that of one account when the longer one is over', async () => {
    const orders = [
      await underWay(shop, { state: 'creating', ...held() }),
      await underWay(shop, { state: 'creating', ...held() }),
    ];
    await shop.clearJobs();
    for (const [i, { order }] of orders.entries()) await limited(order, [20, 5][i] ?? 0);
    const { jobs, closures } = await times();
    expect(closures).toHaveLength(1);
    expect(jobs).toEqual(closures);
    const [{ reason }] = await shop.sql<[{ reason: string }]>`
      select reason from acme_private.closure
       where reason like '%' || to_char(until, 'YYYY-MM-DD HH24:MI:SS') || '%'`;
    expect(reason).toContain('takes no orders of this account for new sets of names until');
  });
});

test('the new try of a csr is due when it was to be, also if an application changed its row before', async () => {
  const { csr, order } = await underWay(shop, { state: 'ready', url: 'u', ...held() });
  await fail(shop.sql, 'order', order, { class: 'refused' });
  await shop.app`update acme.csr set priority = 5 where id = ${csr}`;
  await shop.sql`select acme_private.reconcile()`;
  expect(await woken(), 'by the job that was to wake it then').toContain(`csr ${csr}`);
  await shop.clearJobs();
  await shop.attend(csr);
  expect(await shop.sql`select run_at as at from acme_worker._private_jobs`).toEqual(
    await shop.sql`select next_attempt_at as at from acme_private.csr_state where state = 'retrying'`,
  );
});

test('an order that met an account which was not ready goes on when it is', async () => {
  const { order } = await underWay(shop, { state: 'finalizing', url: 'u', attempts: 7, ...held() });
  await set(shop.sql, 'account', all, { state: 'registering', url: null, ...held() });
  await fail(shop.sql, 'order', order, { class: 'trouble', code: 'account_not_ready' });
  expect(await claim('order', order), 'it waits').toBeNull();
  await shop.clearJobs();
  await shop.sql`
    select acme_private.account_registered(null, ${account}, ${LEASE}, 'https://ca.example.org/account/2', 'valid', null)`;
  expect(await woken()).toContain(`order ${order}`);
  expect(await claim('order', order)).toMatchObject({ step: 'finalize' });
});

test.each([
  [
    'before its new key is stored',
    `account_pending_key(null, $1, $2, 'jwe', 'new', sha256('new'))`,
  ],
  ['as it ends', 'account_rolled_over(null, $1, $2)'],
  ['as the server refuses it', `account_roll_over_refused(null, $1, $2, '{}')`],
])('an account that is lost during a roll-over, %s, is registered next', async (when, commit) => {
  await shop.sql`select acme.roll_over_key('main')`;
  await claim('account', account);
  await age(shop.sql, 'account', all, '3 seconds', 'since');
  await set(shop.sql, 'account', all, { next_attempt_at: null });
  const rolling = await claim('account', account);
  expect(rolling).toMatchObject({ step: 'roll_over' });
  if (when !== 'before its new key is stored') {
    await addAccountKey(shop.sql, account, 'new', { state: 'pending', jwe: 'jwe' });
  }
  // An order found it out.
  await shop.sql`select acme_private.lose_account(null, ${account}, acme_private.account_version(${account}), null)`;
  expect(await claim('account', account), 'it is held').toBeNull();
  await shop.clearJobs();
  await shop.sql.unsafe(`select acme_private.${commit}`, [account, rolling?.lease ?? '']);
  expect((await shop.jobs()).map(({ payload }) => payload)).toEqual([
    { kind: 'account', id: Number(account) },
  ]);
  expect(await claim('account', account)).toMatchObject({ step: 'register' });
});
