import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { connect, type Sql } from '../db/steps/connect.ts';
import { primaryOf } from '../db/steps/hosts.ts';
import { isTransactionPooler } from '../db/steps/pooler.ts';
import { POOLED, settingsFor } from '../db/steps/settings.ts';
import { Steps } from '../db/steps/steps.ts';
import { PgacmeError } from '../errors.ts';
import type { AccountKeys } from '../secrets/account-keys.ts';
import type { SealingKeys } from '../secrets/seal.ts';
import type { Published } from '../solver/published.ts';
import { Accounts } from '../tasks/accounts.ts';
import { reportTo } from '../tasks/report.ts';
import { Seen } from '../tasks/seen.ts';
import { makeTaskList } from '../tasks/task-list.ts';
import { checkContract, checkSettings } from './contract.ts';
import { elapsedSince } from './elapsed-since.ts';
import { startReleased } from './hold.ts';
import { takeLock } from './lock.ts';
import { opensKeys } from './open-keys.ts';
import { startQueue } from './queue.ts';

/** How to work, with everything decided. */
export interface SessionOptions {
  databaseUrl: string | undefined;
  /** A direct URL where `databaseUrl` leads through a pooler; undefined: it does not. */
  listenUrl: string | undefined;
  secret: SealingKeys;
  accountKeys: AccountKeys;
  /** `PGACME_ENVIRONMENT`. */
  environment: string | undefined;
  concurrency: number;
  deadAfterMs: number;
  /** Shared with the responder. */
  published: Published;
  /** Where this process answers http-01, as host:port; undefined: nowhere. */
  http01: string | undefined;
  log: Logger;
}

/** One life of a worker: from its lock to the loss of it, or to its orderly end. */
export interface Session {
  /** Its id in acme.worker_status. */
  id: number;
  /** Settles, with the reason, when it can no longer count on what it holds; never rejects. */
  lost: Promise<string>;
  /** Orderly: finishes the requests under way and hands back. Lost: drops everything. */
  end(): Promise<void>;
}

/** Connections that lead nowhere must not hold up a new beginning. */
const END_MS = 10_000;
/** How long a claim or a commit may take; a lease is 60 s. */
const STEP_MS = 15_000;
/** How long it may take to look through all that is under way. */
const SWEEP_MS = 60_000;

/**
 * Begins a life: finds the primary, checks that this worker fits the database, takes the lock, and
 * takes jobs. `replaces`: the id of the life before, whose work is freed.
 */
export async function openSession(
  options: SessionOptions,
  replaces: number | null,
): Promise<Session> {
  const { listenUrl, secret, accountKeys, concurrency, deadAfterMs, published, log } = options;
  const databaseUrl = await primaryOf(options.databaseUrl);
  const direct = listenUrl === undefined ? databaseUrl : await primaryOf(listenUrl);
  if (await isTransactionPooler(direct)) {
    throw new PgacmeError(
      'ERR_POOLER',
      `${listenUrl === undefined ? 'DATABASE_URL' : 'PGACME_LISTEN_URL'} leads through a pooler in transaction mode, where LISTEN and the lock of a worker do not last. Set PGACME_LISTEN_URL to a URL of the same database that leads to PostgreSQL itself.`,
    );
  }
  const closing: (() => Promise<unknown>)[] = [];
  const closeAll = async () => {
    for (let close = closing.pop(); close !== undefined; close = closing.pop()) {
      await close().catch(() => undefined);
    }
  };
  // What comes after something that does not end.
  const closeRest = () => Promise.allSettled(closing.splice(0).map((close) => close()));
  try {
    const pool = {
      databaseUrl,
      isPooled: listenUrl !== undefined,
      settings: listenUrl === undefined ? await settingsFor(databaseUrl) : POOLED,
      isLasting: true,
      name: 'pgacme worker',
      onNotice: (line: string) => log.warn(line),
    };
    // More would wait for the same cores and locks: 4 issue faster than 10 (docs/performance.md).
    const sql = connect({ ...pool, max: Math.min(concurrency, 4) + 1, answerMs: STEP_MS });
    closing.push(() => sql.end({ timeout: 5 }));
    // Opened once a minute by one of the workers.
    const slow = connect({ ...pool, max: 1, answerMs: SWEEP_MS, idleSeconds: 5 });
    closing.push(() => slow.end({ timeout: 5 }));
    const schema = await checkContract(sql);
    await checkSettings(sql);
    const lock = await takeLock({ databaseUrl: direct, concurrency, deadAfterMs, replaces, log });
    closing.push(() => lock.end());
    const steps = new Steps(sql, lock.id, { slow, report: reportTo(log) });
    await introduce(sql, steps, options);
    const accounts = new Accounts(steps, secret, accountKeys);
    closing.push(() => accounts.close());
    const ending = new AbortController();
    const stopping = AbortSignal.any([ending.signal, lock.lost]);
    // Each request and each wait listens to one of them.
    setMaxListeners(0, lock.lost, stopping);
    const seen = new Seen(steps, log);
    const context = { steps, accounts, seen, published, log, stopping, lost: lock.lost };
    const { environment } = options;
    const queue = await startReleased({ sql, worker: lock.id, environment, log }, async () => {
      const started = await startQueue(
        { databaseUrl: direct, schema, concurrency, lost: lock.lost, log },
        (tidy) => makeTaskList(context, tidy),
      );
      void started.hung.then(() => lock.lose('its queue takes no jobs'));
      // Only now may jobs be run: whoever buries this worker has to know under which name it took them.
      await lock.beat(started.poolId);
      started.open();
      return started;
    });
    closing.push(() => queue.stop());
    return {
      id: lock.id,
      lost: Promise.race([
        reasonOf(lock.lost),
        queue.ended.then(() => 'the queue ended by itself'),
      ]),
      async end() {
        ending.abort();
        // Orderly as long as the database answers.
        await Promise.race([closeAll(), elapsedSince(lock.lost, END_MS)]);
        await Promise.race([closeRest(), delay(END_MS, undefined, { ref: false })]);
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** Tells the database what this worker can do, and its log what it cannot. */
async function introduce(
  sql: Sql,
  steps: Steps,
  { http01, accountKeys, secret, log }: SessionOptions,
): Promise<void> {
  const opens = await opensKeys(steps, accountKeys);
  await sql`select acme_private.worker_started_with(${steps.worker}, ${http01 ?? null}, ${opens})`;
  if (opens === false) {
    log.error(
      { worker: steps.worker, keys: secret.map(({ id }) => id) },
      'PGACME_SECRET_KEY opens no account key of this database: this worker can order nothing. Restart it with the key of the others.',
    );
  }
  if (http01 === undefined) {
    log.info(
      { worker: steps.worker },
      'this worker does not answer http-01: PGACME_HTTP01_LISTEN is not set',
    );
  }
}

function reasonOf(signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const tell = () => resolve((signal.reason as Error).message);
    if (signal.aborted) tell();
    else signal.addEventListener('abort', tell, { once: true });
  });
}
