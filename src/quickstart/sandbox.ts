import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '../db/steps/connect.ts';
import { PgacmeError } from '../errors.ts';
import { findPebble } from '../local/pebble.ts';
import { isFree } from '../local/ports.ts';
import { version } from '../version.ts';
import { Closers } from './closers.ts';
import { takeFolder, writePasswordFile } from './folder.ts';
import { checkServers, startDatabase, startTestCa } from './servers.ts';
import type { Show } from './show.ts';

/** Where the servers of a sandbox listen, and where the test CA looks for http-01 answers. */
export interface SandboxPorts {
  postgres: number;
  pebble: number;
  http: number;
}

/** How to run the sandbox. */
export interface SandboxOptions {
  /** Holds everything that is kept: an absolute path. */
  folder: string;
  ports: SandboxPorts;
  show: Show;
  /** Aborted: stop everything in order. */
  stopping: AbortSignal;
}

/** The database that the sandbox makes in its PostgreSQL. */
const DATABASE = 'app';

/**
 * Runs a PostgreSQL with an empty database, and Pebble, for the reader of a document, who does the rest.
 * Returns when `stopping` is aborted; the database is kept for the next start.
 *
 * @throws LocalError when a part is missing or in the way; PgacmeError ERR_QUICKSTART when a port is in use or
 * a server ends by itself.
 */
export async function sandbox({ folder, ports, show, stopping }: SandboxOptions): Promise<void> {
  await checkPorts(ports);
  show.line(`pgacme ${version} sandbox: all of it is in ${folder}`);
  const closers = new Closers();
  const claim = await takeFolder(folder, 'The sandbox');
  closers.add(() => claim.release());
  try {
    const place = { folder, show, closers };
    const binaries = await findPebble({ log: (line) => show.line(`${line} (only this once)`) });
    stopping.throwIfAborted();
    const postgres = await startDatabase(place, { port: ports.postgres });
    await createDatabase(postgres.url);
    const url = new URL(postgres.url);
    // As the documents write it; the password is in a file, not in the URL.
    url.hostname = 'localhost';
    url.pathname = DATABASE;
    const passfile = relative('', await writePasswordFile(folder, url));
    url.password = '';
    show.line(`PostgreSQL ${postgres.version}: ${url.href}?passfile=${passfile}`);
    stopping.throwIfAborted();
    const pebble = await startTestCa(place, {
      binaries,
      port: ports.pebble,
      httpPort: ports.http,
    });
    show.line(
      `  its own TLS certificate is signed by ${relative('', join(folder, 'pebble/ca.pem'))}`,
    );
    show.line(`  it takes every name for this machine, and asks for http-01 at port ${ports.http}`);
    show.line('Ctrl-C ends both and keeps the database.');
    while (!stopping.aborted) {
      checkServers(folder, { postgres, pebble });
      await delay(250, undefined, { signal: stopping }).catch(() => undefined);
    }
  } catch (error) {
    // What the wish to stop has cut off did not fail.
    if (!stopping.aborted) throw error;
  } finally {
    await closers.closeAll();
    show.line('Stopped.');
  }
}

async function checkPorts({ postgres, pebble }: SandboxPorts): Promise<void> {
  for (const [port, option] of [
    [postgres, '--postgres-port'],
    [pebble, '--pebble-port'],
  ] as const) {
    if (await isFree(port)) continue;
    throw new PgacmeError(
      'ERR_QUICKSTART',
      `Port ${port} of 127.0.0.1 is in use by another program; choose another one with ${option}.`,
    );
  }
}

async function createDatabase(databaseUrl: string): Promise<void> {
  const sql = connect({ databaseUrl, name: 'pgacme sandbox', max: 1 });
  try {
    const found = await sql`select from pg_database where datname = ${DATABASE}`;
    if (found.length === 0) await sql`create database ${sql(DATABASE)}`;
  } finally {
    await sql.end({ timeout: 5 });
  }
}
