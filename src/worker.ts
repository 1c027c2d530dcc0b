import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Listen } from './config.ts';
import { isCut } from './db/steps/cut.ts';
import { PgacmeError } from './errors.ts';
import { makeLogger } from './log.ts';
import { type AccountKeys, sealedAccountKeys } from './secrets/account-keys.ts';
import { sealingKeys } from './secrets/seal.ts';
import { Published } from './solver/published.ts';
import { logFailure } from './worker/log-failure.ts';
import { startResponder } from './worker/responder.ts';
import { openSession, type Session, type SessionOptions } from './worker/session.ts';

/** How to run a worker. */
export interface WorkerOptions {
  /**
   * A PostgreSQL URL; undefined: the PG* variables. With several hosts (`postgres://a,b/db`) the one
   * that takes writes is used, also after a fail-over.
   */
  databaseUrl?: string | undefined;
  /** A direct URL of the same database, where `databaseUrl` leads through a transaction pooler. */
  listenUrl?: string | undefined;
  /**
   * 32 bytes in base64: seals account keys. All workers of a database have the same. Several, separated
   * by white space or commas, while it is being changed: the first one seals, all of them open.
   */
  secretKey: string;
  /** Where account keys live; by default in the database, sealed by `secretKey`. */
  accountKeys?: AccountKeys;
  /** Jobs at once; default 10. */
  concurrency?: number;
  /** Where to answer http-01; undefined: nowhere. */
  http01Listen?: Listen | undefined;
  /** A name such as `production`. Where the database was set up for another, the worker gets no work. */
  environment?: string | undefined;
  /** Milliseconds without a sign of life before others look whether a worker is dead; default 5000. */
  deadAfterMs?: number;
  log?: Logger;
}

/** A running worker. */
export interface Worker {
  /** Its id in acme.worker_status; a new one after it lost its lock. undefined: it waits for a database that it fits. */
  readonly id: number | undefined;
  /** Where http-01 is answered, once it is. */
  http01: { host: string; port: number } | undefined;
  /** Finishes the requests under way, commits, hands back, and ends. */
  stop(): Promise<void>;
}

const LONGEST_PAUSE_MS = 30_000;
/** How often a first sign-in that is cut is tried. */
const SIGN_INS = 10;

/**
 * Starts a worker: it performs steps, and answers http-01 if told where. Any number may run on one
 * database. It outlives a restart of PostgreSQL: when it loses its lock, it drops what it was doing
 * and starts anew as soon as it can. Where the database is of another version, it waits.
 *
 * @throws PgacmeError ERR_NOT_MIGRATED; ERR_POOLER; ERR_SECRET_KEY; and the driver's error when there is no database.
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { databaseUrl, listenUrl, log = makeLogger('info') } = options;
  const secret = await sealingKeys(options.secretKey);
  const session: SessionOptions = {
    databaseUrl,
    listenUrl,
    secret,
    accountKeys: options.accountKeys ?? sealedAccountKeys(secret),
    environment: options.environment,
    concurrency: options.concurrency ?? 10,
    deadAfterMs: options.deadAfterMs ?? 5000,
    published: new Published(),
    http01: undefined,
    log,
  };
  const database = { url: databaseUrl, isPooled: listenUrl !== undefined };
  const responder =
    options.http01Listen &&
    (await startResponder(options.http01Listen, database, session.published, log));
  session.http01 = responder && `${responder.host}:${responder.port}`;
  const stopping = new AbortController();
  let first: Session | undefined;
  try {
    first = await firstOpen(session);
  } catch (error) {
    await responder?.stop();
    throw error;
  }
  const started = {
    concurrency: session.concurrency,
    http01: session.http01,
  };
  const lives = new Lives(session, stopping.signal);
  const ended = lives.live(first, started);
  return {
    get id() {
      return lives.id;
    },
    http01: responder && { host: responder.host, port: responder.port },
    async stop() {
      stopping.abort();
      await ended;
      await responder?.stop();
    },
  };
}

/**
 * A sign-in that is cut is made again; one that is refused, such as for its password, and one that nobody
 * listens to end the worker, since a person is at hand who can correct it.
 */
async function firstOpen(options: SessionOptions): Promise<Session | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await open(options, null);
    } catch (error) {
      if (!isCut(error) || attempt === SIGN_INS) throw error;
      options.log.warn(
        { err: error },
        'the connection was cut while signing in; it is tried again',
      );
      await delay(Math.min(250 * 2 ** attempt, 5000));
    }
  }
}

/** undefined: the database is of another version, which is said in the log. */
async function open(
  options: SessionOptions,
  replaces: number | null,
): Promise<Session | undefined> {
  try {
    return await openSession(options, replaces);
  } catch (error) {
    if (!(error instanceof PgacmeError) || error.code !== 'ERR_CONTRACT') throw error;
    options.log.error(error.message);
    return undefined;
  }
}

/** The lives of one worker, one after the other, until it is told to stop. */
class Lives {
  readonly #options: SessionOptions;
  readonly #stopping: AbortSignal;
  id: number | undefined;

  constructor(options: SessionOptions, stopping: AbortSignal) {
    this.#options = options;
    this.#stopping = stopping;
  }

  async live(first: Session | undefined, facts: object): Promise<void> {
    const { log } = this.#options;
    const stopped = new Promise<undefined>((resolve) =>
      this.#stopping.addEventListener('abort', () => resolve(undefined), { once: true }),
    );
    let session = first;
    let before: number | null = null;
    for (;;) {
      session ??= await this.#next(before);
      if (session === undefined) return;
      this.id = before = session.id;
      log.info({ worker: session.id, ...facts }, 'worker started');
      const reason = await Promise.race([session.lost, stopped]);
      if (reason !== undefined) {
        log.info({ worker: session.id }, `the worker lost its lock and starts anew: ${reason}`);
      }
      await session.end();
      if (this.#stopping.aborted) {
        log.info({ worker: session.id }, 'worker stopped');
        return;
      }
      this.id = session = undefined;
    }
  }

  /** Tries until there is a session; undefined: the worker is to stop. */
  async #next(before: number | null): Promise<Session | undefined> {
    for (let pause = 250; !this.#stopping.aborted; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        const session = await open(this.#options, before);
        if (session !== undefined) return session;
      } catch (error) {
        logFailure(this.#options.log, error, 'no session with the database; it is tried again');
      }
      await this.#pause(pause);
    }
    return undefined;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#stopping.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#stopping.addEventListener('abort', done);
    });
  }
}
