import postgres from 'postgres';

/**
 * Where names without a schema are looked for. Told to the server when a connection is made, before its first
 * query: a database or a login may have another path, with operators of somebody else's before PostgreSQL's own,
 * and a superuser who runs migrate would run those. (A pooler does not pass it on.)
 */
export const SEARCH_PATH = 'pg_catalog, pg_temp';

/** A pool of connections to pgacme's database. */
export type Sql = postgres.Sql;

/** What varies between the pools of one process. */
export interface ConnectOptions {
  /** A PostgreSQL URL; undefined: the PG* variables that libpq also reads. */
  databaseUrl: string | undefined;
  /** Shown in pg_stat_activity. */
  name: string;
  /** Connections at most. */
  max: number;
  /** The URL leads through a transaction pooler: nothing may be left in a session, prepared statements neither. */
  isPooled?: boolean;
  /**
   * Of a process that is to outlive its connections. The driver asks each new connection for the types of
   * arrays, in a promise that nobody looks at: broken meanwhile, it ends the process. So it does not ask;
   * arrays then are text, `{1,2}`.
   */
  isLasting?: boolean;
  /** Notices and warnings of the server, a line each. */
  onNotice?: (line: string) => void;
}

/**
 * Opens a pool. Connections are made when they are first needed, so that this never throws for a
 * database that is away; the first query does.
 */
export function connect(options: ConnectOptions): Sql {
  const { databaseUrl, name, max, isPooled = false, isLasting = false, onNotice } = options;
  const settings: postgres.Options<Record<string, never>> = {
    max,
    connection: { application_name: name, ...(isPooled ? {} : { search_path: SEARCH_PATH }) },
    prepare: !isPooled,
    fetch_types: !isLasting,
    connect_timeout: 10,
    // Times are compared and scheduled by the database's clock only, so no type parsing is set up here.
    onnotice: (notice) =>
      onNotice?.(`${notice['severity'] ?? 'NOTICE'}: ${notice['message'] ?? ''}`),
  };
  return databaseUrl === undefined ? postgres(settings) : postgres(databaseUrl, settings);
}
