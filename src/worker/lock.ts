import { hostname } from 'node:os';
import pg from 'pg';
import type { Logger } from 'pino';
import { endClient, limitQueries } from '../db/steps/limited-client.ts';
import { GONE, SESSION, settingsSql } from '../db/steps/settings.ts';
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

/** A worker's proof of life: a session of PostgreSQL, which the worker's row names. */
export interface WorkerLock {
  /** The worker's id in acme.worker_status. */
  id: number;
  /** Aborted, with the reason, as soon as the session is gone or others count this worker as dead. */
  lost: AbortSignal;
  /** Gives the first sign of life, from now on one every half of `deadAfterMs`. */
  beat(poolId: string): Promise<void>;
  /** Gives the lock up: what this worker holds is another's from now on. */
  lose(why: string): void;
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

/**
 * Half-open, the server's side would keep the session of a worker that has long gone on with another one; it
 * speaks every few seconds, so that a session that is silent for longer is nobody's.
 */
const SILENT_MS = 45_000;

/** Signs this worker in (sql/api/operation/workers.sql). */
export async function takeLock(options: LockOptions): Promise<WorkerLock> {
  const { databaseUrl, concurrency, deadAfterMs, replaces, log } = options;
  const client = new pg.Client({
    ...(databaseUrl === undefined ? {} : { connectionString: databaseUrl }),
    application_name: 'pgacme lock',
    keepAlive: true,
    connectionTimeoutMillis: ANSWER_MS,
  });
  limitQueries(client, ANSWER_MS);
  const losing = new AbortController();
  const lose = (why: string) => losing.abort(new PgacmeError('ERR_LOCK_LOST', why));
  client.on('error', (error) => lose(`its connection broke: ${error.message}`));
  client.on('end', () => lose('its connection was ended'));
  await client.connect();
  let id: number;
  try {
    await client.query(
      settingsSql({
        ...SESSION,
        ...GONE,
        statement_timeout: String(ANSWER_MS - 1000),
        idle_session_timeout: String(Math.max(SILENT_MS, 4 * deadAfterMs)),
      }),
    );
    const { rows } = await client.query<{ id: string }>(
      'select acme_private.worker_begin($1, $2, $3, $4, $5) as id',
      [hostname(), process.pid, version, concurrency, replaces],
    );
    id = Number(rows[0]?.id);
  } catch (error) {
    await endClient(client);
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
    lose,
    async end() {
      clearTimeout(timer);
      const wasLost = losing.signal.aborted;
      lose('this worker has ended');
      clearTimeout(timer);
      if (!wasLost) {
        await client.query('select acme_private.worker_end($1)', [id]).catch(() => undefined);
      }
      await endClient(client);
    },
  };
}
