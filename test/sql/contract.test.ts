import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { roles } from '../../src/db/migrate/roles.ts';
import { dumpContract } from '../helpers/contract.ts';
import { freshDatabase } from '../helpers/postgres.ts';

const file = new URL('../../docs/contract.sql', import.meta.url);

test('docs/contract.sql shows every public object as it is, on each supported PostgreSQL', async () => {
  const { sql } = await freshDatabase();
  const now = await dumpContract(sql);
  if (process.env['PGACME_UPDATE_CONTRACT'] === '1') await writeFile(file, now);
  const written = await readFile(file, 'utf8').catch(() => '');
  expect(
    now,
    'docs/contract.sql is not what the database has. If the change is wanted, write it anew with ' +
      'PGACME_UPDATE_CONTRACT=1 npx vitest run test/sql/contract.test.ts, and say so in CHANGELOG.md.',
  ).toBe(written);
});

test('every public table, view, column, function, schema and role has a comment for psql', async () => {
  const { sql } = await freshDatabase();
  const bare = await sql<{ object: string }[]>`
    select c.oid::regclass::text as object
      from pg_class c
     where c.relnamespace = 'acme'::regnamespace
       and c.relkind in ('r', 'p', 'v', 'm')
       and obj_description(c.oid, 'pg_class') is null
    union all
    select format('%s.%I', c.oid::regclass, a.attname)
      from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace = 'acme'::regnamespace
       and c.relkind in ('r', 'p', 'v', 'm')
       and col_description(c.oid, a.attnum) is null
    union all
    select p.oid::regprocedure::text
      from pg_proc p
     where p.pronamespace = 'acme'::regnamespace
       and obj_description(p.oid, 'pg_proc') is null
    union all
    select n.nspname::text
      from pg_namespace n
     where n.nspname in ('acme', 'acme_private')
       and obj_description(n.oid, 'pg_namespace') is null
    union all
    select r.rolname::text
      from pg_roles r
     where r.rolname = any (${[...roles]})
       and shobj_description(r.oid, 'pg_authid') is null
     order by 1`;
  expect(bare.map(({ object }) => object)).toEqual([]);
});
