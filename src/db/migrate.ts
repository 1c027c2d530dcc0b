import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { runMigrations } from 'graphile-worker';
import pg from 'pg';
import type postgres from 'postgres';
import { PgacmeError } from '../errors.ts';
import { connect } from './connect.ts';
import { primaryOf } from './hosts.ts';
import { ensureRoles, lendCreate, mayNotCreate } from './roles.ts';
import { taskIdentifiers } from './task-identifiers.ts';

const sqlFolder = new URL('../../sql/', import.meta.url);

/** How to migrate. */
export interface MigrateOptions {
  /** A PostgreSQL URL; undefined: the PG* variables. */
  databaseUrl?: string | undefined;
  /** Schema of graphile-worker; only the first migrate decides it. Default `acme_worker`. */
  workerSchema?: string | undefined;
  /** `PGACME_ENVIRONMENT`, recorded at the first migrate. */
  environment?: string | undefined;
  /** What is done, a line each. */
  log?: (line: string) => void;
}

/** What a migrate did: the files that ran, in order; empty: everything was there. */
export interface Migrated {
  applied: string[];
}

interface SqlFile {
  name: string;
  text: string;
  sha256: string;
}

/**
 * Brings the database to this version: roles, schemas, tables, functions, grants, and the queue's
 * own schema. Twice is a no-op; two at once wait for each other. All of pgacme's own SQL is one
 * transaction.
 *
 * @throws PgacmeError ERR_MIGRATE when a file that ran has changed since, or the database is newer;
 *   ERR_ROLES with the statements for a DBA, when this login may not make roles or schemas.
 */
export async function migrate(options: MigrateOptions = {}): Promise<Migrated> {
  const log = options.log ?? (() => undefined);
  const databaseUrl = await primaryOf(options.databaseUrl);
  const sql = connect({
    databaseUrl,
    name: 'pgacme migrate',
    max: 1,
    onNotice: (line) => {
      if (!line.startsWith('NOTICE')) log(line);
    },
  });
  try {
    // Held by this one connection until it ends: over the queue's own transactions, and while CREATE is lent.
    await sql`set lock_timeout = '30s'`;
    await sql`select pg_advisory_lock(hashtextextended('pgacme.migrate', 0))`;
    const { applied, workerSchema, held } = await sql.begin((tx) => applyFiles(tx, options, log));
    await installQueue(sql, databaseUrl, workerSchema);
    if (held !== null) log(held);
    return { applied };
  } catch (error) {
    throw (await mayNotCreate(sql, error)) ?? error;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function applyFiles(
  tx: postgres.TransactionSql,
  options: MigrateOptions,
  log: (line: string) => void,
): Promise<{ applied: string[]; workerSchema: string; held: string | null }> {
  await tx`set local check_function_bodies = off`;
  await ensureRoles(tx);
  const done = await appliedFiles(tx);
  const migrations = await readFiles('migrations');
  const unknown = [...done.keys()].find(
    (name) => name !== 'api' && !migrations.some((file) => file.name === name),
  );
  if (unknown !== undefined) {
    throw new PgacmeError(
      'ERR_MIGRATE',
      `The database was migrated by a newer pgacme (${unknown}). Install that version, or a later one.`,
    );
  }
  const applied: string[] = [];
  const takeBack = await lendCreate(tx, 'acme_owner');
  await tx`set local role acme_owner`;
  for (const file of migrations) {
    const before = done.get(file.name);
    if (before === undefined) {
      await tx.unsafe(file.text);
      await record(tx, file);
      applied.push(file.name);
      log(`applied ${file.name}`);
    } else if (before !== file.sha256) {
      throw new PgacmeError(
        'ERR_MIGRATE',
        `The migration ${file.name} has changed since it ran here. Restore the file; changes belong in a new one.`,
      );
    }
  }
  const workerSchema = await recordInstallation(tx, options);
  const api = await readApi(workerSchema);
  if (done.get('api') !== api.sha256) {
    await tx.unsafe(api.text);
    await record(tx, api);
    applied.push('api');
    log('applied the functions, views and grants of sql/api');
  }
  // The environment is the workers', and may be set for them alone.
  const [hold] = await tx<
    { held: string | null }[]
  >`select acme_private.hold_sentence(null) as held`;
  await tx`reset role`;
  await takeBack();
  return { applied, workerSchema, held: hold?.held ?? null };
}

async function appliedFiles(tx: postgres.TransactionSql): Promise<Map<string, string>> {
  const [found] = await tx`select to_regclass('acme_private.migration') is not null as "isThere"`;
  if (found?.['isThere'] !== true) return new Map();
  const rows = await tx<{ name: string; sha256: string }[]>`
    select name, sha256
      from acme_private.migration`;
  return new Map(rows.map((row) => [row.name, row.sha256]));
}

async function record(tx: postgres.TransactionSql, file: SqlFile): Promise<void> {
  await tx`
    insert into acme_private.migration (name, sha256)
    values (${file.name}, ${file.sha256})
    on conflict (name) do update set sha256 = excluded.sha256, applied_at = now()`;
}

/**
 * The installation row is written once: what this database was when it was set up. A copy keeps its
 * original's, by which it is told to be one; only `adoptDatabase` changes it.
 */
async function recordInstallation(
  tx: postgres.TransactionSql,
  options: MigrateOptions,
): Promise<string> {
  const schema = options.workerSchema ?? 'acme_worker';
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema)) {
    throw new PgacmeError(
      'ERR_CONFIG',
      `PGACME_WORKER_SCHEMA is ${JSON.stringify(schema)}; it must be a plain lower-case name.`,
    );
  }
  await tx`
    insert into acme_private.installation (system_identifier, database_name, environment, worker_schema)
    select system_identifier::text, current_database(), ${options.environment ?? null}, ${schema}
      from pg_control_system()
    on conflict do nothing`;
  const [row] = await tx<{ worker_schema: string }[]>`
    select worker_schema
      from acme_private.installation`;
  return row?.worker_schema ?? schema;
}

async function readFiles(folder: string): Promise<SqlFile[]> {
  const url = new URL(`${folder}/`, sqlFolder);
  const names = (await readdir(url)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(new URL(name, url), 'utf8');
      return { name, text, sha256: hash(text) };
    }),
  );
}

/** The api files as one: they are replaced together, so that no half of them is ever in force. */
async function readApi(workerSchema: string): Promise<SqlFile> {
  const files = await readFiles('api');
  const text = files
    .map((file) => file.text)
    .join('\n')
    .replaceAll('worker_schema.', `"${workerSchema}".`);
  return { name: 'api', text, sha256: hash(text) };
}

/**
 * graphile-worker's schema belongs to acme_worker, as whom its migrations run. The task identifiers
 * are made known beforehand: a first add_job of an unknown one would lock it for as long as an
 * application's transaction lasts.
 */
async function installQueue(
  sql: postgres.Sql,
  databaseUrl: string | undefined,
  schema: string,
): Promise<void> {
  const takeBack = await lendCreate(sql, 'acme_worker');
  const pool = new pg.Pool({
    ...(databaseUrl === undefined ? {} : { connectionString: databaseUrl }),
    max: 2,
    options: '-c role=acme_worker',
    application_name: 'pgacme migrate',
  });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  try {
    await runMigrations({ pgPool: pool, schema });
    for (const identifier of taskIdentifiers) {
      await pool
        .query(`select from ${schema}._private_tasks where identifier = $1`, [identifier])
        .then(async ({ rowCount }) => {
          if (rowCount !== 0) return;
          const key = `pgacme:known:${identifier}`;
          await pool.query(
            `select from ${schema}.add_job($1, run_at := now() + interval '1 day', job_key := $2)`,
            [identifier, key],
          );
          await pool.query(`select from ${schema}.remove_job($1)`, [key]);
        });
    }
  } finally {
    await pool.end();
    await takeBack();
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
