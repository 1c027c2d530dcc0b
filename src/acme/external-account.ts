import { createHmac } from 'node:crypto';
import { flattened, type FlattenedJws } from './jws.ts';
import type { AccountKey } from './key.ts';
import { AcmeError } from './problem.ts';
import { isPlain } from './text.ts';

/** The key that a CA gives to one of its customers, to bind an ACME account with (RFC 8555 §7.3.4). */
export interface ExternalAccount {
  /** The CA's name of the key. */
  kid: string;
  /** The MAC key itself: `externalAccountKey` makes it of the text that CAs hand out. */
  hmacKey: Uint8Array;
  /** HS256 unless given; CAs name another one where they want it. */
  alg?: 'HS256' | 'HS384' | 'HS512';
}

const HASHES = { HS256: ['sha256', 32], HS384: ['sha384', 48], HS512: ['sha512', 64] } as const;

/**
 * The MAC key of an external account from the text that the CA hands out: base64url (RFC 8555 §7.3.4),
 * and plain base64 too, with or without padding. Throws ERR_ACME_EAB, without showing the key.
 */
export function externalAccountKey(text: string): Uint8Array {
  const digits = text.trim().replace(/={1,2}$/, '');
  if (!/^([\w-]+|[A-Za-z0-9+/]+)$/.test(digits) || digits.length % 4 === 1) {
    throw new AcmeError(
      'ERR_ACME_EAB',
      'The MAC key of the external account is not base64url; give it as the CA shows it, on one line.',
    );
  }
  return Buffer.from(digits, 'base64url');
}

/**
 * The binding: the account's public key under the MAC (RFC 8555 §7.3.4). Its header has the URL of
 * newAccount and no nonce.
 */
export async function bindingOf(
  { kid, hmacKey, alg = 'HS256' }: ExternalAccount,
  url: string,
  key: AccountKey,
): Promise<FlattenedJws> {
  const [hash, length] = HASHES[alg];
  if (!isPlain(kid, 500)) {
    throw new AcmeError(
      'ERR_ACME_EAB',
      'The key id of the external account is empty, too long or not plain text; give it as the CA shows it.',
    );
  }
  // RFC 7518 §3.2; servers refuse it too, but with an error that names no reason.
  if (hmacKey.length < length) {
    throw new AcmeError(
      'ERR_ACME_EAB',
      `The MAC key of the external account has ${hmacKey.length} bytes, and ${alg} needs ${length} or more; check that it is copied whole, and the algorithm that the CA names.`,
    );
  }
  const mac = (bytes: Uint8Array) => createHmac(hash, hmacKey).update(bytes).digest();
  return flattened({ alg, kid, url }, JSON.stringify(key.publicJwk), mac);
}
