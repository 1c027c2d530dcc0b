import { setTimeout as delay } from 'node:timers/promises';
import { commandLine, HOST_NETWORK } from './docker.ts';
import { LocalError } from './local-error.ts';
import { type OwnedProcess, startOwned } from './owned-process.ts';
import { findPebble } from './pebble-binaries.ts';
import type { PebbleBinaries } from './pebble-programs.ts';
import { freePort } from './ports.ts';

/** One DNS question as pebble-challtestsrv recorded it; names there have no trailing dot. */
export interface DnsQuestion {
  name: string;
  /** The DNS type's number: 1 A, 16 TXT, 28 AAAA, 257 CAA. */
  type: number;
}

/** pebble-challtestsrv as a DNS server: every name is 127.0.0.1 unless told otherwise. */
export interface ChallengeTestServer {
  /** `host:port`, for Pebble's `dnsServer`; UDP and TCP. */
  dnsServer: string;
  managementUrl: string;
  pid: number;
  setA(host: string, addresses: readonly string[]): Promise<void>;
  clearA(host: string): Promise<void>;
  addTxt(host: string, value: string): Promise<void>;
  clearTxt(host: string): Promise<void>;
  setServfail(host: string): Promise<void>;
  clearServfail(host: string): Promise<void>;
  /** What was asked about exactly that name, oldest first. */
  dnsHistory(host: string): Promise<DnsQuestion[]>;
  clearDnsHistory(host: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts pebble-challtestsrv on 127.0.0.1 with its DNS and its management interface only, and waits
 * until both listen. It ends with this process.
 * @throws LocalError `ERR_LOCAL_MISSING` when Pebble was found without it, `ERR_LOCAL_START` otherwise.
 */
export async function startChallengeTestServer(
  options: { binaries?: PebbleBinaries; log?: (line: string) => void } = {},
): Promise<ChallengeTestServer> {
  const binaries = options.binaries ?? (await findPebble());
  const program = binaries.challtestsrv;
  if (program === undefined) {
    throw new LocalError(
      'ERR_LOCAL_MISSING',
      `pebble-challtestsrv is not beside ${binaries.pebble}; install it there or in PATH.`,
    );
  }
  for (let attempt = 0; ; attempt++) {
    const dnsServer = `127.0.0.1:${String(await freePort())}`;
    const management = `127.0.0.1:${String(await freePort())}`;
    const child = startOwned({
      ...commandLine(binaries, program, { args: flags(binaries.version, dnsServer, management) }),
      stopSignals: ['SIGTERM', 'SIGKILL'],
      log: options.log,
    });
    if (await ready(`http://${management}`, child)) return server(child, dnsServer, management);
    const isDeaf = binaries.docker !== undefined && child.exit() === undefined;
    await child.stop();
    if (attempt === 4 || !child.tail().join('\n').includes('address already in use')) {
      const why = isDeaf
        ? `it did not answer at ${management}; ${HOST_NETWORK}`
        : (child.tail().at(-1) ?? child.exit() ?? 'it did not answer');
      throw new LocalError('ERR_LOCAL_START', `pebble-challtestsrv did not start: ${why}`);
    }
  }
}

function flags(version: PebbleBinaries['version'], dns: string, management: string): string[] {
  const off = ['-http01', '', '-https01', '', '-tlsalpn01', ''];
  // Pebble asks for AAAA first and has no fallback, so there is no IPv6 address by default.
  const addresses = ['-defaultIPv4', '127.0.0.1', '-defaultIPv6', ''];
  const names = version === '2.4' ? ['-dns01', dns] : ['-dnsserver', dns, '-doh', ''];
  return ['-management', management, ...names, ...off, ...addresses];
}

function server(child: OwnedProcess, dnsServer: string, management: string): ChallengeTestServer {
  const managementUrl = `http://${management}`;
  const tell = async (path: string, body: object) => {
    await post(managementUrl, path, body);
  };
  // 2.4 wants the trailing dot in these names, 2.10 takes it.
  const dotted = (host: string) => (host.endsWith('.') ? host : `${host}.`);
  return {
    dnsServer,
    managementUrl,
    pid: child.pid,
    setA: (host, addresses) => tell('add-a', { host, addresses }),
    clearA: (host) => tell('clear-a', { host }),
    addTxt: (host, value) => tell('set-txt', { host: dotted(host), value }),
    clearTxt: (host) => tell('clear-txt', { host: dotted(host) }),
    setServfail: (host) => tell('set-servfail', { host }),
    clearServfail: (host) => tell('clear-servfail', { host }),
    async dnsHistory(host) {
      const answer = await post(managementUrl, 'dns-request-history', { host });
      return questions(JSON.parse(answer));
    },
    clearDnsHistory: (host) => tell('clear-request-history', { host, type: 'dns' }),
    stop: () => child.stop(),
  };
}

async function post(base: string, path: string, body: object): Promise<string> {
  const response = await fetch(`${base}/${path}`, { method: 'POST', body: JSON.stringify(body) });
  const text = await response.text();
  if (response.ok) return text;
  throw new LocalError(
    'ERR_LOCAL_ANSWER',
    `pebble-challtestsrv answered ${path} with ${String(response.status)}: ${text.trim()}`,
  );
}

/** History entries: `{"Question":{"Name":"example.com.","Qtype":1,"Qclass":1}}`. */
function questions(history: unknown): DnsQuestion[] {
  if (!Array.isArray(history)) return [];
  return history.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null || !('Question' in entry)) return [];
    const question = entry.Question;
    if (typeof question !== 'object' || question === null) return [];
    if (!('Name' in question) || !('Qtype' in question)) return [];
    if (typeof question.Name !== 'string' || typeof question.Qtype !== 'number') return [];
    return [{ name: question.Name.replace(/\.$/, ''), type: question.Qtype }];
  });
}

async function ready(managementUrl: string, child: OwnedProcess): Promise<boolean> {
  const deadline = performance.now() + 15_000;
  while (child.exit() === undefined && performance.now() < deadline) {
    const ok = await post(managementUrl, 'dns-request-history', { host: 'ready.invalid' }).then(
      () => true,
      () => false,
    );
    if (ok) return child.exit() === undefined;
    await delay(10);
  }
  return false;
}
