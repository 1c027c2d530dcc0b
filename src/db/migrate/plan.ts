import type postgres from 'postgres';
import { PgacmeError } from '../../errors.ts';
import { readApi, readMigrations, type SqlFile } from './migration-files.ts';
import type { Standing } from './standing.ts';

/** One thing to run as acme_owner, and what is said when it is done. */
export interface Part {
  /** As `migrate` reports it; undefined: not worth a line. */
  name: string | undefined;
  log: string;
  sql: string;
}

/**
 * What of pgacme's own files has to run in this database, as SQL text without parameters: a migrate
 * runs it, and a dry run prints it, so that both are the same. Reads only.
 *
 * @throws PgacmeError ERR_MIGRATE when a file that ran has changed since, or the database is newer.
 */
export async function plan(
  tx: postgres.TransactionSql,
  standing: Standing,
  environment: string | undefined,
): Promise<Part[]> {
  const done = standing.isInstalled ? await appliedFiles(tx) : new Map<string, string>();
  const migrations = await readMigrations();
  const unknown = [...done.keys()].find(
    (name) => name !== 'api' && !migrations.some((file) => file.name === name),
  );
  if (unknown !== undefined) {
    throw new PgacmeError(
      'ERR_MIGRATE',
      `The database was migrated by a newer pgacme (${unknown}). Install that version, or a later one.`,
    );
  }
  const parts: Part[] = [];
  for (const file of migrations) {
    const before = done.get(file.name);
    if (before === undefined) {
      parts.push({
        name: file.name,
        log: `applied ${file.name}`,
        sql: `${file.text}\n${record(file)}`,
      });
    } else if (before !== file.sha256) {
      throw new PgacmeError(
        'ERR_MIGRATE',
        `The migration ${file.name} has changed since it ran here. Restore the file; changes belong in a new one.`,
      );
    }
  }
  if (!standing.isInstalled) parts.push(await installation(tx, standing, environment));
  const api = await readApi(standing.workerSchema);
  if (done.get('api') !== api.sha256) {
    parts.push({
      name: 'api',
      log: 'applied the functions, views and grants of sql/api',
      sql: `${api.text}\n${record(api)}`,
    });
  }
  return parts;
}

async function appliedFiles(tx: postgres.TransactionSql): Promise<Map<string, string>> {
  await tx`set local role acme_owner`;
  const rows = await tx<{ name: string; sha256: string }[]>`
    select name, sha256
      from acme_private.migration`;
  await tx`reset role`;
  return new Map(rows.map((row) => [row.name, row.sha256]));
}

function record({ name, sha256 }: SqlFile): string {
  return `
insert into acme_private.migration (name, sha256)
values ('${name}', '${sha256}')
on conflict (name) do update set sha256 = excluded.sha256, applied_at = now();`;
}

/** The installation row is written once: what this database was when it was set up. */
async function installation(
  tx: postgres.TransactionSql,
  { workerSchema }: Standing,
  environment: string | undefined,
): Promise<Part> {
  const [quoted] = await tx<[{ environment: string }]>`
    select quote_nullable(${environment ?? null}::text) as environment`;
  return {
    name: undefined,
    log: 'what this database is',
    sql: `
insert into acme_private.installation (system_identifier, database_name, environment, worker_schema)
select system_identifier::text, current_database(), ${quoted.environment}, '${workerSchema}'
  from pg_control_system()
on conflict do nothing;`,
  };
}
