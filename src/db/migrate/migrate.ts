import { setTimeout as delay } from 'node:timers/promises';
import type postgres from 'postgres';
import { connect, type Sql } from '../steps/connect.ts';
import { primaryOf } from '../steps/hosts.ts';
import { plan } from './plan.ts';
import { installQueue, MIGRATE_LOCK } from './queue.ts';
import { prepare } from './roles.ts';

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

/** Longer than a session of an application should hold a lock. */
export const LOCK_TIMEOUT = '30s';
/**
 * How long one try waits for a table: shorter than PostgreSQL's deadlock_timeout (1 s), so that of two
 * sessions in each other's way it is never a worker or an application that has to give up.
 */
const TRY_TIMEOUT = '800ms';
/** How long it waits for each table at the start. */
const LOCK_TABLES_TIMEOUT = '100ms';
/** lock_not_available, deadlock_detected */
const IN_USE: readonly string[] = ['55P03', '40P01'];
/** Another migrate has just made the same: unique_violation, duplicate_table, _object, _schema, _function. */
const FASTER: readonly string[] = ['23505', '42P07', '42710', '42P06', '42723'];
/** How long it tries. */
const TRY_MS = 120_000;

/**
 * Brings the database to this version: roles, schemas, tables, functions, grants, and the queue's
 * own schema. Twice is a no-op; two at once wait for each other. All of pgacme's own SQL is one
 * transaction. `dryRun` prints the same.
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
    const { applied, workerSchema, held, lines } = await undisturbed(log, () =>
      applyFiles(sql, options),
    );
    for (const line of lines) log(line);
    // Each of its transactions begins by writing which migration it is; of two, one waits and then goes on.
    await undisturbed(log, () => installQueue(databaseUrl, workerSchema));
    if (held !== null) log(held);
    return { applied };
  } finally {
    await sql.end({ timeout: 5 });
  }
}

function applyFiles(
  sql: Sql,
  options: MigrateOptions,
): Promise<{ applied: string[]; workerSchema: string; held: string | null; lines: string[] }> {
  return sql.begin(async (tx) => {
    await tx`set local check_function_bodies = off`;
    await tx`select set_config('lock_timeout', ${TRY_TIMEOUT}, true)`;
    const standing = await prepare(tx, options);
    if (standing.isInstalled) await lockOut(tx);
    const parts = await plan(tx, standing, options.environment);
    await tx`set local role acme_owner`;
    if (parts.some(({ name }) => name !== undefined)) await lockTables(tx);
    const applied: string[] = [];
    const lines: string[] = [];
    for (const part of parts) {
      await tx.unsafe(part.sql);
      if (part.name === undefined) continue;
      applied.push(part.name);
      lines.push(part.log);
    }
    // The environment is the workers', and may be set for them alone.
    const [hold] = await tx<
      { held: string | null }[]
    >`select acme_private.hold_sentence(null) as held`;
    await tx`reset role`;
    return { applied, workerSchema: standing.workerSchema, held: hold?.held ?? null, lines };
  });
}

/**
 * Until the commit no other migrate begins. A lock of a table that nobody else may lock; before there is one, of
 * two migrates one finds at its first name that the other was faster, and tries again.
 */
async function lockOut(tx: postgres.TransactionSql): Promise<void> {
  await tx`set local role acme_owner`;
  await tx`select set_config('lock_timeout', ${LOCK_TIMEOUT}, true)`;
  await tx.unsafe(MIGRATE_LOCK);
  await tx`select set_config('lock_timeout', ${TRY_TIMEOUT}, true)`;
  await tx`reset role`;
}

/**
 * All tables at once and before anything else: a migration that took them one after the other would have
 * one that a worker waits for, and want one that the worker has. Short, since others wait behind it.
 */
async function lockTables(tx: postgres.TransactionSql): Promise<void> {
  const [row] = await tx<{ tables: string | null }[]>`
    select string_agg(format('%I.%I', n.nspname, c.relname), ', ' order by n.nspname, c.relname) as tables
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('acme', 'acme_private') and c.relkind = 'r'`;
  if (typeof row?.tables !== 'string') return;
  await tx`select set_config('lock_timeout', ${LOCK_TABLES_TIMEOUT}, true)`;
  await tx.unsafe(`lock table ${row.tables} in access exclusive mode`);
  await tx`select set_config('lock_timeout', ${TRY_TIMEOUT}, true)`;
}

/**
 * Workers and applications go on meanwhile, and lock tables in whatever order: a try that is in somebody's
 * way, or somebody in its way, is rolled back, which lets all of them pass, and made again.
 */
async function undisturbed<T>(log: (line: string) => void, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      const isInUse = IN_USE.includes(code);
      if (!isInUse && !FASTER.includes(code)) throw error;
      if (performance.now() - startedAt > TRY_MS) throw error;
      if (attempt === 1 && isInUse) {
        log('tables are in use; it is tried again, for up to 2 minutes');
      }
      await delay(20 + Math.random() * 200);
    }
  }
}
