import { AcmeError, AcmeProblem, AcmeTrouble, type Directory, Server } from '../../acme/index.ts';
import type { ServerFact, ServerRecord } from '../../db/steps/steps.ts';
import type { Context } from '../context.ts';
import { remote } from '../remote.ts';

const TIMEOUT_MS = 30_000;
/** More profiles than any CA has: what a server says is bounded. */
const MAX_PROFILES = 50;

/**
 * Asks the servers that are due (acme_private.servers_to_look_at) for their directories, and stores what they say
 * (acme.server_feature) and whether they answer (acme.attention). A directory costs no limit.
 */
export async function lookAtServers(context: Context): Promise<void> {
  for (const row of await context.steps.serversToLookAt()) {
    if (context.stopping.aborted) return;
    await lookAt(row, context);
  }
}

async function lookAt(row: ServerRecord, { steps, stopping, log }: Context): Promise<void> {
  // One of its own: the workers' may be closed at any time, when its row has changed.
  const server = new Server({
    directoryUrl: row.directory_url,
    allowedHosts: row.allowed_hosts,
    connections: 1,
    ...(row.ca_bundle === null ? {} : { caBundle: row.ca_bundle }),
  });
  try {
    const call = { signal: stopping, timeoutMs: TIMEOUT_MS };
    const directory = await remote('server.directory', () => server.directory(call));
    await steps.serverFactsStored(row.id, 'directory', factsOfDirectory(directory));
    await steps.serverAnswered(row.id, null);
  } catch (error) {
    if (!(error instanceof AcmeError)) throw error;
    // A worker that ends has cut the request itself.
    if (stopping.aborted) return;
    log.info({ server: row.name, reason: error.message }, 'the directory could not be read');
    await steps.serverAnswered(row.id, whyNoAnswer(error));
  } finally {
    await server.close();
  }
}

/** Without an address: who reads acme.attention may not know where an internal server is. */
export function whyNoAnswer(error: AcmeError): string {
  if (error instanceof AcmeProblem) return `It answered ${error.status} (${error.type})`;
  if (!(error instanceof AcmeTrouble)) return `It gave no directory (${error.code})`;
  if (error.status !== undefined) return `It answered ${error.status}`;
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : error.code;
  return `${CAUSES[code] ?? 'It could not be reached'} (${code.slice(0, 60)})`;
}

const CAUSES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'It refuses connections',
  ENOTFOUND: 'Its host name cannot be found',
  EAI_AGAIN: 'Its host name cannot be found',
  ERR_ACME_TIMEOUT: 'It gave no answer in time',
  ERR_ACME_NOT_JSON: 'It answered something that is not JSON',
  CERT_HAS_EXPIRED: 'Its TLS certificate has expired',
  SELF_SIGNED_CERT_IN_CHAIN: 'Its TLS certificate is not trusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'Its TLS certificate is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'Its TLS certificate is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'Its TLS certificate is not trusted',
};

/** What a directory says (RFC 8555 §7.1.1), also by leaving it out. */
export function factsOfDirectory(directory: Directory): ServerFact[] {
  const { meta, newAuthz, keyChange, revokeCert, renewalInfo } = directory;
  const { profiles, externalAccountRequired, termsOfService, website, caaIdentities } = meta;
  const names = Object.entries(profiles ?? {}).slice(0, MAX_PROFILES);
  return [
    fact('new_authz', 'newAuthz', newAuthz !== undefined),
    fact('key_change', 'keyChange', keyChange !== undefined),
    fact('revoke_cert', 'revokeCert', revokeCert !== undefined),
    fact('renewal_info', 'renewalInfo', renewalInfo !== undefined),
    fact('profiles', 'meta.profiles', names.length > 0, Object.fromEntries(names)),
    fact(
      'external_account_required',
      'meta.externalAccountRequired',
      externalAccountRequired === true,
    ),
    fact('terms_of_service', 'meta.termsOfService', termsOfService !== undefined, termsOfService),
    fact('website', 'meta.website', website !== undefined, website),
    fact(
      'caa_identities',
      'meta.caaIdentities',
      (caaIdentities ?? []).length > 0,
      caaIdentities?.slice(0, 50),
    ),
  ];
}

function fact(feature: string, member: string, isThere: boolean, value?: unknown): ServerFact {
  return isThere
    ? {
        feature,
        support: 'yes',
        source: `the directory has ${member}`,
        ...(value === undefined ? {} : { value }),
      }
    : { feature, support: 'no', source: `the directory has no ${member}` };
}
