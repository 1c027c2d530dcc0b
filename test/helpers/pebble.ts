import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { cacheFolder } from '../../src/local/cache-folder.ts';
import type { ChallengeTestServer } from '../../src/local/challenge-test-server.ts';
import { startChallengeTestServer } from '../../src/local/challenge-test-server.ts';
import { cachedDebian, fetchDebian } from '../../src/local/debian.ts';
import type { Pebble, PebbleBinaries, PebbleOptions } from '../../src/local/pebble.ts';
import { findPebble, startPebble } from '../../src/local/pebble.ts';
import { freePort } from '../../src/local/ports.ts';
import { which } from '../../src/local/run.ts';
import { testFolder } from './sweep.ts';

/** A Pebble for tests: what {@link PebbleOptions} has, the ports and folders chosen unless given. */
export type TestPebbleOptions = Partial<Omit<PebbleOptions, 'dnsServer'>>;

/** A Pebble and the DNS server that it asks; every name is 127.0.0.1 unless `dns` was told otherwise. */
export interface TestPebble extends Pebble {
  dns: ChallengeTestServer;
  binaries: PebbleBinaries;
  tlsPort: number;
}

const started = new Map<string, Promise<TestPebble>>();
const stops: (() => Promise<void>)[] = [];
let dns: Promise<ChallengeTestServer> | undefined;

afterAll(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
  started.clear();
  dns = undefined;
});

/**
 * One Pebble per test file and set of options, started on demand and stopped after the file: no random
 * nonce refusals, no reuse of authorizations, no Retry-After unless asked for. At most 8 orders in flight.
 * One that binds accounts is the newest unless told otherwise; any other is whichever is found first.
 */
export function pebbleForTests(options: TestPebbleOptions = {}): Promise<TestPebble> {
  const key = JSON.stringify(options);
  const pebble = started.get(key) ?? start(options);
  started.set(key, pebble);
  return pebble;
}

async function start(options: TestPebbleOptions): Promise<TestPebble> {
  const binaries =
    options.binaries ?? (await (options.eab === undefined ? findPebble() : newestPebble()));
  dns ??= startDns(binaries);
  const server = await dns;
  const dir = options.dir ?? (await testFolder('pebble'));
  const httpPort = options.httpPort ?? (await freePort());
  const tlsPort = options.tlsPort ?? (await freePort());
  const defaults = { authzReuse: 0, nonceReject: 0 };
  const pebble = await startPebble({
    ...defaults,
    ...options,
    binaries,
    dir,
    httpPort,
    tlsPort,
    dnsServer: server.dnsServer,
  });
  stops.push(async () => {
    await pebble.stop();
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
  });
  return { ...pebble, dns: server, binaries, tlsPort };
}

/**
 * The Pebble that Debian has for this machine's own release (2.4 on bookworm), to show that features it
 * lacks are shown as missing; undefined where there is no apt-get. Kept in a cache of the tests' own.
 */
export async function pebbleOfThisRelease(): Promise<PebbleBinaries | undefined> {
  if ((await which('apt-get')) === undefined) return undefined;
  const env = testCache();
  const found =
    (await cachedDebian(/pebble/, env)).at(0) ?? (await fetchDebian({ name: 'pebble', env }));
  return findPebble({ env: { PGACME_PEBBLE: join(found.root, 'usr/bin') } });
}

/** Pebble 2.10 or newer, also on a machine that has an older one: from a cache of its own, of Debian's suite sid. */
export async function newestPebble(): Promise<PebbleBinaries> {
  const found = await findPebble();
  if (found.version === '2.10') return found;
  const own = { ...process.env, XDG_CACHE_HOME: join(cacheFolder(), 'newest') };
  const { root } =
    (await cachedDebian(/pebble/, own)).at(0) ??
    (await fetchDebian({ name: 'pebble', suite: 'sid', env: own }));
  const newest = await findPebble({ env: { PGACME_PEBBLE: join(root, 'usr/bin') } });
  if (newest.version !== '2.10') throw new Error(`Debian's newest Pebble is ${newest.version}.`);
  return newest;
}

/** An environment whose cache is apart from the user's, and as lasting. */
export function testCache(): NodeJS.ProcessEnv {
  return { ...process.env, XDG_CACHE_HOME: join(cacheFolder(), 'tests') };
}

async function startDns(binaries: PebbleBinaries): Promise<ChallengeTestServer> {
  const server = await startChallengeTestServer({ binaries });
  stops.push(() => server.stop());
  return server;
}
