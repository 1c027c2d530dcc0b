import { randomBytes } from 'node:crypto';
import { beforeEach, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../../helpers/postgres.ts';
import { findings } from './findings.ts';

let database: FreshDatabase;
let env: Record<string, string>;

beforeEach(async () => {
  database = await freshDatabase();
  const { sql } = database;
  await sql`insert into acme.server (name, directory_url) values ('ca', 'https://127.0.0.1:1/dir')`;
  await sql`insert into acme.account (name, server) values ('main', 'ca'), ('second', 'ca')`;
  await set('main', 'valid', null, null);
  await set('second', 'valid', null, null);
  env = {
    DATABASE_URL: (await database.login('acme_worker')).url,
    PGACME_SECRET_KEY: randomBytes(32).toString('base64'),
  };
});

/** Puts an account into a state as workers do. */
async function set(
  name: string,
  state: string,
  code: string | null,
  reason: string | null,
  next: string | null = null,
): Promise<void> {
  await database.sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`
      update acme_private.account_state
         set state = ${state}, url = 'https://ca.example.org/account/' || account_id, reason_code = ${code},
             reason = ${reason}, next_attempt_at = (${next}::text)::timestamptz
       where account_id = (select id from acme.account where name = ${name})`;
  });
}

const about = async (group: string) =>
  (await findings(env)).filter((line) => line.startsWith(`${group}: `));

const CLOSED = 'It was deactivated on request. Its certificates stay valid.';

test('one that waits for a person is told with what its reason says, and nothing else', async () => {
  await set('second', 'registering', 'external_account_required', 'Set eab_kid.', 'infinity');
  expect(await about('Accounts')).toEqual([
    'Accounts: problem: Account second waits for a person: Set eab_kid.',
  ]);
});

test('one whose key is replaced, or that is being closed, is under way unless something is in its way', async () => {
  await set('main', 'rolling_over', 'waiting_for_orders', 'It gets no new orders for now.');
  await set('second', 'deactivating', null, null);
  expect(await about('Accounts')).toEqual([
    'Accounts: warning: Account main is rolling_over: It gets no new orders for now.',
    'Accounts: warning: Account second is deactivating: a worker does it; see Workers.',
  ]);
  await set('main', 'rolling_over', 'secret_key_wrong', 'It cannot be opened.');
  expect(await about('Accounts')).toContain(
    'Accounts: problem: Account main is rolling_over: It cannot be opened.',
  );
});

test('one that was closed is a problem only as long as something needs it', async () => {
  const { sql } = database;
  await set('second', 'deactivated', 'account_deactivated', CLOSED);
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
  await sql`
    update acme_private.csr_state
       set state = 'queued', identifiers = '{a.example.org}', server_id = 1, account_id = 2`;
  expect(await about('Accounts')).toEqual(needed);
  await sql`select acme.cancel(${csr.id})`;
  await sql`select acme_private.attend(null, ${csr.id}, 0)`;
  expect(await about('Accounts')).toEqual(well);
});

test('the key of a closed account need not be opened', async () => {
  const { sql } = database;
  await sql`
    insert into acme_private.account_key (account_id, jwe, thumbprint, spki_sha256)
    select id, 'eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA', name, sha256(name::bytea) from acme.account`;
  await set('second', 'deactivated', 'account_deactivated', CLOSED);
  const told = await about('Secret key');
  expect(told).toHaveLength(1);
  expect(told[0]).toMatch(/^Secret key: problem: It does not open the key of account main: /);
});
