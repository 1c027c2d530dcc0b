import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type postgres from 'postgres';
import { run } from '../../../src/local/run.ts';
import { testFolder } from '../sweep.ts';

const DEBIAN = '/usr/lib/postgresql/15/bin';

/** The programs to run PostgreSQL with: such as bring pg_dumpall, where there are some. */
export function postgresPrograms(): string | undefined {
  const named = process.env['PGACME_TEST_PG_BIN'];
  if (named !== undefined && named !== '') return named;
  return existsSync(join(DEBIAN, 'postgres')) && canDump(DEBIAN) ? DEBIAN : undefined;
}

function canDump(bin: string): boolean {
  return existsSync(join(bin, 'pg_dumpall'));
}

/**
 * Has long values of a migrated database stored as they are, so that files and WAL can be read: PostgreSQL
 * compresses what is longer than 2 kB.
 */
export async function storeUncompressed(sql: postgres.Sql): Promise<void> {
  const rows = await sql<{ statement: string }[]>`
    select format('alter table %I.%I alter column %I set storage external', n.nspname, c.relname, a.attname) as statement
      from pg_attribute a
      join pg_type t on t.oid = a.atttypid
      join pg_class c on c.oid = a.attrelid
      join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped and t.typstorage <> 'p'
       and n.nspname !~ '^(pg_|information_schema)'`;
  await sql.unsafe(rows.map(({ statement }) => statement).join(';'));
}

/** All that a PostgreSQL keeps in its folder, with the log of changes apart. */
export async function filesOf(folder: string): Promise<Record<string, Buffer>> {
  return {
    'the files of PostgreSQL': await bytesIn(folder, (path) => !path.includes('pg_wal')),
    'the WAL': await bytesIn(folder, (path) => path.includes('pg_wal')),
  };
}

/** The files below a folder, one after the other. */
export async function bytesIn(
  folder: string,
  isMeant: (path: string) => boolean = () => true,
): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter(isMeant);
  return Buffer.concat(await Promise.all(paths.map((path) => readFile(path))));
}

/** A dump of the whole server, where its programs can make one. */
export async function dumpOf(
  bin: string | undefined,
  url: string,
): Promise<Record<string, Buffer>> {
  if (bin === undefined || !canDump(bin)) {
    process.stdout.write('Not dumped: these programs of PostgreSQL bring no pg_dumpall.\n');
    return {};
  }
  const file = join(await testFolder('dump'), 'all.sql');
  const dumped = await run(join(bin, 'pg_dumpall'), [`--file=${file}`, `--dbname=${url}`], {
    // It connects anew for each database, and takes the password for these from here alone.
    env: { ...process.env, PGPASSWORD: new URL(url).password },
    timeoutMs: 60_000,
  });
  if (dumped.code !== 0) throw new Error(dumped.stderr);
  return { 'a dump': await readFile(file) };
}

/** Every row of every table, as text: what a dump has, wherever none can be made. */
export async function rowsOf(sql: postgres.Sql): Promise<string> {
  const tables = await sql<{ name: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema)'`;
  const rows = tables.map(({ name }) => `select t::text as row from ${name} t`).join(' union all ');
  return (await sql.unsafe<{ row: string }[]>(rows)).map(({ row }) => row).join('\n');
}
