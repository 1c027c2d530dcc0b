import { EventEmitter } from 'node:events';
import {
  Logger as QueueLogger,
  makeWorkerUtils,
  parseCronItems,
  run,
  type TaskList,
  type WorkerEvents,
} from 'graphile-worker';
import type pg from 'pg';
import type { Logger } from 'pino';
import { readQueueMigrations } from '../db/migrate/migration-files.ts';
import { elapsedSince } from './elapsed-since.ts';
import { handBack } from './hand-back.ts';
import { Idle } from './idle.ts';
import { logFailure } from './log-failure.ts';
import { LongWork } from './long-work.ts';
import { QueuePool } from './queue-pool.ts';

/** How to run the queue. */
export interface QueueOptions {
  /** A direct connection: the queue listens. */
  databaseUrl: string | undefined;
  schema: string;
  concurrency: number;
  /** Aborted when this worker's jobs are others': their ends are no longer waited for. */
  lost: AbortSignal;
  log: Logger;
}

/** How long the end of a queue that lost its jobs may take. */
const DROP_MS = 5000;

/** graphile-worker at work. */
export interface Queue {
  /** Under this id its jobs are locked. */
  poolId: string;
  /** Lets jobs be run; before, they are only taken. */
  open(): void;
  /** Settles when it has ended by itself, whatever the reason. */
  ended: Promise<void>;
  /** Settles when it has looked for no job for a minute although it could run one. */
  hung: Promise<void>;
  /** Takes no more jobs, waits for those under way and what outlasts its job, hands back the rest. */
  stop(): Promise<void>;
}

/** Runs the queue's tasks; `tasks` is given what tidies the queue once a day. */
export async function startQueue(
  { databaseUrl, schema, concurrency, lost, log }: QueueOptions,
  tasks: (tidy: () => Promise<void>) => TaskList,
): Promise<Queue> {
  const pool = new QueuePool({
    ...(databaseUrl === undefined ? {} : { connectionString: databaseUrl }),
    isQueueNewer: (asked) => isQueueNewer(asked, schema),
    // Opened on demand; with a local queue and batched completion few ever are.
    max: concurrency + 2,
    keepAlive: true,
    connectionTimeoutMillis: 10_000,
    application_name: 'pgacme queue',
  });
  const onError = (error: unknown) => logFailure(log, error, 'database connection of the queue');
  pool.on('error', onError);
  pool.on('connect', (client) => client.on('error', onError));
  const logger = queueLogger(log);
  const events: WorkerEvents = new EventEmitter();
  let poolId = '';
  events.on('pool:create', ({ workerPool }) => (poolId = workerPool.id));
  const jobs = handBack(events, { pool, schema, log });
  const idle = new Idle(events, concurrency);
  const longWork = new LongWork(log);
  let open = () => undefined as void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  try {
    const runner = await run({
      pgPool: pool,
      schema,
      taskList: behind(
        opened,
        idle,
        longWork,
        tasks(() => tidy(pool, schema, logger)),
      ),
      concurrency,
      noHandleSignals: true,
      logger,
      events,
      // Given explicitly, so that a crontab file in the current folder is never picked up.
      parsedCronItems: parseCronItems([
        {
          task: 'reconcile',
          match: '* * * * *',
          identifier: 'pgacme:reconcile',
          options: { backfillPeriod: 0, maxAttempts: 1 },
        },
        // Most of the time no server is due.
        {
          task: 'features',
          match: '* * * * *',
          identifier: 'pgacme:features',
          options: { backfillPeriod: 0, maxAttempts: 1 },
        },
        {
          task: 'tidy',
          match: '17 3 * * *',
          identifier: 'pgacme:tidy',
          options: { backfillPeriod: 0, maxAttempts: 1 },
        },
      ]),
      preset: {
        worker: {
          // One worker must not hoard what others could do; completing in batches costs no latency at 0.
          localQueue: { size: concurrency },
          completeJobBatchDelay: 0,
          // Not in a batch, nobody waits for it: where the connection is gone, its rejection ends the process.
          failJobBatchDelay: 0,
        },
      },
    });
    const ended = runner.promise.catch((error: unknown) => logFailure(log, error, 'queue ended'));
    const finish = async () => {
      // Rejects where it has stopped by itself.
      await runner.stop().catch(() => undefined);
      // It may still be writing what became of its last jobs.
      await ended;
      await longWork.ended();
      await jobs.settled();
    };
    return {
      poolId,
      open,
      ended,
      hung: idle.hung,
      async stop() {
        idle.stop();
        open();
        await Promise.race([finish(), elapsedSince(lost, DROP_MS)]);
        await pool.end();
      },
    };
  } catch (error) {
    idle.stop();
    await pool.end();
    throw error;
  }
}

/** As graphile-worker itself compares at its start: by the last migration that older workers cannot live with. */
async function isQueueNewer(pool: pg.Pool, schema: string): Promise<boolean> {
  const known = Math.max(...(await readQueueMigrations(schema)).map(({ number }) => number));
  const { rows } = await pool.query<{ id: number | null }>(
    `select max(id) as id from ${schema}.migrations where breaking`,
  );
  return (rows[0]?.id ?? 0) > known;
}

/** What asks no server: the queue keeps whether it failed. */
const OWN: readonly string[] = ['reconcile', 'tidy'];

/** The same tasks, none of which begins before the gate is open, and none keeps its place for long. */
function behind(gate: Promise<void>, idle: Idle, longWork: LongWork, tasks: TaskList): TaskList {
  return Object.fromEntries(
    Object.entries(tasks).map(([name, task]) => [
      name,
      (payload, helpers) =>
        idle.during(async () => {
          await gate;
          const work = Promise.resolve(task?.(payload, helpers)).then(() => undefined);
          await (OWN.includes(name) ? work : longWork.begin(work));
        }),
    ]),
  );
}

/** Once a day: jobs that gave up or lost their key to a successor are litter; the rows are the truth. */
async function tidy(pool: pg.Pool, schema: string, logger: QueueLogger): Promise<void> {
  const utils = await makeWorkerUtils({ pgPool: pool, schema, logger });
  try {
    await utils.cleanup({ tasks: ['DELETE_PERMAFAILED_JOBS'] });
  } finally {
    await utils.release();
  }
}

function queueLogger(log: Logger): QueueLogger {
  return new QueueLogger((scope) => {
    const child = log.child({ queue: scope.label ?? 'queue' });
    return (level: string, message, meta) => {
      const text = message.slice(0, 1000);
      // Each job's start and end is noise here; steps are logged by what they do.
      if (level === 'error') logFailure(child, errorOf(meta) ?? text, text);
      else if (level === 'warning') child.warn(text);
      else child.trace(text);
    };
  });
}

function errorOf(meta: unknown): unknown {
  return (meta as { error?: unknown } | undefined)?.error;
}
