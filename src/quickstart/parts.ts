import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { connect, type Sql } from '../db/connect.ts';
import { migrate } from '../db/migrate.ts';
import { PgacmeError } from '../errors.ts';
import { startChallengeTestServer } from '../local/challenge-test-server.ts';
import { findPebble, type Pebble, type PebbleVersion, startPebble } from '../local/pebble.ts';
import { freePort } from '../local/ports.ts';
import { type LocalPostgres, startPostgres } from '../local/postgres.ts';
import { makeLogger } from '../log.ts';
import { startWorker, type Worker } from '../worker.ts';
import type { Closers } from './closers.ts';
import { keptSealingKey } from './folder.ts';
import { keptPebblePort } from './rows.ts';
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
  // First, since only this one may have to be fetched.
  const binaries = await findPebble({ log: (line) => show.line(`${line} (only this once)`) });
  stopping.throwIfAborted();

  show.progress('Starting PostgreSQL');
  const postgres = await startPostgres({
    dir: join(folder, 'postgres'),
    persistent: true,
    log: fileLog(join(folder, 'postgres.log'), closers),
  });
  closers.add(() => postgres.stop());
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

  show.progress('Starting Pebble');
  const dns = await startChallengeTestServer({ binaries });
  closers.add(() => dns.stop());
  const port = await keptPebblePort(sql);
  const pebble = await startPebble({
    dir: join(folder, 'pebble'),
    binaries,
    ...(port === undefined ? {} : { port }),
    httpPort: await freePort(),
    dnsServer: dns.dnsServer,
    log: fileLog(join(folder, 'pebble.log'), closers),
  });
  closers.add(() => pebble.stop());
  show.line(`Pebble ${pebble.version}, a test CA from ${binaries.source}: ${pebble.directoryUrl}`);
  const missing = missingIn[pebble.version];
  if (missing !== undefined) show.line(`  missing in this Pebble: ${missing}`);
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

  return {
    postgres,
    sql,
    pebble,
    worker,
    check() {
      const ended = [
        ['PostgreSQL', postgres.exit(), 'postgres.log'],
        ['Pebble', pebble.exit(), 'pebble.log'],
      ].find(([, exit]) => exit !== undefined);
      if (ended === undefined) return;
      const [what, exit, log] = ended;
      throw new PgacmeError(
        'ERR_QUICKSTART',
        `${what} has ended by itself (${exit}); see ${join(folder, log ?? '')} and start the quickstart again.`,
      );
    },
  };
}

/** A function that writes lines to a file of this start. */
function fileLog(file: string, closers: Closers, end = '\n'): (line: string) => void {
  const stream = createWriteStream(file, { flags: 'w', mode: 0o600 });
  // A full disk shall not end the quickstart for a log's sake.
  stream.on('error', () => undefined);
  closers.add(() => new Promise<void>((resolve) => stream.end(() => resolve())));
  return (line) => void stream.write(line + end);
}

/** What an older Pebble lacks of 2.10, as far as a user of it would look for it. */
const missingIn: Partial<Record<PebbleVersion, string>> = {
  '2.4':
    'renewal information, profiles, CAA identities, dns-account-01, dns-persist-01, subproblems, Retry-After',
  '2.5': 'some of renewal information, profiles, dns-persist-01 (they came between 2.6 and 2.10)',
};
