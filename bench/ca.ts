import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startChallengeTestServer } from '#src/local/challenge-test-server';
import { findPebble, type Pebble, startPebble } from '#src/local/pebble';
import { freePort } from '#src/local/ports';
import { cpuMs } from './cpu.ts';

/** Some Pebbles with one DNS server; all look for http-01 at one port. */
export interface Cas {
  servers: readonly { directoryUrl: string; caPem: string }[];
  httpPort: number;
  version: string;
  /** Requests to the ACME interface so far, all Pebbles together. */
  requests(): number;
  cpuMs(): Promise<number>;
  stop(): Promise<void>;
}

/**
 * Starts fresh ones for each measurement: Pebble walks through all authorizations it ever made at each
 * newOrder, so an older one is slower.
 */
export async function startCas(count: number): Promise<Cas> {
  const binaries = await findPebble();
  const dns = await startChallengeTestServer({ binaries });
  const httpPort = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'pgacme-bench-pebble-'));
  let requests = 0;
  const pebbles: Pebble[] = [];
  for (let i = 0; i < count; i++) {
    pebbles.push(
      await startPebble({
        dir: join(folder, String(i)),
        binaries,
        httpPort,
        dnsServer: dns.dnsServer,
        authzReuse: 0,
        nonceReject: 0,
        log: (line) => {
          if (line.includes('-> calling handler()')) requests += 1;
        },
      }),
    );
  }
  const pids = [...pebbles, dns].map(({ pid }) => pid);
  return {
    servers: pebbles.map(({ directoryUrl, caPem }) => ({ directoryUrl, caPem })),
    httpPort,
    version: binaries.version,
    requests: () => requests,
    cpuMs: () => cpuMs(pids),
    async stop() {
      await Promise.all([...pebbles, dns].map((one) => one.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** How many Pebbles share this many orders: one for one, else four, never over eight each. */
export function casFor(inFlight: number): { cas: number; each: number } {
  const cas = inFlight < 4 ? 1 : 4;
  return { cas, each: Math.ceil(inFlight / cas) };
}
