import { compactDecrypt, CompactEncrypt, decodeProtectedHeader } from 'jose';
import { PgacmeError } from '../errors.ts';

/**
 * Sealing: secrets go into the database only as a JWE (RFC 7516) made with a key that the database
 * never sees. Its protected header says what the secret is for, so that a sealed value which was
 * moved to another row, or another server, does not open.
 */

/** What a sealed secret belongs to. */
export interface Binding {
  /** The private key of an account, or the HMAC key of its external account binding. */
  purpose: 'account-key' | 'eab-hmac';
  /** The name of the row: the account's. */
  row: string;
  /** Scheme, host and port of the server's directory. */
  origin: string;
}

/** What stands in the header of a sealed value, as it stands there. */
export interface SealedFor {
  kid: string | undefined;
  purpose?: unknown;
  row?: unknown;
  origin?: unknown;
}

/** A key that seals: 32 bytes. */
export interface SealingKey {
  /** Tells which key sealed a value, without telling the key: the start of its SHA-256. */
  id: string;
  bytes: Uint8Array;
}

/** The keys of PGACME_SECRET_KEY: the first one seals, all of them open. */
export type SealingKeys = readonly [SealingKey, ...SealingKey[]];

/**
 * Reads sealing keys in base64, separated by white space or commas: several while they are being
 * changed (docs/accounts.md).
 *
 * @throws PgacmeError ERR_SECRET_KEY when there is none, or one is not 32 bytes.
 */
export async function sealingKeys(text: string): Promise<SealingKeys> {
  const [first, ...others] = await Promise.all(splitKeys(text).map(sealingKey));
  if (first === undefined) throw badSecretKey();
  return [first, ...others];
}

/** The keys in a text, each in base64. */
export function splitKeys(text: string): string[] {
  return text.split(/[\s,]+/).filter((key) => key !== '');
}

/** Whether a text is 32 bytes in base64. */
export function isSealingKey(base64: string): boolean {
  return /^[A-Za-z0-9+/]{43}=?$/.test(base64) && Buffer.from(base64, 'base64').length === 32;
}

async function sealingKey(base64: string): Promise<SealingKey> {
  if (!isSealingKey(base64)) throw badSecretKey();
  const bytes = Buffer.from(base64, 'base64');
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return { id: Buffer.from(digest).subarray(0, 8).toString('base64url'), bytes };
}

function badSecretKey(): PgacmeError {
  return new PgacmeError(
    'ERR_SECRET_KEY',
    'The secret key must be 32 bytes in base64. Make one with: openssl rand -base64 32',
  );
}

/** Seals a value for what it belongs to: a JWE in compact form (direct, A256GCM). */
export async function seal([key]: SealingKeys, binding: Binding, value: unknown): Promise<string> {
  return new CompactEncrypt(new TextEncoder().encode(JSON.stringify(value)))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: key.id, ...binding })
    .encrypt(key.bytes);
}

/**
 * Opens a sealed value.
 *
 * @throws PgacmeError ERR_SEALED when it was sealed with another key, or for something else.
 */
export async function open(keys: SealingKeys, binding: Binding, jwe: string): Promise<unknown> {
  const { kid, ...is } = sealedFor(jwe);
  const key = keys.find(({ id }) => id === kid);
  if (key === undefined) {
    throw new PgacmeError(
      'ERR_SEALED',
      `The ${binding.purpose} of ${binding.row} was sealed with the secret key ${kid ?? '(none)'}, and PGACME_SECRET_KEY here has ${keys.map(({ id }) => id).join(', ')}. ` +
        'Give the PGACME_SECRET_KEY that was used before.',
    );
  }
  if (is.purpose !== binding.purpose || is.row !== binding.row || is.origin !== binding.origin) {
    throw new PgacmeError(
      'ERR_SEALED',
      `The ${binding.purpose} of ${binding.row} is sealed for another row or server and is not used.`,
    );
  }
  try {
    const { plaintext } = await compactDecrypt(jwe, key.bytes, {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    return JSON.parse(new TextDecoder().decode(plaintext));
  } catch (cause) {
    throw new PgacmeError(
      'ERR_SEALED',
      `The ${binding.purpose} of ${binding.row} does not open: it was changed after it was sealed.`,
      { cause },
    );
  }
}

/** What a sealed value says of itself, which is proved only once it is opened; `kid` can be shown. */
export function sealedFor(jwe: string): SealedFor {
  try {
    const { kid, purpose, row, origin } = decodeProtectedHeader(jwe);
    const id = typeof kid === 'string' && /^[\w-]{1,32}$/.test(kid) ? kid : undefined;
    return { kid: id, purpose, row, origin };
  } catch {
    return { kid: undefined };
  }
}
