import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Listen } from '../config.ts';
import { connect, type Sql } from '../db/steps/connect.ts';
import { primaryOf } from '../db/steps/hosts.ts';
import { POOLED, settingsFor } from '../db/steps/settings.ts';
import { type Http01Responder, startHttp01 } from '../solver/http01.ts';
import type { Published } from '../solver/published.ts';
import { logFailure } from './log-failure.ts';

/**
 * http-01 on a pool of its own, so that strangers' requests never wait with or delay the work. It goes
 * on while the worker has lost its lock: what is published is in the database. It asks the primary, since
 * a standby may not have the answer yet.
 */
export async function startResponder(
  listen: Listen,
  database: { url: string | undefined; isPooled: boolean },
  published: Published,
  log: Logger,
): Promise<Http01Responder> {
  const pools = new Pools(database);
  const responder = await startHttp01({
    ...listen,
    lookUp: async (token, host) => published.get(token, host) ?? pools.answer(token, host),
    onError: (error) => logFailure(log, error, 'http-01 look-up failed'),
  });
  return {
    ...responder,
    async stop() {
      await responder.stop();
      await pools.end();
    },
  };
}

/**
 * How long a look-up is tried anew. A CA that hears 503 fails the validation, and one more is a minute
 * away; CAs wait ten seconds for an answer, and a PostgreSQL that crashed is back in less.
 */
const PATIENCE_MS = 5000;
const PAUSE_MS = 250;
/** A look-up that takes longer is made again on another connection, before the CA has gone. */
const ANSWER_MS = 3000;

/** The pool at the primary; another one after a look-up failed, since that host may be none any more. */
class Pools {
  readonly #database: { url: string | undefined; isPooled: boolean };
  readonly #ending = new AbortController();
  #pause: Promise<void> | undefined;
  #pool: Promise<Sql> | undefined;

  constructor(database: { url: string | undefined; isPooled: boolean }) {
    this.#database = database;
  }

  async answer(token: string, host: string): Promise<string | null> {
    const askedAt = performance.now();
    for (;;) {
      try {
        return await this.#ask(token, host);
      } catch (error) {
        if (performance.now() - askedAt > PATIENCE_MS) throw error;
      }
      // One pause for all, so that they come back on one new pool.
      this.#pause ??= sleep(PAUSE_MS, undefined, { signal: this.#ending.signal }).finally(() => {
        this.#pause = undefined;
      });
      await this.#pause;
    }
  }

  async #ask(token: string, host: string): Promise<string | null> {
    const pool = (this.#pool ??= this.#open());
    try {
      const sql = await pool;
      const [row] = await sql<{ value: string | null }[]>`
        select acme.http01_response(${token}, ${host}) as value`;
      return row?.value ?? null;
    } catch (error) {
      if (this.#pool === pool) {
        this.#pool = undefined;
        // Others may still wait for its answers.
        void pool.then((sql) => sql.end({ timeout: 5 })).catch(() => undefined);
      }
      throw error;
    }
  }

  async end(): Promise<void> {
    this.#ending.abort();
    const sql = await this.#pool?.catch(() => undefined);
    await sql?.end({ timeout: 2 });
  }

  async #open(): Promise<Sql> {
    const { url, isPooled } = this.#database;
    const primary = await primaryOf(url);
    return connect({
      databaseUrl: primary,
      isPooled,
      settings: isPooled ? POOLED : await settingsFor(primary),
      isLasting: true,
      name: 'pgacme http-01',
      max: 2,
      answerMs: ANSWER_MS,
    });
  }
}
