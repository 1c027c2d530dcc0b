import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeTlsCertificate } from '../x509/index.ts';
import { claimFolder } from './claim.ts';
import { commandLine, HOST_NETWORK } from './docker.ts';
import { keepPort, keptPort } from './kept-port.ts';
import { LocalError } from './local-error.ts';
import { type OwnedProcess, startOwned } from './owned-process.ts';
import { findPebble } from './pebble-binaries.ts';
import type { PebbleBinaries } from './pebble-programs.ts';
import { freePort, isFree } from './ports.ts';

export { findPebble } from './pebble-binaries.ts';
export type { PebbleBinaries, PebbleVersion } from './pebble-programs.ts';

/** How one Pebble shall run; what is left out is as Pebble has it, unless it says otherwise. */
export interface PebbleOptions {
  /** Keeps the TLS key, its certificate and CA, the port and the configuration for the next start. */
  dir: string;
  /** Found by {@link findPebble} when left out. */
  binaries?: PebbleBinaries;
  /** Port of the ACME API; the one of the last start in `dir` when left out, else a free one. */
  port?: number;
  managementPort?: number;
  /** Where Pebble looks for http-01 answers, on the address that DNS gives. */
  httpPort: number;
  /** Where Pebble looks for tls-alpn-01 answers. */
  tlsPort?: number;
  /** `host:port` of the DNS server that Pebble asks; the system's own when left out. */
  dnsServer?: string;
  /** Percent of newOrder requests that reuse a valid authorization (0 still reuses about 1 %). */
  authzReuse?: number;
  /** Percent of good nonces that are refused. */
  nonceReject?: number;
  /** Seconds for the Retry-After headers; none (0) unless given. */
  retryAfter?: { authz: number; order: number };
  /** Offered profiles by name, validity in seconds (Pebble 2.7). */
  profiles?: Record<
    string,
    { description: string; validityPeriod: number; promoteCommonName?: boolean }
  >;
  /** External account binding is required, with these MAC keys (base64url) by key id. */
  eab?: Record<string, string>;
  domainBlocklist?: readonly string[];
  /** More of Pebble's own variables, such as `PEBBLE_ALTERNATE_ROOTS`. */
  env?: Record<string, string>;
  log?: (line: string) => void;
}

/** A Pebble that answers. */
export interface Pebble {
  directoryUrl: string;
  /** The CA of Pebble's own HTTPS, for `server.ca_bundle`; not the CA that it issues with. */
  caPem: string;
  /** Where `/roots/0` and the like are, over HTTPS with the same CA. */
  managementUrl: string;
  port: number;
  httpPort: number;
  version: PebbleBinaries['version'];
  pid: number;
  /** Why it has ended by itself, else undefined. */
  exit(): string | undefined;
  stop(): Promise<void>;
}

const HOST = '127.0.0.1';

/**
 * Starts Pebble on 127.0.0.1, strict and without its artificial delays, and waits until its directory
 * answers. It ends with this process. Keep to 8 orders in flight: stock Pebble freezes at about 32.
 * @throws LocalError `ERR_LOCAL_IN_USE` when the folder or a port is taken, `ERR_LOCAL_START` otherwise.
 */
export async function startPebble(given: PebbleOptions): Promise<Pebble> {
  const options = { ...given, dir: resolve(given.dir) };
  await mkdir(options.dir, { recursive: true });
  const claim = await claimFolder(options.dir, `Pebble in ${options.dir}`, 'SIGTERM');
  try {
    const binaries = options.binaries ?? (await findPebble());
    const caPem = await tlsFiles(options.dir);
    const fixed = options.port ?? (await keptPort(options.dir, 'port'));
    if (fixed !== undefined && !(await isFree(fixed))) throw portTaken(fixed, options.dir);
    for (let attempt = 0; ; attempt++) {
      const port = fixed ?? (await freePort());
      const managementPort = options.managementPort ?? (await freePort());
      const child = await launch(options, binaries, port, managementPort);
      await claim.running(child.pid);
      const directoryUrl = `https://${HOST}:${String(port)}/dir`;
      if (await answers(directoryUrl, caPem, child)) {
        await keepPort(options.dir, 'port', port);
        return {
          directoryUrl,
          caPem,
          managementUrl: `https://${HOST}:${String(managementPort)}`,
          port,
          httpPort: options.httpPort,
          version: binaries.version,
          pid: child.pid,
          exit: () => child.exit(),
          async stop() {
            await child.stop();
            await claim.release();
          },
        };
      }
      const hasRun = child.exit() === undefined;
      await child.stop();
      if (
        attempt === 4 ||
        fixed !== undefined ||
        !child.tail().join('\n').includes('address already in use')
      ) {
        const isDeaf = binaries.docker !== undefined && hasRun;
        const why = isDeaf
          ? `its directory did not answer at ${directoryUrl}; ${HOST_NETWORK}`
          : (child.tail().at(-1) ?? child.exit() ?? 'its directory did not answer');
        throw new LocalError('ERR_LOCAL_START', `Pebble did not start: ${why}`);
      }
    }
  } catch (error) {
    await claim.release();
    throw error;
  }
}

function portTaken(port: number, dir: string): LocalError {
  return new LocalError(
    'ERR_LOCAL_IN_USE',
    `Pebble cannot listen on 127.0.0.1:${String(port)}, its port in ${dir}, because another program does; end that one (the port is part of directory_url, which cannot change).`,
  );
}

async function launch(
  options: PebbleOptions,
  binaries: PebbleBinaries,
  port: number,
  managementPort: number,
): Promise<OwnedProcess> {
  const { dir, eab, profiles } = options;
  const config = {
    listenAddress: `${HOST}:${String(port)}`,
    managementListenAddress: `${HOST}:${String(managementPort)}`,
    certificate: join(dir, 'cert.pem'),
    privateKey: join(dir, 'key.pem'),
    httpPort: options.httpPort,
    // Port 0 would break validation even where tls-alpn-01 is not used.
    tlsPort: options.tlsPort ?? 5001,
    ocspResponderURL: '',
    externalAccountBindingRequired: eab !== undefined,
    ...(eab === undefined ? {} : { externalAccountMACKeys: eab }),
    domainBlocklist: options.domainBlocklist ?? [],
    // Pebble's own 3 s and 5 s would decide how long everything takes.
    retryAfter: options.retryAfter ?? { authz: 0, order: 0 },
    keyAlgorithm: 'ecdsa',
    ...(profiles === undefined ? {} : { profiles }),
  };
  const file = join(dir, 'pebble.json');
  await writeFile(file, JSON.stringify({ pebble: config }, null, 2));
  const dns = options.dnsServer === undefined ? [] : ['-dnsserver', options.dnsServer];
  return startOwned({
    ...commandLine(binaries, binaries.pebble, {
      args: ['-config', file, '-strict', ...dns],
      env: {
        PEBBLE_VA_NOSLEEP: '1',
        ...percent('PEBBLE_AUTHZREUSE', options.authzReuse),
        ...percent('PEBBLE_WFE_NONCEREJECT', options.nonceReject),
        ...options.env,
      },
      folder: dir,
    }),
    stopSignals: ['SIGTERM', 'SIGKILL'],
    log: options.log,
  });
}

function percent(name: string, value: number | undefined): Record<string, string> {
  return value === undefined ? {} : { [name]: String(value) };
}

/** Makes the TLS key and certificate once; later starts use the same. Returns the CA. */
async function tlsFiles(dir: string): Promise<string> {
  const ca = join(dir, 'ca.pem');
  const kept = await readFile(ca, 'utf8').catch(() => undefined);
  if (kept !== undefined) return kept;
  const made = await makeTlsCertificate({ names: ['localhost'], ips: [HOST], days: 3650 });
  await writeFile(join(dir, 'key.pem'), made.keyPem, { mode: 0o600 });
  await writeFile(join(dir, 'cert.pem'), made.certPem);
  // Last: when it is there, the other two are.
  await writeFile(ca, made.caPem);
  return made.caPem;
}

/** Waits until the directory answers over TLS with our CA; false when Pebble ends before, or in 15 s. */
async function answers(url: string, ca: string, child: OwnedProcess): Promise<boolean> {
  const deadline = performance.now() + 15_000;
  while (child.exit() === undefined && performance.now() < deadline) {
    if ((await status(url, ca)) === 200) return child.exit() === undefined;
    await delay(10);
  }
  return false;
}

function status(url: string, ca: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    // Pebble 2.10 refuses requests without a User-Agent.
    const headers = { 'user-agent': 'pgacme' };
    const request = get(url, { ca, headers, agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      response.once('end', () => {
        resolve(response.statusCode);
      });
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => {
      resolve(undefined);
    });
    request.once('close', () => {
      resolve(undefined);
    });
  });
}
