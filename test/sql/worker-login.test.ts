import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { dryRun } from '../../src/db/migrate/dry-run.ts';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { openShop } from '../helpers/shop.ts';

/** Whether a login could get each of these done. */
async function tried(sql: postgres.Sql, statements: string[]): Promise<Record<string, string>> {
  const outcome: Record<string, string> = {};
  for (const statement of statements) {
    outcome[statement] = await sql.unsafe(statement).then(
      () => 'done',
      (error: unknown) => String((error as { code?: string }).code),
    );
  }
  return outcome;
}

test('what a superuser who migrates reads belongs to nobody who is a worker, and makes no worker one', async () => {
  const database = await freshDatabase();
  const { sql, url } = database;
  const worker = await database.as('acme_worker', { max: 1 });
  const { role } = await database.login('acme_worker');
  // Whatever reads the table, or adds a job, would do this with the rights of the session's login.
  const evil = `language plpgsql as $$
    begin
      execute 'set role none';
      execute 'alter role ${role} superuser';
      return null;
    end $$`;
  await worker`set role acme_worker`;
  const outcome = await tried(worker, [
    `create function acme_worker.evil() returns int ${evil}`,
    `create function acme_worker.tg_evil() returns trigger ${evil}`,
    'alter table acme_worker.migrations rename to migrations_0',
    `create view acme_worker.migrations as
       select id, ts, breaking from acme_worker.migrations_0 where acme_worker.evil() is null`,
    `create trigger evil before insert on acme_worker._private_jobs for each statement execute function acme_worker.tg_evil()`,
    `create rule evil as on insert to acme_worker._private_jobs do also select acme_worker.evil()`,
    `alter table acme_worker._private_tasks alter column identifier set default acme_worker.evil()::text`,
    `create policy evil on acme_worker._private_tasks using (acme_worker.evil() is null)`,
    `create index evil on acme_worker._private_tasks (acme_worker.evil())`,
    `create or replace function acme_worker.remove_job(job_key text) returns acme_worker._private_jobs ${evil}`,
    `insert into acme_worker.migrations (id) values (1000000)`,
    'alter schema acme_worker rename to acme_worker_0',
    'create schema evil',
  ]);
  for (const role of ['acme_owner', 'acme_app', 'acme_admin']) {
    outcome[role] = (await tried(worker, [`set role ${role}`]))[`set role ${role}`] ?? '';
  }
  // Where the worker got something done, these may fail, too late.
  const ran = await Promise.allSettled([migrate({ databaseUrl: url })]);
  const read = await Promise.allSettled([dryRun({ databaseUrl: url })]);
  const [is] = await sql<
    { rolsuper: boolean }[]
  >`select rolsuper from pg_roles where rolname = ${role}`;
  expect(is).toEqual({ rolsuper: false });
  expect(Object.entries(outcome).filter(([, code]) => code === 'done')).toEqual([]);
  expect([...ran, ...read].map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
});

test('what a worker writes into the queue raises in no view of others, and shows no character that acts on a terminal', async () => {
  const shop = await openShop();
  const { sql, database } = shop;
  await shop.insert();
  const worker = await database.as('acme_worker', { max: 1 });
  const reader = await database.as('acme_reader');
  await worker`update acme_worker._private_tasks set identifier = E'\\x1b[2J' || identifier where identifier = 'dispatch'`;
  for (const payload of [
    '{"kind":"\\u0000","id":"\\ud800"}',
    '{"kind":"\u009b2J","id":1}',
    `{"kind":"${'x'.repeat(100_000)}"}`,
    '[]',
  ]) {
    await worker`
      update acme_worker._private_jobs
         set payload = ${payload}::text::json, attempts = 25, max_attempts = 25`;
    const seen = await reader<{ reason: string }[]>`
      select reason from acme.stuck union all select sentence from acme.attention where code = 'stuck'`;
    expect(seen.length, payload).toBeGreaterThan(1);
    for (const { reason } of seen) expect(reason).toMatch(/^[\x20-\x7e]{1,500}$/);
  }
  await sql`select acme_private.reconcile()`;
});

test('no role of pgacme but acme_owner owns anything, or may make anything where it reads', async () => {
  const { sql } = await freshDatabase();
  const owned = await sql`
    select pg_describe_object(s.classid, s.objid, s.objsubid) as object, s.refobjid::regrole::text as owner
      from pg_shdepend s
     where s.dbid = (select oid from pg_database where datname = current_database()) and s.deptype = 'o'
       and s.refobjid::regrole::text like 'acme\\_%' and s.refobjid <> 'acme_owner'::regrole`;
  expect(owned).toEqual([]);
  const makers = await sql`
    select n.nspname, r.rolname
      from pg_namespace n
     cross join pg_roles r
     where n.nspname like 'acme%' and r.rolname like 'acme\\_%' and r.rolname <> 'acme_owner'
       and has_schema_privilege(r.oid, n.oid, 'create')`;
  expect(makers).toEqual([]);
  const triggers = await sql`
    select c.oid::regclass::text as table, x.grantee::regrole::text as role, x.privilege_type as may
      from pg_class c
     cross join aclexplode(c.relacl) x
     where c.relnamespace::regnamespace::text like 'acme%' and x.grantee <> c.relowner
       and x.privilege_type in ('TRIGGER', 'TRUNCATE')`;
  expect(triggers).toEqual([]);
});
