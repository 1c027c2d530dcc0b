import type { JWK } from 'jose';
import { accountFileError } from './error.ts';
import { httpsUrl, type JsonObject, jsonObject, objectOf, textOf, textsOf } from './json.ts';

/** What an export holds is nested three deep; a depth without end would be an attack. */
const MAX_DEPTH = 8;

/** An account with everything that its next owner, or a restored backup, needs. */
export interface AccountFile {
  server: {
    /** The name of its row in acme.server. */
    name: string;
    directoryUrl: string;
    /** PEM certificates that the server's HTTPS is trusted by; undefined: the usual ones. */
    caBundle?: string;
    /** Other hosts that its URLs may point at. */
    allowedHosts: string[];
  };
  /** The name of its row in acme.account. */
  name: string;
  /** The account URL, which is its identity (RFC 8555 §7.3). */
  url: string;
  /** RFC 7638, SHA-256, base64url: of `privateJwk`. */
  thumbprint: string;
  privateJwk: JWK;
  contact: string[];
  termsAgreed: boolean;
  /** The key id of the external account that it was bound to (RFC 8555 §7.3.4); its HMAC key is not needed any more. */
  eabKid?: string;
  /** DNS records that name the account (RFC 8657 `accounturi`, dns-persist-01), as text: they outlive a hand-over. */
  records: string[];
  /** ISO 8601. */
  exportedAt: string;
}

/** What stands in clear text beside the sealed part, so that a person sees what the file is. */
export interface Label {
  directory_url: string;
  account_url: string;
  thumbprint: string;
  exported_at: string;
}

/** The label of an account. */
export function labelOf(account: AccountFile): Label {
  return {
    directory_url: account.server.directoryUrl,
    account_url: account.url,
    thumbprint: account.thumbprint,
    exported_at: account.exportedAt,
  };
}

/** What is sealed: the label again, since what is in clear can be changed by anybody, and the rest. */
export function contentOf(format: string, version: number, account: AccountFile): JsonObject {
  return {
    format,
    version,
    ...labelOf(account),
    server: {
      name: account.server.name,
      directory_url: account.server.directoryUrl,
      ca_bundle: account.server.caBundle ?? null,
      allowed_hosts: account.server.allowedHosts,
    },
    account: {
      name: account.name,
      contact: account.contact,
      terms_agreed: account.termsAgreed,
      eab_kid: account.eabKid ?? null,
    },
    private_jwk: account.privateJwk,
    records: account.records,
  };
}

/**
 * Throws ERR_ACCOUNT_FILE where a text could forge what a terminal shows of the account. It is neither read nor
 * written, so that no backup turns out to be one that does not open.
 */
export function requirePlain(content: JsonObject): void {
  if (!isPlainBelow(content, 0)) {
    throw accountFileError(
      'A text of the account has control or invisible characters: a contact, a DNS record, the key id of its external account, a host, a URL or a name. Correct it where the account is exported.',
    );
  }
}

/** A CA bundle has lines of its own. */
function isPlainBelow(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return value === '' || textOf(value) !== undefined;
  if (typeof value !== 'object' || value === null) return true;
  return (
    depth < MAX_DEPTH &&
    Object.entries(value).every(
      ([name, each]) => name === 'ca_bundle' || isPlainBelow(each, depth + 1),
    )
  );
}

/** Reads what was sealed; throws ERR_ACCOUNT_FILE for what {@link contentOf} did not write. */
export function accountOf(content: string): AccountFile {
  const object = jsonObject(content);
  if (object !== undefined) requirePlain(object);
  const server = objectOf(object?.['server']);
  const account = objectOf(object?.['account']);
  const jwk = objectOf(object?.['private_jwk']);
  const directoryUrl = httpsUrl(server?.['directory_url']);
  const url = httpsUrl(object?.['account_url']);
  const name = textOf(account?.['name']);
  const serverName = textOf(server?.['name']);
  const thumbprint = textOf(object?.['thumbprint']);
  const exportedAt = textOf(object?.['exported_at']);
  if (
    directoryUrl === undefined ||
    url === undefined ||
    name === undefined ||
    serverName === undefined ||
    thumbprint === undefined ||
    exportedAt === undefined ||
    jwk === undefined
  ) {
    throw accountFileError(
      'What is sealed in the file is not an account of pgacme. Export the account anew.',
    );
  }
  const caBundle = server?.['ca_bundle'];
  const eabKid = textOf(account?.['eab_kid']);
  return {
    server: {
      name: serverName,
      directoryUrl,
      ...(typeof caBundle === 'string' && caBundle !== '' ? { caBundle } : {}),
      // Older exports have none.
      allowedHosts: textsOf(server?.['allowed_hosts']),
    },
    name,
    url,
    thumbprint,
    privateJwk: jwk,
    contact: textsOf(account?.['contact']),
    termsAgreed: account?.['terms_agreed'] === true,
    ...(eabKid === undefined ? {} : { eabKid }),
    records: textsOf(object?.['records']),
    exportedAt,
  };
}
