import pg from 'pg';
import { endClient } from './limited-client.ts';

/** Settings of a session of PostgreSQL, by name. */
export type Settings = Readonly<Record<string, string>>;

/**
 * Where names without a schema are looked for. Told to the server when a connection is made, before its first
 * query: a database or a login may have another path, with operators of somebody else's before PostgreSQL's own,
 * and a superuser who runs migrate would run those. (A pooler does not pass it on.)
 */
export const SEARCH_PATH = 'pg_catalog, pg_temp';

/**
 * What our sessions rely on, whatever `alter database`, `alter role` or the server's configuration set:
 * that writes are allowed and read what was committed, and how text is read and written.
 */
export const SESSION: Settings = {
  search_path: SEARCH_PATH,
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  standard_conforming_strings: 'on',
  quote_all_identifiers: 'off',
  row_security: 'on',
  array_nulls: 'on',
  transform_null_equals: 'off',
  bytea_output: 'hex',
  extra_float_digits: '1',
  DateStyle: 'ISO',
  IntervalStyle: 'postgres',
};

/** Those that a pooler in front of PostgreSQL takes, and gives to whichever backend it uses. */
export const POOLED: Settings = { standard_conforming_strings: 'on', DateStyle: 'ISO' };

/**
 * The server ends a session whose other side is gone within a minute, also where the machine went without a
 * word or a proxy no longer reads: what the session held is free then.
 */
export const GONE: Settings = {
  tcp_user_timeout: '30s',
  tcp_keepalives_idle: '10s',
  tcp_keepalives_interval: '5s',
  tcp_keepalives_count: '3',
};

/**
 * What a pool is made with. pg-pool waits for the promise of `onConnect` before it gives a new connection to
 * anybody, so that the settings come before the first query; its own type has no promise.
 */
export interface AwaitedPoolConfig extends Omit<pg.PoolConfig, 'onConnect'> {
  onConnect: (client: pg.ClientBase) => Promise<void>;
}

/** Settings that are lists: quoted, they would have one member. */
const LISTS: ReadonlySet<string> = new Set(['DateStyle', 'search_path']);

/** As one statement, for a driver that can run it on each new connection. */
export function settingsSql(settings: Settings): string {
  return Object.entries(settings)
    .map(([name, value]) => `set ${name} = ${LISTS.has(name) ? value : pg.escapeLiteral(value)}`)
    .join('; ');
}

const ANSWER_MS = 10_000;

/**
 * The settings that a connection to this URL may begin with: pgbouncer refuses those that it does not know,
 * in session mode too. What keeps a connection from being made is left to the connection that is wanted.
 */
export async function settingsFor(databaseUrl: string | undefined): Promise<Settings> {
  const client = new pg.Client({
    ...(databaseUrl === undefined ? {} : { connectionString: databaseUrl }),
    application_name: 'pgacme',
    options: '-c quote_all_identifiers=off',
    connectionTimeoutMillis: ANSWER_MS,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return SESSION;
  } catch (error) {
    // protocol_violation: "unsupported startup parameter"
    const isRefused = error instanceof pg.DatabaseError && error.code === '08P01';
    return isRefused ? POOLED : SESSION;
  } finally {
    await endClient(client);
  }
}
