import { readFile } from 'node:fs/promises';
import type postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { readMatrix, roleMatrix } from '../helpers/role-matrix.ts';
import { sqlFiles } from '../helpers/sql-files.ts';

const root = new URL('../../', import.meta.url);
let database: FreshDatabase;

beforeAll(async () => {
  database = await freshDatabase();
});

test('each role may do in schema acme what docs/security.md says, and nothing else', async () => {
  const text = await readFile(new URL('docs/security.md', root), 'utf8');
  const documented = readMatrix(text, 'Who may do what');
  expect(
    await roleMatrix(database.sql),
    'fix sql/api/grants.sql or the table in docs/security.md',
  ).toEqual(documented);
});

test('nobody but the owner holds anything on sequences, account keys or leases', async () => {
  const held = await database.sql`
    select c.oid::regclass::text as object, x.grantee::regrole::text as role
      from pg_class c, aclexplode(c.relacl) x
     where c.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)
       and x.grantee <> c.relowner
       and (c.relkind = 'S' or c.relname in ('account_key', 'transition', 'step', 'migration', 'installation'))
    union all
    select format('%s.%I', a.attrelid::regclass, a.attname), r.rolname
      from pg_attribute a
      join pg_class c on c.oid = a.attrelid and c.relkind = 'r'
     cross join pg_roles r
     where c.relnamespace = 'acme_private'::regnamespace
       and a.attname in ('lease_token', 'lease_until', 'lease_worker', 'claims', 'key_authorization', 'jwe')
       and not a.attisdropped
       and r.rolname in ('acme_app', 'acme_reader', 'acme_responder', 'acme_admin', 'acme_worker')
       and has_column_privilege(r.rolname, a.attrelid, a.attnum, 'select')`;
  expect(held).toEqual([]);
});

test('every function that runs as its owner pins search_path and is closed to public', async () => {
  const open = await database.sql`
    select p.oid::regprocedure::text as function
      from pg_proc p
     where p.pronamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)
       and (p.prosecdef and 'search_path=pg_catalog, pg_temp' <> all (coalesce(p.proconfig, '{""}'))
            or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x where x.grantee = 0))`;
  expect(open).toEqual([]);
  const definers = await database.sql`
    select p.oid::regprocedure::text as function
      from pg_proc p
     where p.pronamespace = 'acme'::regnamespace and p.prosecdef`;
  expect(definers, 'public functions run with the rights of their caller').toEqual([]);
});

test('every function states its volatility in its header', async () => {
  let functions = 0;
  for (const { file, text } of await sqlFiles('sql/api/')) {
    for (const header of text.match(
      /^create or replace function [\s\S]*?^(?:as \$|return |begin atomic)/gm,
    ) ?? []) {
      functions++;
      expect(header, file).toMatch(/^language \w+ (immutable|stable|volatile)\b/m);
    }
  }
  const [made] = await database.sql<[{ count: number }]>`
    select count(*)::int as count
      from pg_proc
     where pronamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)`;
  expect(functions, 'functions found in sql/api').toBe(made.count);
});

/** Runs statements as a login of its own, each in a transaction that is rolled back. */
async function attempts(role: string, statements: string[]): Promise<Record<string, string>> {
  const sql = await database.as(role);
  const outcome: Record<string, string> = {};
  for (const statement of statements) {
    outcome[statement] = await attempt(sql, statement);
  }
  return outcome;
}

async function attempt(sql: postgres.Sql, statement: string): Promise<string> {
  const undo = new Error('undo');
  try {
    await sql.begin(async (tx) => {
      await tx.unsafe(statement);
      throw undo;
    });
  } catch (error) {
    if (error === undo) return 'done';
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
  return 'done';
}

const DENIED = '42501';
const all = (statements: string[], outcome: string) =>
  Object.fromEntries(statements.map((statement) => [statement, outcome]));

describe('tried as a login of the role', () => {
  let pem: string;

  beforeAll(async () => {
    const { sql } = database;
    ({ pem } = await makeCsr({ names: ['roles.example.org'] }));
    await sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
    await sql`insert into acme.account (name, server) values ('main', 'ca')`;
    await sql`insert into acme.csr (pem) values (${pem})`;
  });

  test('acme_app does its work and nothing that belongs to workers or administrators', async () => {
    const allowed = [
      `insert into acme.csr (pem, ref, labels) values ('${pem}', 'r', '{"a": 1}') returning *`,
      'select * from acme.csr',
      'select * from acme.csr_status',
      'select * from acme.current_certificate',
      'select * from acme.challenge_todo',
      'select * from acme.event',
      'select * from acme.changes()',
      'select * from acme.stuck',
      'select * from acme.server_feature',
      'select name from acme.usable_account where is_default',
      `create temp table t (csr bigint)`,
    ];
    expect(await attempts('acme_app', allowed)).toEqual(all(allowed, 'done'));
    const denied = [
      `insert into acme.csr (pem, tenant) values ('${pem}', 'another')`,
      `insert into acme.csr (pem, tenant) values ('${pem}', current_user)`,
      `insert into acme.csr (pem, version) values ('${pem}', 7)`,
      'delete from acme.csr',
      `update acme.csr set pem = ''`,
      `update acme.csr set tenant = 'another'`,
      `update acme.csr set version = 9`,
      'delete from acme_private.tenant_name',
      'select * from acme.tenant_role',
      'select acme_private.current_tenant()',
      `select acme_private.tenant_of('acme_admin')`,
      `select * from acme_private.free_names('x', 'acme_admin')`,
      `select * from acme_private.name_owners('acme_admin')`,
      `select acme.move_name('example.org', 'me')`,
      `select acme_private.delete_csrs(array[1])`,
      'lock table acme.name_owner in access exclusive mode',
      `update acme_private.csr_state set state = 'issued'`,
      'select state from acme_private.csr_state',
      'select lease_token from acme_private.csr_state',
      'select jwe from acme_private.account_key',
      'select acme_private.clock()',
      `select * from acme_private.neglect('order', 1)`,
      'select * from acme_private.failed_jobs()',
      'select acme_private.raise_epoch()',
      `select acme_private.claim(1, 'order', 1)`,
      'select acme_private.reconcile()',
      `select acme_private.server_facts_stored(1, 1, 'seen', '[]')`,
      `select acme_private.enqueue('csr', 1)`,
      `select acme_worker.add_job('dispatch')`,
      'select * from acme_worker.jobs',
      'select contact from acme.account',
      'select ca_bundle from acme.server',
      `update acme.account set contact = '{}'`,
      `insert into acme.server (name, directory_url) values ('x', 'https://x.example.org/')`,
      `select acme.pause('server', 'ca', 'because')`,
      `select acme.http01_response('token')`,
      'select * from acme.account_status',
      'create table acme.mine (id int)',
      'create function acme.mine() returns int language sql as $$ select 1 $$',
      'set role acme_owner',
      'set role acme_admin',
      'set role acme_worker',
      'alter table acme.csr disable row level security',
      'truncate acme.csr cascade',
    ];
    expect(await attempts('acme_app', denied)).toEqual(all(denied, DENIED));
  });

  test('acme_responder answers challenges and can do nothing else', async () => {
    const allowed = [`select acme.http01_response('token')`, 'select acme.version()'];
    expect(await attempts('acme_responder', allowed)).toEqual(all(allowed, 'done'));
    const denied = [
      'select * from acme.record',
      'select tenant from acme.record',
      'select challenge_id from acme.record',
      'select id from acme.csr',
      'select * from acme.csr_status',
      'select name from acme.account',
      `insert into acme.csr (pem) values ('${pem}')`,
      `update acme.record set state = 'published'`,
      'select * from acme_private.record',
      'select acme.retry(1)',
    ];
    expect(await attempts('acme_responder', denied)).toEqual(all(denied, DENIED));
  });

  test('acme_reader reads all and writes nothing', async () => {
    const allowed = [
      'select * from acme.csr_status',
      'select * from acme.certificate',
      'select * from acme.account_status',
      'select * from acme.worker_status',
      'select * from acme.event',
      'select acme.explain(1)',
      'select * from acme.changes()',
      'select * from acme.stuck',
    ];
    expect(await attempts('acme_reader', allowed)).toEqual(all(allowed, 'done'));
    const denied = [
      `insert into acme.csr (pem) values ('${pem}')`,
      'update acme.csr set priority = 1',
      'delete from acme.csr',
      'delete from acme_private.tenant_name',
      `select acme.move_name('roles.example.org', null)`,
      `update acme.record set state = 'removed'`,
      'select acme.retry(1)',
      'select acme.cancel(1)',
      `select acme.request('${pem}')`,
      'select acme.challenge_published(1)',
      `select acme.pause('server', 'ca', 'because')`,
      'select jwe from acme_private.account_key',
    ];
    expect(await attempts('acme_reader', denied)).toEqual(all(denied, DENIED));
  });

  test('acme_admin administers, but neither acts as a worker nor reads keys', async () => {
    const allowed = [
      `insert into acme.server (name, directory_url) values ('x', 'https://x.example.org/')`,
      `insert into acme.account (name, server, contact) values ('y', 'ca', '{mailto:y@example.org}')`,
      `insert into acme.solver (name, method, names) values ('z', 'manual', '{z.example.org}')`,
      `update acme.account set terms_agreed = true`,
      `select acme.pause('account', 'main', 'because')`,
      `insert into acme.tenant_role (role, tenant) values ('acme_app', 'x')`,
      'select * from acme.server',
    ];
    expect(await attempts('acme_admin', allowed)).toEqual(all(allowed, 'done'));
    const denied = [
      'select jwe from acme_private.account_key',
      `update acme_private.csr_state set state = 'issued'`,
      `select acme_private.claim(1, 'order', 1)`,
      `select acme_worker.add_job('dispatch')`,
      `update acme.account set name = 'other'`,
      'delete from acme.csr',
      'delete from acme_private.tenant_name',
      'set role acme_owner',
      'set role acme_worker',
    ];
    expect(await attempts('acme_admin', denied)).toEqual(all(denied, DENIED));
  });

  test('acme_worker runs step functions, makes nothing outside its schema and reads no secret', async () => {
    const allowed = [
      `select acme_private.worker_begin('host', 1, '0.1', 1, null)`,
      `select acme_private.claim(1, 'order', 1)`,
      'select acme_private.reconcile()',
      `select acme_worker.add_job('dispatch')`,
    ];
    expect(await attempts('acme_worker', allowed)).toEqual(all(allowed, 'done'));
    const denied = [
      'create table acme.mine (id int)',
      'create table acme_private.mine (id int)',
      'create table public.mine (id int)',
      'create schema mine',
      'create or replace function acme_private.clock() returns timestamptz language sql as $$ select now() $$',
      'drop table acme.csr cascade',
      'select jwe from acme_private.account_key',
      'select pem from acme.csr',
      `update acme_private.csr_state set state = 'queued'`,
      `insert into acme.csr (pem) values ('${pem}')`,
      `select acme_private.enqueue('csr', 1)`,
      'delete from acme_private.transition',
      'set role acme_owner',
    ];
    expect(await attempts('acme_worker', denied)).toEqual(all(denied, DENIED));
  });
});
