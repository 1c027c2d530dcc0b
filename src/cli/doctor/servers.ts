import { AcmeError, AcmeTrouble, printable, Server } from '../../acme/index.ts';
import type { ServerFacts } from './facts.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';

const TIMEOUT_MS = 10_000;

/** A server's answer, or what went wrong; asked once, for the checks of servers and of clocks. */
export interface Asked {
  server: ServerFacts;
  error: unknown;
  clockAheadMs: number | undefined;
}

/** Asks each server with an account for its directory, all at once, each with its CA bundle. */
export function askServers(servers: readonly ServerFacts[]): Promise<Asked[]> {
  return Promise.all(servers.filter(({ is_used }) => is_used).map(ask));
}

async function ask(row: ServerFacts): Promise<Asked> {
  const server = new Server({
    directoryUrl: row.directory_url,
    allowedHosts: row.allowed_hosts,
    connections: 1,
    ...(row.ca_bundle === null ? {} : { caBundle: row.ca_bundle }),
  });
  let error: unknown;
  try {
    await server.directory({ timeoutMs: TIMEOUT_MS });
  } catch (failure) {
    error = failure;
  }
  const { clockAheadMs } = server;
  await server.close();
  return { server: row, error, clockAheadMs };
}

/** Whether this machine reaches each ACME server that has an account. */
export function serversCheck(asked: Promise<Asked[]>): Check {
  return {
    name: 'ACME servers',
    async run({ facts }) {
      if (facts === undefined) return [];
      const answers = await asked;
      if (answers.length === 0) return [ok('No account names one yet.')];
      return answers.flatMap(({ server, error }): Finding[] => [
        error === undefined
          ? ok(`${server.name} (${server.directory_url}) answers.`)
          : problem(`${server.name}: ${sentence(server, error)}`),
        ...(server.is_paused
          ? [
              warning(
                `${server.name} is paused: ${printable(server.pause_reason ?? 'no reason given', 200)}. To go on: select acme.resume('server', '${server.name}');`,
              ),
            ]
          : []),
      ]);
    },
  };
}

/** TLS failures told apart, each with its own cure; everything else is a sentence already. */
function sentence({ directory_url: url, ca_bundle: bundle }: ServerFacts, error: unknown): string {
  if (!(error instanceof AcmeError)) throw error;
  if (!(error instanceof AcmeTrouble)) return error.message;
  switch (codeOf(error.cause)) {
    case 'CERT_HAS_EXPIRED':
      return `the TLS certificate of ${url}, or of its CA, has expired. Check the clock of this machine; else the CA has to renew it.`;
    case 'CERT_NOT_YET_VALID':
      return `the TLS certificate of ${url} is not valid yet. Check the clock of this machine.`;
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `the TLS certificate of ${url} is for another name. Check host name and DNS, and whether a proxy is between.`;
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return bundle === null
        ? `the TLS certificate of ${url} comes from a CA that is not trusted. For a private CA, put its root into acme.server.ca_bundle; for a public one, a proxy is between.`
        : `the TLS certificate of ${url} comes from none of the CAs in acme.server.ca_bundle. Put the root of today's certificate there.`;
    default:
      return error.message;
  }
}

function codeOf(cause: unknown): unknown {
  return typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
}
