import { randomBytes } from 'node:crypto';
import { beforeEach, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../../helpers/postgres.ts';
import {
  accountId,
  addAccountKey,
  NEVER,
  set,
  withoutTriggers,
} from '../../helpers/state/index.ts';
import { findings } from './findings.ts';

let database: FreshDatabase;
let env: Record<string, string>;

beforeEach(async () => {
  database = await freshDatabase();
  const { sql } = database;
  await sql`insert into acme.server (name, directory_url) values ('ca', 'https://127.0.0.1:1/dir')`;
  await sql`insert into acme.account (name, server) values ('main', 'ca'), ('second', 'ca')`;
  await put('main', 'valid', null, null);
  await put('second', 'valid', null, null);
  env = {
    DATABASE_URL: (await database.login('acme_worker')).url,
    PGACME_SECRET_KEY: randomBytes(32).toString('base64'),
  };
});

/** Puts an account into a state as workers do. */
async function put(
  name: string,
  state: string,
  code: string | null,
  reason: string | null,
  next: typeof NEVER | null = null,
): Promise<void> {
  const id = await accountId(database.sql, name);
  await withoutTriggers(database.sql, (tx) =>
    set(tx, 'account', id, {
      state,
      url: `https://ca.example.org/account/${id}`,
      reason_code: code,
      reason,
      next_attempt_at: next,
    }),
  );
}

const about = async (group: string) =>
  (await findings(env)).filter((line) => line.startsWith(`${group}: `));

const CLOSED = 'It was deactivated on request. Its certificates stay valid.';

test('one that waits for a person is told with what its reason says, and nothing else', async () => {
  await put('second', 'registering', 'external_account_required', 'Set eab_kid.', NEVER);
  expect(await about('Accounts')).toEqual([
    'Accounts: problem: Account second waits for a person: Set eab_kid.',
  ]);
});

test('one whose key is replaced, or that is being closed, is under way unless something is in its way', async () => {
  await put('main', 'rolling_over', 'waiting_for_orders', 'It gets no new orders for now.');
  await put('second', 'deactivating', null, null);
  expect(await about('Accounts')).toEqual([
    'Accounts: warning: Account main is rolling_over: It gets no new orders for now.',
    'Accounts: warning: Account second is deactivating: a worker does it; see Workers.',
  ]);
  await put('main', 'rolling_over', 'secret_key_wrong', 'It cannot be opened.');
  expect(await about('Accounts')).toContain(
    'Accounts: problem: Account main is rolling_over: It cannot be opened.',
  );
});

test('one that was closed is a problem only as long as something needs it', async () => {
  const { sql } = database;
  await put('second', 'deactivated', 'account_deactivated', CLOSED);
  const well = ['Accounts: ok: The account is registered. Closed, and used by nothing: 1.'];
  expect(await about('Accounts')).toEqual(well);
  const needed = [
    "Accounts: problem: Account second is deactivated, and csrs, a domain or those that name no account need it. Insert another account at its server; then: select acme.replace_account('second', 'NEW');",
  ];
  await sql`update acme.account set is_default = true where name = 'second'`;
  expect(await about('Accounts')).toEqual(needed);
  await sql`update acme.account set is_default = true where name = 'main'`;
  await sql`insert into acme.account_domain (server, domain, account) values ('ca', 'example.org', 'second')`;
  expect(await about('Accounts')).toEqual(needed);
  await sql`delete from acme.account_domain`;
  const [csr] = await sql<[{ id: string }]>`
    insert into acme.csr (pem, account) values (${pemShapedLikeCsr()}, 'second') returning id`;
  expect(await about('Accounts')).toEqual(needed);
  await set(sql, 'csr', csr.id, {
    state: 'queued',
    identifiers: ['a.example.org'],
    server_id: 1,
    account_id: 2,
  });
  expect(await about('Accounts')).toEqual(needed);
  await sql`select acme.cancel(${csr.id})`;
  await sql`select acme_private.attend(null, ${csr.id}, 0)`;
  expect(await about('Accounts')).toEqual(well);
});

test('the key of a closed account need not be opened', async () => {
  const { sql } = database;
  for (const name of ['main', 'second']) {
    await addAccountKey(sql, await accountId(sql, name), name, {
      jwe: 'eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA',
    });
  }
  await put('second', 'deactivated', 'account_deactivated', CLOSED);
  const told = await about('Secret key');
  expect(told).toHaveLength(1);
  expect(told[0]).toMatch(/^Secret key: problem: It does not open the key of account main: /);
});
