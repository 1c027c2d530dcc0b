import { PgacmeError } from '../../errors.ts';
import type { Sql } from '../steps/connect.ts';
import { connectAnyhow } from '../steps/connect-anyhow.ts';
import { primaryOf } from '../steps/hosts.ts';

/** What tells a database from its copies. */
export interface Identity {
  system_identifier: string;
  database_name: string;
  environment: string | null;
}

/** What was done to a database that was restored from a backup, and what is known of it. */
export interface Restored {
  /** undefined: nothing differed. */
  adopted: { was: Identity; is: Identity } | undefined;
  /** Of the last event that it has; null: it has none. */
  backup_at: string | null;
  ids_advanced_by: number;
  /** Accounts that a worker asks their servers about. */
  accounts: number;
  /** Orders that the server has, as far as known. */
  orders_open: number;
  orders_anew: number;
  renewals_spread: number;
  retries_spread: number;
  /** Live csrs, and how many of them have a certificate. */
  csrs: number;
  certificates: number;
  /** Of those accounts; whether it lists an account's orders, as far as known. */
  servers: { name: string; has_list: 'yes' | 'no' | null }[];
}

interface Adopting {
  /** A PostgreSQL URL; undefined: the PG* variables. The login is a member of acme_owner. */
  databaseUrl: string | undefined;
  environment: string | undefined;
}

/**
 * Makes a copy a database of its own: what it is now becomes what it was set up as, and workers of this
 * environment get work. undefined: nothing differed.
 *
 * @throws PgacmeError ERR_CONTRACT when the database was not migrated to this version.
 */
export async function adoptDatabase(
  options: Adopting,
): Promise<{ was: Identity; is: Identity } | undefined> {
  return adopt(options, async (tx) => {
    const [row] = await tx<{ adopted: { was: Identity; is: Identity } | null }[]>`
      select acme_private.adopt_database(${options.environment ?? null}) as adopted`;
    return row?.adopted ?? undefined;
  });
}

/**
 * The same for a database that was restored from a backup, also where nothing differs: ids of rows that it
 * lost are not given again, and workers ask the servers for what came since (docs/operations.md).
 *
 * @throws PgacmeError ERR_CONTRACT when the database was not migrated to this version.
 */
export async function adoptRestored(options: Adopting): Promise<Restored> {
  return adopt(options, async (tx) => {
    const [row] = await tx<[{ restored: Restored & { adopted: Restored['adopted'] | null } }]>`
      select acme_private.adopt_restored(${options.environment ?? null}) as restored`;
    return { ...row.restored, adopted: row.restored.adopted ?? undefined };
  });
}

/** One transaction of the owner; undefined: it did nothing. */
async function adopt<T>(options: Adopting, work: (tx: Sql) => Promise<T>): Promise<T> {
  const sql = await connectAnyhow({
    databaseUrl: await primaryOf(options.databaseUrl),
    name: 'pgacme adopt-database',
    max: 1,
  });
  try {
    const { value: adopted } = await sql.begin(async (tx) => {
      const [there] = await tx<{ isThere: boolean }[]>`
        select exists (
          select from pg_proc p
            join pg_namespace n on n.oid = p.pronamespace
           where n.nspname = 'acme_private' and p.proname = 'adopt_restored') as "isThere"`;
      if (there?.isThere !== true) {
        throw new PgacmeError(
          'ERR_CONTRACT',
          'This database has no pgacme of this version. Run pgacme migrate, then adopt it.',
        );
      }
      await tx`set local lock_timeout = '30s'`;
      await tx`set local role acme_owner`;
      return { value: await work(tx as unknown as Sql) };
    });
    if (adopted !== undefined) await wakeAll(sql);
    return adopted;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** What was under way in the original; else the workers' own reconcile finds it within a minute. */
async function wakeAll(sql: Sql): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`set local role acme_owner`;
    await tx`select acme_private.reconcile()`;
  });
}
