import postgres from 'postgres';
import { limited } from './limited.ts';
import { Lines } from './lines.ts';
import { GONE, POOLED, SESSION, type Settings } from './settings.ts';

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
  /** What a connection begins with; unless given {@link SESSION}, through a transaction pooler {@link POOLED}. */
  settings?: Settings;
  /**
   * Of a process that is to outlive its connections. The driver asks each new connection for the types of
   * arrays, in a promise that nobody looks at: broken meanwhile, it ends the process. So it does not ask;
   * arrays then are text, `{1,2}`.
   */
  isLasting?: boolean;
  /**
   * How long a query may take. The server gives it up a second before; where no answer comes at all, the
   * connection is destroyed, and the query fails with ERR_NO_ANSWER. For a URL of one host; not for
   * transactions of several statements.
   */
  answerMs?: number;
  /** Seconds after which a connection that is not used is closed. */
  idleSeconds?: number;
  /** Notices and warnings of the server, a line each. */
  onNotice?: (line: string) => void;
}

/**
 * Opens a pool. Connections are made when they are first needed, so that this never throws for a
 * database that is away; the first query does.
 */
export function connect(options: ConnectOptions): Sql {
  const { databaseUrl, name, max, isPooled = false, isLasting = false, onNotice } = options;
  const { answerMs, idleSeconds, settings = isPooled ? POOLED : SESSION } = options;
  const lines = answerMs === undefined ? undefined : new Lines();
  // A pooler that refuses our settings refuses these, too.
  const bounds =
    answerMs === undefined || settings !== SESSION
      ? {}
      : { ...GONE, statement_timeout: String(answerMs - 1000) };
  const driver: postgres.Options<Record<string, never>> = {
    max,
    connection: { ...settings, ...bounds, application_name: name },
    prepare: !isPooled,
    fetch_types: !isLasting,
    connect_timeout: 10,
    ...(idleSeconds === undefined ? {} : { idle_timeout: idleSeconds }),
    ...(lines === undefined ? {} : { socket: lines.open }),
    // Times are compared and scheduled by the database's clock only, so no type parsing is set up here.
    onnotice: (notice) =>
      onNotice?.(`${notice['severity'] ?? 'NOTICE'}: ${notice['message'] ?? ''}`),
  };
  const sql = databaseUrl === undefined ? postgres(driver) : postgres(databaseUrl, driver);
  return lines === undefined || answerMs === undefined ? sql : limited(sql, lines, answerMs);
}
