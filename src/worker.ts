import { hostname } from 'node:os';
import { Logger as QueueLogger, makeWorkerUtils, parseCronItems, run } from 'graphile-worker';
import pg from 'pg';
import type { Logger } from 'pino';
import type { Listen } from './config.ts';
import { connect, type Sql } from './db/connect.ts';
import { Steps } from './db/steps.ts';
import { workerSeen, workerStarted } from './db/workers.ts';
import { PgacmeError } from './errors.ts';
import { makeLogger } from './log.ts';
import { sealingKey } from './seal.ts';
import { type Http01Responder, startHttp01 } from './solver/http01.ts';
import { Accounts } from './tasks/accounts.ts';
import { makeTaskList } from './tasks/task-list.ts';
import { version } from './version.ts';

/** How to run a worker. */
export interface WorkerOptions {
  /** A PostgreSQL URL; undefined: the PG* variables. */
  databaseUrl?: string | undefined;
  /** 32 bytes in base64: seals account keys. All workers of a database have the same. */
  secretKey: string;
  /** Jobs at once; default 10. */
  concurrency?: number;
  /** Where to answer http-01; undefined: nowhere. */
  http01Listen?: Listen | undefined;
  log?: Logger;
}

/** A running worker. */
export interface Worker {
  /** Its id in acme.worker_status. */
  id: number;
  /** Where http-01 is answered, once it is. */
  http01: { host: string; port: number } | undefined;
  /** Settles when the worker has ended, for whatever reason. */
  ended: Promise<void>;
  /** Finishes the requests under way, commits, hands back, and ends. */
  stop(): Promise<void>;
}

/** The version of the SQL contract that this worker speaks (acme.version()). */
const CONTRACT_VERSION = '0.1';
const HEARTBEAT_MS = 10_000;

/**
 * Starts a worker: it performs steps, and answers http-01 if told where. Any number may run on one
 * database.
 *
 * @throws PgacmeError ERR_CONTRACT when the database was not migrated to this version; ERR_SECRET_KEY.
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { databaseUrl, concurrency = 10, log = makeLogger('info') } = options;
  const secret = await sealingKey(options.secretKey);
  const sql = connect({
    databaseUrl,
    name: 'pgacme worker',
    max: Math.min(concurrency, 10) + 1,
    // Workers wait for each other only, and shortly; whatever lasts longer is tried again as a job.
    lockTimeoutMs: 10_000,
    onNotice: (line) => log.warn(line),
  });
  const closing: (() => Promise<unknown>)[] = [() => sql.end({ timeout: 5 })];
  const closeAll = async () => {
    for (const close of closing.reverse()) await close();
  };
  try {
    const schema = await checkContract(sql);
    const id = await workerStarted(sql, {
      host: hostname(),
      pid: process.pid,
      version,
      concurrency,
    });
    const heart = setInterval(() => {
      workerSeen(sql, id, false).catch((error: unknown) =>
        log.warn({ err: error }, 'heartbeat failed'),
      );
    }, HEARTBEAT_MS);
    closing.push(async () => {
      clearInterval(heart);
      await workerSeen(sql, id, true).catch(() => undefined);
    });
    const responder = await startResponder(options, log, closing);
    const queue = await startQueue(
      sql,
      id,
      secret,
      schema,
      { databaseUrl, concurrency, log },
      closing,
    );
    log.info(
      { worker: id, concurrency, http01: responder && `${responder.host}:${responder.port}` },
      'worker started',
    );
    let stopped: Promise<void> | undefined;
    const stop = () =>
      (stopped ??= (async () => {
        await queue.stop();
        await closeAll();
        log.info({ worker: id }, 'worker stopped');
      })());
    return {
      id,
      http01: responder,
      ended: queue.ended.finally(stop),
      stop,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** Returns the queue's schema. */
async function checkContract(sql: Sql): Promise<string> {
  const [there] =
    await sql`select to_regclass('acme_private.installation') is not null as "isThere"`;
  if (there?.['isThere'] !== true) {
    throw new PgacmeError(
      'ERR_CONTRACT',
      'This database has no pgacme, or not for this login. Run pgacme migrate, and make the login a member of acme_worker.',
    );
  }
  const [row] = await sql<{ version: string; schema: string }[]>`
    select acme.version() as version, acme_private.worker_schema() as schema`;
  if (row?.version !== CONTRACT_VERSION) {
    throw new PgacmeError(
      'ERR_CONTRACT',
      `The database speaks version ${row?.version} and this worker ${CONTRACT_VERSION}. Run pgacme migrate with the newer of the two.`,
    );
  }
  return row.schema;
}

/** http-01 on a pool of its own, so that strangers' requests never wait with or delay the work. */
async function startResponder(
  { databaseUrl, http01Listen }: WorkerOptions,
  log: Logger,
  closing: (() => Promise<unknown>)[],
): Promise<Http01Responder | undefined> {
  if (http01Listen === undefined) return undefined;
  const sql = connect({ databaseUrl, name: 'pgacme http-01', max: 2 });
  closing.push(() => sql.end({ timeout: 2 }));
  const responder = await startHttp01({
    ...http01Listen,
    lookUp: async (token) => {
      const [row] = await sql<
        { value: string | null }[]
      >`select acme.http01_response(${token}) as value`;
      return row?.value ?? null;
    },
    onError: (error) => log.warn({ err: error }, 'http-01 look-up failed'),
  });
  closing.push(() => responder.stop());
  return responder;
}

async function startQueue(
  sql: Sql,
  id: number,
  secret: Awaited<ReturnType<typeof sealingKey>>,
  schema: string,
  {
    databaseUrl,
    concurrency,
    log,
  }: { databaseUrl: string | undefined; concurrency: number; log: Logger },
  closing: (() => Promise<unknown>)[],
): Promise<{ ended: Promise<void>; stop(): Promise<void> }> {
  const steps = new Steps(sql, id);
  const accounts = new Accounts(steps, secret);
  closing.push(() => accounts.close());
  const stopping = new AbortController();
  const pool = new pg.Pool({
    ...(databaseUrl === undefined ? {} : { connectionString: databaseUrl }),
    // Opened on demand; with a local queue and batched completion few ever are.
    max: concurrency + 2,
    application_name: 'pgacme queue',
  });
  const onError = (error: unknown) => log.warn({ err: error }, 'database connection of the queue');
  pool.on('error', onError);
  pool.on('connect', (client) => client.on('error', onError));
  closing.push(() => pool.end());
  const logger = queueLogger(log);
  const taskList = makeTaskList({ steps, accounts, log, stopping: stopping.signal }, () =>
    tidy(pool, schema, logger),
  );
  const runner = await run({
    pgPool: pool,
    schema,
    taskList,
    concurrency,
    noHandleSignals: true,
    logger,
    // Given explicitly, so that a crontab file in the current folder is never picked up.
    parsedCronItems: parseCronItems([
      {
        task: 'reconcile',
        match: '* * * * *',
        identifier: 'pgacme:reconcile',
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
      },
    },
  });
  return {
    ended: runner.promise,
    async stop() {
      stopping.abort();
      await runner.stop();
    },
  };
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
      if (level === 'error') child.error(metaOf(meta), text);
      else if (level === 'warning') child.warn(text);
      else child.trace(text);
    };
  });
}

function metaOf(meta: unknown): object {
  const error = (meta as { error?: unknown } | undefined)?.error;
  return error === undefined ? {} : { err: error };
}
