import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { fingerprint, fingerprintedTables, LEFT_OUT } from '../helpers/fuzz/invariants.ts';
import { freshDatabase } from '../helpers/postgres.ts';

test('the fingerprint changes with a row of any table', async () => {
  const { sql } = await freshDatabase();
  await sql`create table acme_private.added_later (id int)`;
  const unseen: string[] = [];
  await rolledBack(sql, async (tx) => {
    await dropRules(tx);
    for (const { name } of await tables(tx)) {
      if (name in LEFT_OUT) continue;
      const before = await fingerprint(tx);
      await tx.unsafe(`insert into ${name} default values`);
      if ((await fingerprint(tx)) === before) unseen.push(name);
    }
  });
  expect(unseen).toEqual([]);
});

test('tables that the fingerprint leaves out exist, and have a reason', async () => {
  const { sql } = await freshDatabase();
  const names = (await tables(sql)).map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(Object.keys(LEFT_OUT)));
  expect(Object.values(LEFT_OUT).filter((reason) => reason.length < 20)).toEqual([]);
  expect((await fingerprintedTables(sql)).length).toBe(names.length - Object.keys(LEFT_OUT).length);
});

/** All tables of the three schemas that rows of ours are in, and of the queue's the one with the jobs. */
async function tables(sql: postgres.ISql) {
  return sql<{ name: string }[]>`
    select format('%I.%I', table_schema, table_name) as name
      from information_schema.tables
     where table_type = 'BASE TABLE'
       and (table_schema in ('acme', 'acme_private') or (table_schema, table_name) = ('acme_worker', '_private_jobs'))`;
}

/** Any row may be inserted: no constraint, no trigger, nothing that must not be null. */
async function dropRules(tx: postgres.TransactionSql): Promise<void> {
  await tx`set local session_replication_role = replica`;
  await tx.unsafe(`
    do $$
    declare r record;
    begin
      for r in select conrelid::regclass as t, conname from pg_constraint c
                where connamespace in ('acme'::regnamespace, 'acme_private'::regnamespace, 'acme_worker'::regnamespace)
                  and conrelid <> 0 and contype <> 'n'
                order by contype <> 'f' loop
        execute format('alter table %s drop constraint if exists %I cascade', r.t, r.conname);
      end loop;
      for r in select attrelid::regclass as t, attname
                 from pg_attribute a join pg_class c on c.oid = a.attrelid
                where c.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace, 'acme_worker'::regnamespace)
                  and c.relkind in ('r', 'p') and a.attnum > 0 and a.attnotnull and a.attidentity = '' loop
        execute format('alter table %s alter column %I drop not null', r.t, r.attname);
      end loop;
    end $$`);
}

async function rolledBack(
  sql: postgres.Sql,
  run: (tx: postgres.TransactionSql) => Promise<void>,
): Promise<void> {
  const done = new Error('done');
  await sql
    .begin(async (tx) => {
      await run(tx);
      throw done;
    })
    .catch((error: unknown) => {
      if (error !== done) throw error;
    });
}
