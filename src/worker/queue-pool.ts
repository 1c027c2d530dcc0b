import { setTimeout as delay } from 'node:timers/promises';
import type { Notification } from 'pg';
import pg from 'pg';
import { destroy, limitQueries } from '../db/steps/limited-client.ts';
import { type AwaitedPoolConfig, GONE, SESSION, settingsSql } from '../db/steps/settings.ts';
import { GatedProof } from './gated-proof.ts';

type Connected = Parameters<pg.Pool['connect']>[0];
type Emit = (event: string, ...args: unknown[]) => boolean;

/** A query of the queue that takes longer has no answer. */
const ANSWER_MS = 15_000;
/** How often the connection that only listens is asked whether it still leads anywhere. */
const ASK_MS = 10_000;
/** How long the pool's end waits for good-byes. */
const END_MS = 3000;

const SETTINGS = settingsSql({ ...SESSION, ...GONE, statement_timeout: String(ANSWER_MS - 1000) });

/** What the queue's connections are for. */
export interface QueuePoolOptions extends pg.PoolConfig {
  /** Whether the queue's tables are of a newer version than this worker can use. */
  isQueueNewer: (pool: pg.Pool) => Promise<boolean>;
}

/**
 * The queue's connections: with time limits, and settings of their own. graphile-worker's listener, which
 * takes one by callback, may give a broken one back twice; the pool then throws where nobody catches it,
 * which ends the process. Here once is enough.
 */
export class QueuePool extends pg.Pool {
  readonly #open = new Set<pg.ClientBase>();
  readonly #migrated: GatedProof;

  constructor({ isQueueNewer, ...config }: QueuePoolOptions) {
    const settled: AwaitedPoolConfig = {
      ...config,
      onConnect: async (client) => {
        this.#open.add(client);
        client.once('end', () => this.#open.delete(client));
        limitQueries(client, ANSWER_MS);
        await client.query(SETTINGS);
      },
    };
    super(settled);
    this.#migrated = new GatedProof(() => isQueueNewer(this));
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<pg.PoolClient> | undefined {
    if (callback === undefined) return super.connect();
    super.connect((error, client, release) => {
      // With an error comes nothing to give back: a pool that has ended passes no `release` at all.
      if (client === undefined) return callback(error, client, release);
      this.#believeProofOnly(client);
      // It says nothing by itself, so that nobody would notice its end.
      const asking = setInterval(() => {
        client.query('select').catch(() => undefined);
      }, ASK_MS);
      let isReleased = false;
      const giveBack: typeof release = (why) => {
        if (isReleased) return;
        isReleased = true;
        clearInterval(asking);
        Reflect.deleteProperty(client, 'emit');
        release(why);
      };
      // A query of the pool itself takes a connection by callback, too, and gives it back by this one.
      client.release = giveBack;
      callback(error, client, giveBack);
    });
    return undefined;
  }

  /**
   * Any login can send `notify "worker:migrate"`, upon which graphile-worker stops. It hears of it only when the
   * queue's tables say so, too.
   */
  #believeProofOnly(client: pg.PoolClient): void {
    const emit = client.emit.bind(client) as Emit;
    const believing: Emit = (event, ...args) => {
      const [message] = args as [Notification?];
      if (event !== 'notification' || message?.channel !== 'worker:migrate') {
        return emit(event, ...args);
      }
      this.#migrated.ask(() => emit(event, ...args));
      return true;
    };
    client.emit = believing as typeof client.emit;
  }

  /** Also of connections whose other side never answers a good-bye. */
  override end(): Promise<void>;
  override end(callback: () => void): void;
  override end(callback?: () => void): Promise<void> | undefined {
    const ended = this.#end();
    if (callback === undefined) return ended;
    void ended.then(callback);
    return undefined;
  }

  async #end(): Promise<void> {
    const ending = super.end();
    const timer = new AbortController();
    const late = delay(END_MS, undefined, { signal: timer.signal }).then(() => {
      for (const client of this.#open) destroy(client);
    });
    await Promise.race([ending.finally(() => timer.abort()), late]).catch(() => undefined);
  }
}
