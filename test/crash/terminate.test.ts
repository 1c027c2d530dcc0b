import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, inject, test } from 'vitest';
import { QueuePool } from '../../src/worker/queue-pool.ts';
import { scaled } from '../helpers/scale.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import {
  expectOneCertificateEach,
  finalizedFor,
  type Inserted,
  insertWithKey,
  whileItRuns,
} from './certificates.ts';
import { type CrashWorld, crashWorlds } from './crash-world.ts';

const newWorld = crashWorlds();

test("all of the workers' connections are terminated at random moments: one certificate for each csr, and no worker's process ends", async () => {
  const world = await newWorld();
  const csrs: Inserted[] = [];
  const count = scaled(40, 20);
  for (let i = 0; i < count; i++) csrs.push(await insertWithKey(world, [freshName()]));
  // As long as in production: each begins anew before the other takes it for dead, so that no claim counts.
  const workers = [1, 2].map(() => world.spawn({ deadAfterMs: 5000 }));
  // One that finds no database at its very start says so and ends.
  for (const worker of workers) await worker.waitForLine(/"msg":"worker started"/, 60_000);
  const terror = new Terror(world);
  try {
    const all = until(
      async () => {
        const left = await world.sql<{ id: string; state: string; reason: string }[]>`
          select id, state, reason from acme.csr_status where state <> 'issued'`;
        if (left.length === 0) return true;
        throw new Error(
          left.map(({ id, state, reason }) => `${id} ${state} (${reason})`).join('; '),
        );
      },
      { what: 'all are issued', timeoutMs: 300_000, everyMs: 200 },
    );
    await Promise.all(workers.map((worker) => whileItRuns(worker, all)));
  } finally {
    await terror.end();
  }
  await expectOneCertificateEach(world, csrs);
  for (const { names } of csrs) expect(finalizedFor(world, names), names.join()).toBe(1);
  expect(terror.ended).toBeGreaterThan(0);
  process.stdout.write(
    `terminate: ${count} certificates, ${terror.times} times, ${terror.ended} connections\n`,
  );
  for (const worker of workers) {
    expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  }
}, 600_000);

/** Ends every connection of pgacme's, again and again. */
class Terror {
  readonly #world: CrashWorld;
  readonly #done: Promise<void>;
  #isEnding = false;
  times = 0;
  ended = 0;

  constructor(world: CrashWorld) {
    this.#world = world;
    this.#done = this.#go();
  }

  async #go(): Promise<void> {
    // Not for ever: where each step is slower than this, nothing would ever be done.
    while (!this.#isEnding && this.times < 25) {
      // At random moments, which is what this is about; nothing waits for a moment to come.
      await delay(randomInt(100, 2500));
      const rows = await this.#world.sql`
        select pg_terminate_backend(pid)
          from pg_stat_activity
         where datname = current_database() and application_name like 'pgacme%'`;
      this.times += 1;
      this.ended += rows.length;
    }
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#done;
  }
}

test('a connection of the queue that is given back twice, as by its listener when it breaks, is given back once', async () => {
  const pool = new QueuePool({
    connectionString: inject('postgresUrl'),
    max: 1,
    isQueueNewer: () => Promise.resolve(false),
  });
  try {
    await new Promise<void>((resolve, reject) => {
      pool.connect((error, _client, release) => {
        if (error !== undefined) return reject(error);
        release();
        release();
        resolve();
      });
    });
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1]);
    expect((await pool.query<{ one: number }>('select 1 as one')).rows).toEqual([{ one: 1 }]);
  } finally {
    await pool.end();
  }
});

test('a listener of the queue that asks for a connection once its pool has ended hears so, and may give back what never came', async () => {
  const pool = new QueuePool({
    connectionString: inject('postgresUrl'),
    max: 1,
    isQueueNewer: () => Promise.resolve(false),
  });
  await pool.end();
  const heard = new Promise<string>((resolve) => {
    pool.connect((error, client, release?: () => void) => {
      // As graphile-worker does it where it was stopped in the meantime.
      release?.();
      resolve(client === undefined ? String(error) : 'a connection');
    });
  });
  expect(await heard).toMatch(/after calling end on the pool/);
});
