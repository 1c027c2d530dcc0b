import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll } from 'vitest';
import { makeLogger } from '../../src/log.ts';
import { startHttp01 } from '../../src/solver/http01.ts';
import { startWorker, type Worker } from '../../src/worker.ts';
import { pebbleForTests, type TestPebble, type TestPebbleOptions } from '../helpers/pebble.ts';
import type { FreshDatabase } from '../helpers/postgres.ts';
import { type PgacmeProcess, spawnNode } from '../helpers/process.ts';
import { type RecordingProxy, startRecordingProxy } from '../helpers/recording-proxy/index.ts';
import { type World, worldWith } from '../helpers/world.ts';

/** A world whose CA is watched, with workers in processes that can be killed. */
export interface CrashWorld extends World {
  proxy: RecordingProxy;
  pebble: TestPebble;
  /** A worker of a process of its own; `point`: where it kills itself. */
  spawn(options?: { point?: string; concurrency?: number; deadAfterMs?: number }): PgacmeProcess;
  /** A worker in this process that finds dead ones after a second. */
  rescuer(): Promise<Worker>;
  /** What `close` ends as well, after the workers. */
  atEnd(end: () => Promise<void>): void;
  /** Stops the workers of this process and the proxy; other worlds go on. */
  close(): Promise<void>;
}

/** How soon others look whether a silent worker is dead. */
export const DEAD_AFTER_MS = 1000;

const PROGRAM = fileURLToPath(new URL('worker.mjs', import.meta.url));

/**
 * Worlds side by side on one Pebble, each with a proxy and so a record of its own. http-01 is answered
 * here for all of them: no worker's life or death decides whether the CA can validate.
 */
export function crashWorlds(
  options: TestPebbleOptions = {},
): (database?: FreshDatabase) => Promise<CrashWorld> {
  const worlds: CrashWorld[] = [];
  let pebble: TestPebble;
  let stopResponder: () => Promise<void>;
  beforeAll(async () => {
    pebble = await pebbleForTests(options);
    const responder = await startHttp01({
      host: '127.0.0.1',
      port: pebble.httpPort,
      async lookUp(token, host) {
        for (const { sql } of [...worlds]) {
          const [row] = await sql<{ value: string | null }[]>`
            select acme.http01_response(${token}, ${host}) as value`.catch(() => []);
          if (typeof row?.value === 'string') return row.value;
        }
        return null;
      },
    });
    stopResponder = () => responder.stop();
  });
  afterAll(async () => {
    await stopResponder();
    await Promise.all([...worlds].map((world) => world.close()));
  });

  return async (database) => {
    const proxy = await startRecordingProxy(pebble);
    // Of worlds side by side, each ends by close(): vitest does not know whose hook it would be.
    const ends: (() => Promise<void>)[] = [];
    const ca = { ...proxy, httpPort: pebble.httpPort };
    const world = await worldWith(ca, database, (end) => ends.push(end));
    const { url } = await world.database.login('acme_worker');
    const workers: Worker[] = [];
    const made: CrashWorld = {
      ...world,
      proxy,
      pebble,
      spawn({ point, concurrency = 4, deadAfterMs = DEAD_AFTER_MS } = {}) {
        const worker = {
          databaseUrl: url,
          secretKey: world.secretKey,
          deadAfterMs,
          concurrency,
          point,
        };
        return spawnNode([PROGRAM], { PGACME_TEST_WORKER: JSON.stringify(worker) });
      },
      async rescuer() {
        const worker = await startWorker({
          databaseUrl: url,
          secretKey: world.secretKey,
          deadAfterMs: DEAD_AFTER_MS,
          log: makeLogger(process.env['PGACME_TEST_LOG'] ?? 'silent'),
        });
        workers.push(worker);
        return worker;
      },
      atEnd: (end) => void ends.push(end),
      async close() {
        if (worlds.includes(made)) worlds.splice(worlds.indexOf(made), 1);
        await Promise.all(workers.map((worker) => worker.stop()));
        await Promise.all(ends.map((end) => end()));
        await proxy.stop();
        await world.database.drop();
      },
    };
    worlds.push(made);
    return made;
  };
}
