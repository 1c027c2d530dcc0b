import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { PgacmeError } from '../errors.ts';
import { startChallengeTestServer } from '../local/challenge-test-server.ts';
import {
  type Pebble,
  type PebbleBinaries,
  type PebbleVersion,
  startPebble,
} from '../local/pebble.ts';
import { type LocalPostgres, startPostgres } from '../local/postgres.ts';
import type { Closers } from './closers.ts';
import type { Show } from './show.ts';

/** Where a server keeps its files, where it is shown, and what stops it. */
export interface Place {
  folder: string;
  show: Show;
  closers: Closers;
}

/** Starts PostgreSQL with the data that the folder keeps. */
export async function startDatabase(
  { folder, show, closers }: Place,
  { port }: { port?: number } = {},
): Promise<LocalPostgres> {
  show.progress('Starting PostgreSQL');
  const postgres = await startPostgres({
    dir: join(folder, 'postgres'),
    persistent: true,
    ...(port === undefined ? {} : { port }),
    log: fileLog(join(folder, 'postgres.log'), closers),
  });
  closers.add(() => postgres.stop());
  return postgres;
}

/** Starts Pebble with a DNS server for which every name is 127.0.0.1. */
export async function startTestCa(
  { folder, show, closers }: Place,
  { binaries, port, httpPort }: { binaries: PebbleBinaries; port?: number; httpPort: number },
): Promise<Pebble> {
  show.progress('Starting Pebble');
  const dns = await startChallengeTestServer({ binaries });
  closers.add(() => dns.stop());
  const pebble = await startPebble({
    dir: join(folder, 'pebble'),
    binaries,
    ...(port === undefined ? {} : { port }),
    httpPort,
    dnsServer: dns.dnsServer,
    log: fileLog(join(folder, 'pebble.log'), closers),
  });
  closers.add(() => pebble.stop());
  show.line(`Pebble ${pebble.version}, a test CA from ${binaries.source}: ${pebble.directoryUrl}`);
  const missing = missingIn[pebble.version];
  if (missing !== undefined) show.line(`  missing in this Pebble: ${missing}`);
  return pebble;
}

/** Throws a sentence when one of the servers has ended by itself. */
export function checkServers(
  folder: string,
  { postgres, pebble }: { postgres: LocalPostgres; pebble: Pebble },
): void {
  const ended = [
    ['PostgreSQL', postgres.exit(), 'postgres.log'],
    ['Pebble', pebble.exit(), 'pebble.log'],
  ].find(([, exit]) => exit !== undefined);
  if (ended === undefined) return;
  const [what, exit, log] = ended;
  throw new PgacmeError(
    'ERR_QUICKSTART',
    `${what} has ended by itself (${exit}); see ${join(folder, log ?? '')} and start again.`,
  );
}

/** A function that writes lines to a file of this start. */
export function fileLog(file: string, closers: Closers, end = '\n'): (line: string) => void {
  const stream = createWriteStream(file, { flags: 'w', mode: 0o600 });
  // A full disk must not end the quickstart because of a log.
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
