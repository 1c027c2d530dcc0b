import { join } from 'node:path';
import { migrate } from '../db/migrate/migrate.ts';
import { connect, type Sql } from '../db/steps/connect.ts';
import { findPebble, type Pebble } from '../local/pebble.ts';
import { freePort } from '../local/ports.ts';
import type { LocalPostgres } from '../local/postgres.ts';
import { makeLogger } from '../log.ts';
import { startWorker, type Worker } from '../worker.ts';
import type { Closers } from './closers.ts';
import { keptSealingKey } from './folder.ts';
import { keptPebblePort } from './rows.ts';
import { checkServers, fileLog, startDatabase, startTestCa } from './servers.ts';
import type { Show } from './show.ts';

/** Everything that runs for the quickstart. */
export interface Parts {
  postgres: LocalPostgres;
  sql: Sql;
  pebble: Pebble;
  worker: Worker;
  /** Throws a sentence when one of them has ended by itself. */
  check(): void;
}

/**
 * Starts PostgreSQL, migrates it, starts Pebble with its DNS server, then a worker that answers http-01
 * where Pebble looks. What was started is among the closers, also when a later part fails.
 *
 * @throws LocalError with a sentence that says what to install, or what is in the way.
 */
export async function startParts(
  folder: string,
  { show, stopping, closers }: { show: Show; stopping: AbortSignal; closers: Closers },
): Promise<Parts> {
  const place = { folder, show, closers };
  // First, since only this one may have to be fetched.
  const binaries = await findPebble({ log: (line) => show.line(`${line} (only this once)`) });
  stopping.throwIfAborted();

  const postgres = await startDatabase(place);
  show.line(`PostgreSQL ${postgres.version} on 127.0.0.1:${postgres.port}`);
  stopping.throwIfAborted();

  show.progress('Migrating');
  const { applied } = await migrate({ databaseUrl: postgres.url });
  show.line(
    applied.length > 0
      ? 'pgacme migrate: done'
      : 'pgacme migrate: nothing to do, the rows of before are here',
  );
  const sql = connect({ databaseUrl: postgres.url, name: 'pgacme quickstart', max: 2 });
  closers.add(() => sql.end({ timeout: 5 }));
  stopping.throwIfAborted();

  const port = await keptPebblePort(sql);
  const pebble = await startTestCa(place, {
    binaries,
    ...(port === undefined ? {} : { port }),
    httpPort: await freePort(),
  });
  stopping.throwIfAborted();

  show.progress('Starting a worker');
  const worker = await startWorker({
    databaseUrl: postgres.url,
    secretKey: await keptSealingKey(folder),
    http01Listen: { host: '127.0.0.1', port: pebble.httpPort },
    log: makeLogger('info', { write: fileLog(join(folder, 'worker.log'), closers, '') }),
  });
  closers.add(() => worker.stop());
  show.line(`Worker ${worker.id}, http-01 answered on 127.0.0.1:${pebble.httpPort}`);

  return { postgres, sql, pebble, worker, check: () => checkServers(folder, { postgres, pebble }) };
}
