import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Dispatched, Verdict } from '../../src/db/steps/step-types.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { inTurn } from '../helpers/in-turn.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { refusal } from '../helpers/refusal.ts';
import {
  accepted,
  accountId,
  all,
  ownName,
  registerDefaultAccount,
  set,
  workerRow,
} from '../helpers/state/index.ts';

let database: FreshDatabase;
let sql: postgres.Sql;
let worker: string;

beforeEach(async () => {
  database = await freshDatabase();
  sql = database.sql;
  await sql`
    insert into acme.server (name, directory_url, account_policy)
    values ('ca', 'https://ca.example.org/dir', 'per_registered_domain')`;
  await sql`
    insert into acme.account (name, server, contact, terms_agreed, key_algorithm)
    values ('main', 'ca', '{mailto:ops@example.org}', true, 'ES384')`;
  worker = await workerRow(sql);
});

async function dispatch(lease: string | null, verdicts: Verdict[]): Promise<Dispatched> {
  const [turn] = await sql<[{ value: Dispatched }]>`
    select acme_private.dispatch(${worker}, ${lease}, ${sql.json(verdicts as never)}, 1) as value`;
  return turn.value;
}

/** Inserts a csr for each list of names, and has all of them judged in one turn, as a worker does. */
async function judge(lists: string[][], columns: Record<string, string> = {}): Promise<string[]> {
  const pems = await Promise.all(lists.map((names) => makeCsr({ names })));
  const rows = await sql<{ id: string }[]>`
    insert into acme.csr ${sql(pems.map(({ pem }) => ({ pem, ...columns })))} returning id`;
  const { received } = await dispatch(null, []);
  const verdicts = rows.map(({ id }, i) => ({
    ...accepted(id),
    identifiers: lists[i] ?? [],
    domains: (lists[i] ?? []).map((name) => name.split('.').slice(-2).join('.')),
  }));
  await dispatch(received.lease, verdicts);
  return rows.map(({ id }) => id);
}

async function statusOf(id: string | undefined) {
  const [row] = await sql<
    [{ state: string; account: string; reason_code: string; reason: string; server: string }]
  >`select state, account, reason_code, reason, server from acme.csr_status where id = ${id ?? null}`;
  return row;
}

const domains = () =>
  sql<{ server: string; domain: string; account: string }[]>`
    select server, domain, account from acme.account_domain order by domain`;
const accounts = async () =>
  (await sql<{ name: string }[]>`select name from acme.account order by id`).map(
    ({ name }) => name,
  );

test('a csr that names no account gets that of its registered domain, made like the default one', async () => {
  const [www, mail, other] = await judge([
    ['www.example.org', 'example.org'],
    ['mail.example.org'],
    ['shop.example.net'],
  ]);
  expect(await statusOf(www)).toMatchObject({ state: 'queued', account: 'example.org' });
  expect(await statusOf(mail)).toMatchObject({ account: 'example.org' });
  expect(await statusOf(other)).toMatchObject({ account: 'example.net', server: 'ca' });
  expect(await accounts()).toEqual(['main', 'example.org', 'example.net']);
  expect([...(await domains())]).toEqual([
    { server: 'ca', domain: 'example.net', account: 'example.net' },
    { server: 'ca', domain: 'example.org', account: 'example.org' },
  ]);
  const [made] = await sql`
    select contact, terms_agreed, key_algorithm, is_default, eab_kid from acme.account where name = 'example.org'`;
  expect(made).toEqual({
    contact: ['mailto:ops@example.org'],
    terms_agreed: true,
    key_algorithm: 'ES384',
    is_default: false,
    eab_kid: null,
  });
  const events = await sql`
    select a.name, e.tenant, e.csr_id, e.detail from acme.event e join acme.account a on a.id = e.account_id
     where e.event = 'account_made' order by e.id`;
  expect([...events]).toEqual([
    {
      name: 'example.org',
      tenant: null,
      csr_id: null,
      detail: { domain: 'example.org', csr_id: Number(www) },
    },
    {
      name: 'example.net',
      tenant: null,
      csr_id: null,
      detail: { domain: 'example.net', csr_id: Number(other) },
    },
  ]);
  const [event] = await sql`
    select a.name from acme.event e join acme.account a on a.id = e.account_id
     where e.event = 'accepted' and e.csr_id = ${other ?? null}`;
  expect(event).toEqual({ name: 'example.net' });
});

test('whoever is to register the accounts that were made is woken, by one job each', async () => {
  await judge([['a.example.org'], ['b.example.org'], ['a.example.net']]);
  const jobs = await sql`
    select a.name, count(*)::int from acme_worker._private_jobs j
      join acme_worker._private_tasks t on t.id = j.task_id and t.identifier = 'register'
      join acme.account a on a.id = (j.payload ->> 'id')::bigint
     where a.name <> 'main' group by a.name order by a.name`;
  expect([...jobs]).toEqual([
    { name: 'example.net', count: 1 },
    { name: 'example.org', count: 1 },
  ]);
});

test('names of several domains are rejected with what to do, unless the csr names an account', async () => {
  const names = ['a.example.org', 'b.example.net'];
  const [id] = await judge([names]);
  expect(await statusOf(id)).toEqual({
    state: 'rejected',
    account: 'main',
    server: 'ca',
    reason_code: 'several_domains',
    reason:
      'Its names belong to 2 registered domains (example.net, example.org), and the server ca has an account for each (server.account_policy). Make one CSR for each domain, or name an account for all of them in csr.account.',
  });
  const spread = Array.from({ length: 7 }, (_, i) => `www.domain-${String(i)}.test`);
  const [seven] = await judge([spread]);
  expect((await statusOf(seven)).reason).toMatch(
    /7 registered domains \(domain-0.test, .*, domain-4.test, …\)/,
  );
  const [named] = await judge([names], { account: 'main' });
  expect(await statusOf(named)).toMatchObject({ state: 'queued', account: 'main' });
  expect(await accounts()).toEqual(['main']);
  // The policy is the server's of that moment: tried again after it has changed.
  await sql`update acme.server set account_policy = 'single' where name = 'ca'`;
  await sql`select acme.cancel(${named ?? null}), acme.retry(${id ?? null})`;
  await sql`select acme_private.attend(${worker}, ${id ?? null}, 0)`;
  const { received } = await dispatch(null, []);
  await dispatch(received.lease, [
    { ...accepted(id ?? ''), identifiers: names, domains: ['example.org', 'example.net'] },
  ]);
  expect(await statusOf(id)).toMatchObject({ state: 'queued', account: 'main' });
});

test('a csr that is rejected makes no account, and under the policy single none does', async () => {
  await ownName(sql, 'somebody', 'held.example.org');
  const [held] = await judge([['held.example.org']]);
  expect(await statusOf(held)).toMatchObject({ state: 'rejected', reason_code: 'name_held' });
  await sql`update acme.server set account_policy = 'single' where name = 'ca'`;
  const [id] = await judge([['a.example.org', 'b.example.net']]);
  expect(await statusOf(id)).toMatchObject({ state: 'queued', account: 'main' });
  expect(await accounts()).toEqual(['main']);
  expect(await domains()).toHaveLength(0);
});

test('an account that has the name is used; one of another server has the server added to its name', async () => {
  await sql`insert into acme.server (name, directory_url) values ('two', 'https://two.example.org/dir')`;
  await sql`
    insert into acme.account (name, server)
    values ('example.org', 'ca'), ('example.net', 'two'), ('example.com', 'two'), ('example.com_ca', 'two')`;
  const [own, other, twice] = await judge([
    ['a.example.org'],
    ['a.example.net'],
    ['a.example.com'],
  ]);
  expect(await statusOf(own)).toMatchObject({ account: 'example.org' });
  expect(await statusOf(other)).toMatchObject({ account: 'example.net_ca', server: 'ca' });
  expect(await statusOf(twice)).toMatchObject({ account: 'example.com_ca_3', server: 'ca' });
  const made = await sql`
    select a.name from acme.event e join acme.account a on a.id = e.account_id where e.event = 'account_made' order by 1`;
  expect([...made]).toEqual([{ name: 'example.com_ca_3' }, { name: 'example.net_ca' }]);
  const [again] = await judge([['b.example.net']]);
  expect(await statusOf(again)).toMatchObject({ account: 'example.net_ca' });
});

test('acme_admin says which account serves a domain, of that very server; nobody else may', async () => {
  const admin = await database.as('acme_admin');
  await sql`insert into acme.account (name, server) values ('customer-7', 'ca'), ('away', 'letsencrypt')`;
  await admin`
    insert into acme.account_domain (server, domain, account)
    values ('ca', 'example.org', 'customer-7'), ('ca', 'example.net', 'customer-7')`;
  const [one, two] = await judge([['a.example.org'], ['a.example.net']]);
  expect(await statusOf(one)).toMatchObject({ account: 'customer-7' });
  expect(await statusOf(two)).toMatchObject({ account: 'customer-7' });
  await expect(
    admin`insert into acme.account_domain (server, domain, account) values ('ca', 'example.com', 'away')`,
  ).rejects.toMatchObject({ code: '23503' });
  await expect(
    admin`update acme.server set account_policy = 'per_customer' where name = 'ca'`,
  ).rejects.toMatchObject({ code: '23514' });
  await admin`update acme.server set account_policy = 'single' where name = 'ca'`;
  // A server that gets another name keeps them.
  await admin`update acme.server set name = 'internal' where name = 'ca'`;
  expect((await domains()).map(({ server }) => server)).toEqual(['internal', 'internal']);
  const app = await database.as('acme_app', { login: 'tenant' });
  for (const query of [
    `update acme.server set account_policy = 'single'`,
    `select from acme.account_domain`,
    `insert into acme.account_domain (server, domain, account) values ('ca', 'example.com', 'main')`,
    `update acme.account_domain set account = 'main'`,
    `select acme_private.account_of_domain(1, 1, 1, 'example.org')`,
  ]) {
    await expect(app.unsafe(query), query).rejects.toMatchObject({ code: '42501' });
  }
});

test('what comes new of a domain follows acme.replace_account, and a closed account keeps it waiting', async () => {
  const admin = await database.as('acme_admin');
  const [old] = await judge([['a.example.org'], ['a.example.net']]);
  await set(sql, 'account', await accountId(sql, 'example.org'), {
    state: 'deactivated',
    reason: 'It was deactivated on request.',
  });
  const [waiting] = await judge([['b.example.org']]);
  expect(await statusOf(waiting)).toMatchObject({
    state: 'queued',
    account: 'example.org',
    reason_code: 'account_not_ready',
    reason: 'The account example.org is deactivated: It was deactivated on request.',
  });
  // Two domains may end at one account.
  await admin`select acme.replace_account('example.org', 'main')`;
  await admin`select acme.replace_account('example.net', 'main')`;
  expect((await domains()).map(({ account }) => account)).toEqual(['main', 'main']);
  const [next] = await judge([['c.example.org']]);
  expect(await statusOf(next)).toMatchObject({ account: 'main' });
  for (const id of [old, waiting]) {
    await sql`select acme_private.attend(${worker}, ${id ?? null}, 0)`;
    expect(await statusOf(id)).toMatchObject({ account: 'main' });
  }
  // Deleted, an account leaves nothing behind.
  await sql`insert into acme.account (name, server) values ('spare', 'ca')`;
  await sql`update acme.account_domain set account = 'spare' where domain = 'example.net'`;
  await admin`delete from acme.account where name = 'spare'`;
  expect((await domains()).map(({ domain }) => domain)).toEqual(['example.org']);
});

test('an account is not deleted under the csrs that are being given to it', async () => {
  const { pem } = await makeCsr({ names: ['a.example.org'] });
  await sql`insert into acme.csr (pem) values (${pem})`;
  const give = (on: postgres.ISql) => on`select acme_private.dispatch(${worker}, null, '[]', 1)`;
  const drop = (on: postgres.ISql) => on`delete from acme.account where name = 'main'`;
  // Given away and not yet committed: a deletion waits, and then finds the csr.
  expect(await refusal(inTurn(sql, give, drop))).toMatchObject({ code: '23503' });
  await set(sql, 'csr', all, { lease_token: null, lease_until: null, account_id: null });
  // Deleted and not yet committed: who gives it away waits, and then gives nothing.
  expect(await refusal(inTurn(sql, drop, give))).toMatchObject({ code: '40001' });
  const [state] = await sql`select account_id from acme_private.csr_state`;
  expect(state).toEqual({ account_id: null });
});

test('accounts that are not registered yet hold up none that is', async () => {
  const lists = Array.from({ length: 40 }, (_, i) => [`www.domain-${String(i)}.test`]);
  await judge(lists);
  await sql`insert into acme.account (name, server, is_default) values ('last', 'ca', true)`;
  await registerDefaultAccount(sql);
  const [id] = await judge([['a.example.org']], { account: 'last' });
  expect(await statusOf(id)).toMatchObject({ state: 'ordering' });
  const [queued] = await sql`
    select count(*)::int from acme.csr_status where state = 'queued' and reason_code = 'account_not_ready'`;
  expect(queued).toEqual({ count: 40 });
});

describe('an account of a registered domain', () => {
  /** What is said of an account, without its name; null: it was taken. */
  async function said(on: postgres.Sql, call: string, account: string): Promise<unknown> {
    const taken = new Error('it was taken');
    try {
      return await on.begin(async (tx) => {
        // What a session says that it knows proves nothing.
        await tx`select set_config('acme_private.known_names', ${`${account} `}, true),
                        set_config('acme_private.known_solver', ${account}, true)`;
        await tx.unsafe(call, [account]);
        throw taken;
      });
    } catch (error) {
      if (error === taken) return null;
      const { code, message, hint, detail } = error as postgres.PostgresError;
      return { code, message: message.replaceAll(account, 'NAME'), hint, detail };
    }
  }

  async function twoTenants() {
    const owner = await database.as('acme_app', { login: 'owner' });
    const stranger = await database.as('acme_app', { login: 'stranger' });
    const { pem } = await makeCsr({ names: ['www.victim.org'] });
    const [{ id }] = await owner<[{ id: string }]>`
      insert into acme.csr (pem) values (${pem}) returning id`;
    const { received } = await dispatch(null, []);
    await dispatch(received.lease, [
      { ...accepted(id), identifiers: ['www.victim.org'], domains: ['victim.org'] },
    ]);
    return { owner, stranger, id };
  }

  const seen = async (on: postgres.Sql) =>
    (await on<{ name: string }[]>`select name from acme.usable_account`).map(({ name }) => name);

  test('is shown to the tenants whose csrs use it, and to readers of all', async () => {
    const { owner, stranger } = await twoTenants();
    await sql`insert into acme.account (name, server) values ('shared', 'ca')`;
    expect(await seen(owner)).toEqual(['main', 'victim.org', 'shared']);
    expect(await seen(stranger)).toEqual(['main', 'shared']);
    expect(await seen(await database.as('acme_admin'))).toEqual(['main', 'victim.org', 'shared']);
    const reader = await database.as('acme_reader');
    expect(await reader`select name from acme.account`).toHaveLength(3);
    for (const table of ['acme.account', 'acme.account_domain', 'acme.account_status']) {
      expect((await refusal(stranger.unsafe(`select * from ${table}`))).code).toBe('42501');
    }
  });

  test('is answered to other tenants as an unknown one, by whatever takes a name of an account', async () => {
    const { owner, stranger } = await twoTenants();
    const { pem } = await makeCsr({ names: ['www.example.org'] });
    const calls = [
      `insert into acme.csr (pem, account) values ('${pem}', $1)`,
      `select acme.request('${pem}', account => $1)`,
      `select acme.preauthorize('www.example.org', account => $1)`,
    ];
    const taking = await sql<{ name: string }[]>`
      select oid::regprocedure::text as name from pg_proc
       where pronamespace = 'acme'::regnamespace and 'account' = any (proargnames[1:pronargs])
         and has_function_privilege('acme_app', oid, 'execute')
       order by 1`;
    expect(taking.map(({ name }) => name)).toEqual([
      'acme.preauthorize(text,text,text)',
      'acme.request(text,text,text,text,text)',
    ]);
    for (const call of calls) {
      const unknown = await said(stranger, call, 'nobody.org');
      expect(unknown, call).toHaveProperty(
        'message',
        expect.stringContaining('There is no account'),
      );
      expect(await said(stranger, call, 'victim.org'), call).toEqual(unknown);
      expect(await said(owner, call, 'victim.org'), call).toBeNull();
    }
  });

  test('stays unknown to others when it serves its domain no longer', async () => {
    const { owner, stranger, id } = await twoTenants();
    const admin = await database.as('acme_admin');
    await sql`insert into acme.account (name, server) values ('next', 'ca')`;
    await admin`select acme.replace_account('victim.org', 'next')`;
    expect(await seen(stranger)).toEqual(['main']);
    expect(await seen(owner)).toEqual(['main', 'victim.org', 'next']);
    await admin`delete from acme.account_domain`;
    await sql`select acme_private.attend(null, ${id}, 0)`;
    // Nobody's domain any more: it is shared as before.
    expect(await seen(stranger)).toEqual(['main', 'next']);
  });

  test('of a csr that waits for it is told in its reason', async () => {
    const { owner, stranger, id } = await twoTenants();
    const status = (on: postgres.Sql) =>
      on`select account, reason from acme.csr_status where id = ${id}`;
    expect(await status(owner)).toEqual([
      { account: 'victim.org', reason: 'The account victim.org is new and not registered yet.' },
    ]);
    expect(await status(stranger)).toEqual([]);
  });
});
