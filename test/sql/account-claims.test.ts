import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { inTurn } from '../helpers/in-turn.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  accountId,
  accountsSeen,
  age,
  ago,
  ahead,
  all,
  expireLease,
  NEVER,
  now,
  registerDefaultAccount,
  set,
} from '../helpers/state/index.ts';

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
  await shop.clearJobs();
});

interface Claim {
  step: string;
  lease: string;
}

async function claim(): Promise<Claim | null> {
  const [row] = await shop.sql<[{ claim: Claim | null }]>`
    select acme_private.claim(null, 'account', (select id from acme.account)) as claim`;
  return row.claim;
}

/** Moves the beginning of what was asked for into the past. */
async function later(seconds: number): Promise<void> {
  await age(shop.sql, 'account', all, `${seconds} seconds`, 'since', 'next_attempt_at');
}

test.each(['roll_over_key', 'deactivate_account'])(
  'acme.%s() waits for dispatchers about to commit, however often it is woken, and is never forgotten',
  async (request) => {
    await set(shop.sql, 'account', all, { thumbprint: 'of its key' });
    await shop.sql.unsafe(`select acme.${request}('main')`);
    for (let i = 0; i < 3; i++) {
      await shop.clearJobs();
      expect(await claim(), 'an order may be about to be committed').toBeNull();
      expect((await shop.jobs()).map(({ task }) => task)).toEqual(['register']);
    }
    await later(2);
    expect(await claim()).toMatchObject({ step: /roll_over|deactivate/.exec(request)?.[0] });
  },
);

test('acme.deactivate_account() is not heeded while a worker takes the account, but when it gives it back', async () => {
  const { sql } = shop;
  await set(sql, 'account', all, { thumbprint: 'of its key' });
  await sql`select acme.verify_account('main')`;
  const take = (on: postgres.ISql) => on<[{ id: string; claim: Claim | null }]>`
    select id, acme_private.claim(null, 'account', id) as claim from acme.account`;
  let first: { id: string; claim: Claim | null } | undefined;
  const [second] = await inTurn(
    sql,
    async (tx) => {
      [first] = await take(tx);
      await sql`select acme.deactivate_account('main')`;
    },
    take,
  );
  expect(first?.claim).toMatchObject({ step: 'update' });
  expect(second.claim, 'it is held').toBeNull();
  const states = () => sql`select state from acme_private.account_state`;
  expect(await states()).toEqual([{ state: 'valid' }]);
  await shop.clearJobs();
  await sql`
    select acme_private.account_updated(null, ${first?.id ?? null}, ${first?.claim?.lease ?? null}, '{"status": "valid"}')`;
  expect((await shop.jobs()).map(({ task }) => task)).toContain('register');
  await claim();
  expect(await states()).toEqual([{ state: 'deactivating' }]);
});

test('what a worker took before its time because of a person is due when that worker dies', async () => {
  await set(shop.sql, 'account', all, {
    state: 'registering',
    next_attempt_at: NEVER,
    reason_code: 'user_action_required',
  });
  expect(await claim(), 'it waits for a person').toBeNull();
  await shop.sql`select acme.agree_terms('main')`;
  expect(await claim()).toMatchObject({ step: 'register' });
  await expireLease(shop.sql, 'account', all);
  expect(await claim()).toMatchObject({ step: 'register' });
});

test('a binding that is set for a valid account is seen, and nothing is left to come back to', async () => {
  const jwe = (header: object) =>
    `${Buffer.from(JSON.stringify(header)).toString('base64url')}..${'a'.repeat(16)}.aa.${'a'.repeat(22)}`;
  const sealed = jwe({
    alg: 'dir',
    enc: 'A256GCM',
    purpose: 'eab-hmac',
    row: 'main',
    origin: 'https://ca.example.org',
  });
  await shop.sql`update acme.account set eab_kid = 'kid' where name = 'main'`;
  await accountsSeen(shop.sql);
  const [{ version }] = await shop.sql<[{ version: string }]>`
    update acme.account set eab_hmac = ${sealed} where name = 'main' returning version`;
  expect(await claim()).toMatchObject({ step: 'update' });
  expect(await shop.sql`select seen_version as version from acme_private.account_state`).toEqual([
    { version },
  ]);
});

test('nothing is begun with the accounts of a paused server; all of it goes on when it is resumed', async () => {
  await shop.sql`insert into acme.account (name, server) values ('second', 'ca')`;
  await shop.sql`select acme.roll_over_key('main')`;
  await shop.sql`select acme.pause('server', 'ca', 'this is a copy')`;
  await shop.clearJobs();
  const claimAll = () => shop.sql<{ name: string; claim: { step: string } | null }[]>`
    select name, acme_private.claim(null, 'account', id) as claim from acme.account order by name`;
  expect((await claimAll()).map(({ claim }) => claim)).toEqual([null, null]);
  expect(
    await shop.sql`select name, state, reason_code, reason from acme.account_status order by name`,
  ).toEqual(
    ['main', 'second'].map((name) => ({
      name,
      state: 'paused',
      reason_code: 'server_paused',
      reason: 'this is a copy',
    })),
  );
  await set(shop.sql, 'account', all, { updated_at: ago('10 minutes'), next_attempt_at: null });
  await shop.sql`select acme_private.reconcile()`;
  expect(await shop.jobs()).toEqual([]);
  expect(await shop.sql`select from acme.stuck where kind = 'account'`).toEqual([]);
  await shop.sql`select acme.resume('server', 'ca')`;
  const woken = (await shop.jobs()).filter(({ task }) => task === 'register');
  expect(woken.map(({ payload }) => payload.kind)).toEqual(['account', 'account']);
  await claimAll();
  await later(2);
  expect((await claimAll()).map(({ claim }) => claim?.step)).toEqual(['roll_over', undefined]);
});

describe('what csrs ask for that no worker has seen', () => {
  const second = () => shop.sql`insert into acme.account (name, server) values ('second', 'ca')`;

  test('goes to the account that takes the place of theirs', async () => {
    await second();
    const id = await shop.insert({ account: 'main' });
    expect(await shop.sql`select acme.replace_account('main', 'second') as count`).toEqual([
      { count: '1' },
    ]);
    const accounts = await shop.sql`select account from acme.csr where id = ${id}`;
    expect(accounts).toEqual([{ account: 'second' }]);
    // And back, although nothing was done of it yet.
    expect(await shop.sql`select acme.replace_account('second', 'main') as count`).toEqual([
      { count: '1' },
    ]);
  });

  test('is cancelled with their account', async () => {
    const id = await shop.insert({ account: 'main' });
    await shop.sql`select acme.deactivate_account('main')`;
    const [row] = await shop.sql`select cancel_reason from acme.csr where id = ${id}`;
    expect(row).toEqual({ cancel_reason: 'Its account main was deactivated.' });
  });
});

test('an account that is deleted leaves an event, with what it was at the server', async () => {
  await set(shop.sql, 'account', all, {
    url: 'https://ca.example.org/acct/1',
    thumbprint: 'of its key',
  });
  await shop.sql`delete from acme.account where name = 'main'`;
  const rows = await shop.sql`select detail from acme.event where event = 'account_deleted'`;
  expect(rows).toEqual([
    {
      detail: {
        name: 'main',
        server: 'ca',
        state: 'valid',
        url: 'https://ca.example.org/acct/1',
        thumbprint: 'of its key',
        by: expect.any(String) as string,
      },
    },
  ]);
});

test('of accounts whose wake-up was lost, those that wait longest are woken, 1,000 a minute, until all had their turn', async () => {
  const { sql } = shop;
  // The later it was made, the longer it waits.
  await sql`
    insert into acme.account (name, server) select 'domain-' || n || '.example', 'ca' from generate_series(1, 1200) n`;
  await set(
    sql,
    'account',
    { state: 'new' },
    {
      updated_at: sql`now() - interval '1 hour' - account_id * interval '1 second'`,
    },
  );
  const turns: { woken: number; are_longest: boolean }[] = [];
  for (let turn = 1; turn <= 3; turn++) {
    await shop.clearJobs();
    await sql`select acme_private.reconcile()`;
    const [row] = await sql<[{ woken: number; are_longest: boolean }]>`
      with woken as (
        select (j.payload ->> 'id')::bigint as id
          from acme_worker._private_jobs j
         where j.payload ->> 'kind' = 'account'
      )
      select count(*)::int as woken,
             coalesce(bool_and(w.id > (select max(s.account_id) from acme_private.account_state s
                                        where s.attempts = 0 and s.state = 'new' and s.account_id not in (select id from woken))),
                      true) as are_longest
        from woken w`;
    turns.push(row);
    // Each is taken, and put off.
    const taken = (await shop.jobs()).filter(({ payload }) => payload.kind === 'account');
    const ids = taken.map(({ payload }) => String(payload.id));
    await set(sql, 'account', ids, {
      attempts: 1,
      next_attempt_at: ahead('1 hour'),
      updated_at: now(),
    });
  }
  expect(turns).toEqual([
    { woken: 1000, are_longest: true },
    { woken: 200, are_longest: true },
    { woken: 0, are_longest: true },
  ]);
});

test('an account that a person did something for is not behind those that wait', async () => {
  const { sql } = shop;
  await sql`
    insert into acme.account (name, server) select 'domain-' || n || '.example', 'ca' from generate_series(1, 1000) n`;
  await set(sql, 'account', { state: 'new' }, { updated_at: ago('1 hour') });
  const person = await accountId(sql);
  await set(sql, 'account', person, {
    state: 'registering',
    next_attempt_at: NEVER,
    reason_code: 'user_action_required',
    updated_at: ago('1 day'),
  });
  await sql`select acme.agree_terms('main')`;
  await shop.clearJobs();
  await sql`select acme_private.reconcile()`;
  const woken = (await shop.jobs()).filter(({ payload }) => payload.kind === 'account');
  expect(woken).toHaveLength(1000);
  expect(woken.map(({ payload }) => String(payload.id))).toContain(person);
});
