import { hostname } from 'node:os';
import pg from 'pg';
import type { Logger } from 'pino';
import { PgacmeError } from '../errors.ts';
import { version } from '../version.ts';
import { serves } from './contract.ts';
import { logFailure } from './log-failure.ts';

/** How to sign in. */
export interface LockOptions {
  /** A direct connection: a pooler would give the lock to somebody else. */
  databaseUrl: string | undefined;
  concurrency: number;
  /** How long a worker may give no sign of life before others look whether it is dead. */
  deadAfterMs: number;
  /** The id that this process had before it lost its lock: what that one held is freed. */
  replaces: number | null;
  log: Logger;
}

/** A worker's proof of life: a session of PostgreSQL that holds its advisory lock. */
export interface WorkerLock {
  /** The worker's id in acme.worker_status. */
  id: number;
  /** Aborted, with the reason, as soon as the lock is gone or others count this worker as dead. */
  lost: AbortSignal;
  /** Gives the first sign of life, from now on one every half of `deadAfterMs`. */
  beat(poolId: string): Promise<void>;
  /** Signs out, where that is possible, and ends the session. */
  end(): Promise<void>;
}

/** An answer that takes longer is none: the connection leads nowhere any more. */
const ANSWER_MS = 10_000;

interface Beat {
  is_known: boolean;
  contract: string;
  freed: number;
}

/** Signs this worker in and takes its lock (sql/api/operation/workers.sql). */
export async function takeLock(options: LockOptions): Promise<WorkerLock> {
  const { databaseUrl, concurrency, deadAfterMs, replaces, log } = options;
  const client = new pg.Client({
    ...(databaseUrl === undefined ? {} : { connectionString: databaseUrl }),
    application_name: 'pgacme lock',
    keepAlive: true,
    connectionTimeoutMillis: ANSWER_MS,
    query_timeout: ANSWER_MS,
  });
  const losing = new AbortController();
  const lose = (why: string) => losing.abort(new PgacmeError('ERR_LOCK_LOST', why));
  client.on('error', (error) => lose(`its connection broke: ${error.message}`));
  client.on('end', () => lose('its connection was ended'));
  await client.connect();
  let id: number;
  try {
    // A machine that is gone without a good-bye: PostgreSQL notices after 15 s rather than two hours.
    await client.query(
      'set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 2',
    );
    const { rows } = await client.query<{ id: string }>(
      'select acme_private.worker_begin($1, $2, $3, $4, $5) as id',
      [hostname(), process.pid, version, concurrency, replaces],
    );
    id = Number(rows[0]?.id);
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }

  let timer: NodeJS.Timeout | undefined;
  async function beat(poolId: string): Promise<void> {
    try {
      const { rows } = await client.query<{ beat: Beat }>(
        'select acme_private.worker_beat($1, $2, $3, $4) as beat',
        [id, poolId, `${deadAfterMs} milliseconds`, new Date()],
      );
      const { is_known, contract, freed } = rows[0]?.beat ?? {
        is_known: false,
        contract: '',
        freed: 0,
      };
      if (!is_known) return lose('others took this worker for dead');
      if (!serves(contract)) return lose(`the database was migrated to version ${contract}`);
      if (freed > 0) log.info({ rows: freed }, 'freed what a dead worker held');
    } catch (error) {
      // What PostgreSQL itself refuses (a lock that lasts, a full disk) leaves the lock where it is.
      if (!(error instanceof pg.DatabaseError)) lose(`it gives no answer: ${String(error)}`);
      else if (!losing.signal.aborted) {
        logFailure(log, error, 'sign of life failed; it is tried again');
      }
    }
    if (!losing.signal.aborted) timer = setTimeout(() => void beat(poolId), deadAfterMs / 2);
  }

  return {
    id,
    lost: losing.signal,
    beat,
    async end() {
      clearTimeout(timer);
      const wasLost = losing.signal.aborted;
      lose('this worker has ended');
      clearTimeout(timer);
      if (!wasLost) {
        await client.query('select acme_private.worker_end($1)', [id]).catch(() => undefined);
      }
      await client.end().catch(() => undefined);
    },
  };
}
