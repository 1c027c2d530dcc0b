import { compactDecrypt, CompactEncrypt } from 'jose';
import { PgacmeError } from './errors.ts';

/**
 * Sealing: secrets go into the database only as a JWE (RFC 7516) made with a key that the database
 * never sees. Its protected header says what the secret is for, so that a sealed value which was
 * moved to another row, or another server, does not open.
 */

/** What a sealed secret belongs to. */
export interface Binding {
  purpose: 'account-key';
  /** The name of the row: the account's. */
  row: string;
  /** Scheme, host and port of the server's directory. */
  origin: string;
}

/** The key that seals: 32 bytes, from PGACME_SECRET_KEY. */
export interface SealingKey {
  /** Tells which key sealed a value, without telling the key: the start of its SHA-256. */
  id: string;
  bytes: Uint8Array;
}

/**
 * Reads the base64 form of a sealing key.
 *
 * @throws PgacmeError ERR_SECRET_KEY when it is not 32 bytes.
 */
export async function sealingKey(base64: string): Promise<SealingKey> {
  const bytes = Buffer.from(base64.trim(), 'base64');
  if (bytes.length !== 32) {
    throw new PgacmeError(
      'ERR_SECRET_KEY',
      'The secret key must be 32 bytes in base64. Make one with: openssl rand -base64 32',
    );
  }
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return { id: Buffer.from(digest).subarray(0, 8).toString('base64url'), bytes };
}

/** Seals a value for what it belongs to: a JWE in compact form (direct, A256GCM). */
export async function seal(key: SealingKey, binding: Binding, value: unknown): Promise<string> {
  return new CompactEncrypt(new TextEncoder().encode(JSON.stringify(value)))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: key.id, ...binding })
    .encrypt(key.bytes);
}

/**
 * Opens a sealed value.
 *
 * @throws PgacmeError ERR_SEALED when it was sealed with another key, or for something else.
 */
export async function open(key: SealingKey, binding: Binding, jwe: string): Promise<unknown> {
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, key.bytes, {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    const is = protectedHeader as Partial<Binding>;
    if (is.purpose === binding.purpose && is.row === binding.row && is.origin === binding.origin) {
      return JSON.parse(new TextDecoder().decode(plaintext));
    }
  } catch (cause) {
    throw new PgacmeError(
      'ERR_SEALED',
      `The ${binding.purpose} of ${binding.row} was not sealed with this worker's secret key (${key.id}). ` +
        'Give the worker the PGACME_SECRET_KEY that was used before.',
      { cause },
    );
  }
  throw new PgacmeError(
    'ERR_SEALED',
    `The ${binding.purpose} of ${binding.row} is sealed for another row or server and is not used.`,
  );
}
