import {
  calculateJwkThumbprint,
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
} from 'jose';
import { AcmeError, AcmeTrouble } from './problem.ts';

/** Signature algorithms of account keys that public CAs take (RFC 7518 §3.1); ES256 is the default. */
export type KeyAlgorithm = 'ES256' | 'ES384' | 'RS256';

/** An account key, imported once and ready to sign. */
export interface AccountKey {
  alg: KeyAlgorithm;
  privateKey: CryptoKey;
  /** The public members only, as a newAccount request shows them (RFC 8555 §6.2). */
  publicJwk: JWK;
  /** RFC 7638, SHA-256, base64url. */
  thumbprint: string;
}

/** Makes a fresh account key (RFC 8555 §11.1: one key, one account); seal `privateJwk` and keep it. */
export async function generateAccountKey(
  alg: KeyAlgorithm = 'ES256',
): Promise<AccountKey & { privateJwk: JWK }> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  const privateJwk = await exportJWK(privateKey);
  // Imported again, so that the key that lives in memory cannot be exported.
  return { ...(await importAccountKey(privateJwk)), privateJwk };
}

/** Imports a private JWK (RFC 7517); throws AcmeError ERR_ACME_KEY for one that cannot sign for us. */
export async function importAccountKey(privateJwk: JWK): Promise<AccountKey> {
  const alg = algorithmOf(privateJwk);
  const publicJwk = publicMembers(privateJwk);
  try {
    // Only the members of the key itself: `use`, `key_ops` or `alg` of another life do not matter.
    const { d, p, q, dp, dq, qi } = privateJwk;
    const members = { ...publicJwk, d, ...(alg === 'RS256' ? { p, q, dp, dq, qi } : {}) };
    const privateKey = await importJWK(members as JWK, alg, { extractable: false });
    if (privateKey instanceof Uint8Array || privateKey.type !== 'private') throw badKey();
    return { alg, privateKey, publicJwk, thumbprint: await thumbprintOf(publicJwk) };
  } catch (error) {
    throw error instanceof AcmeError ? error : badKey(error);
  }
}

/** The thumbprint of a public key: RFC 7638, SHA-256, base64url. */
export function thumbprintOf(jwk: JWK): Promise<string> {
  return calculateJwkThumbprint(jwk, 'sha256');
}

/**
 * The key authorization of a challenge (RFC 8555 §8.1): token, dot, thumbprint. Throws
 * ERR_ACME_BAD_ANSWER for a token that is not base64url, since tokens become paths and file names.
 */
export function keyAuthorization(token: string, key: AccountKey): string {
  if (!isToken(token)) {
    throw new AcmeTrouble(
      'ERR_ACME_BAD_ANSWER',
      'The token of the challenge is not base64url of 1 to 512 characters; report it to the CA.',
    );
  }
  return `${token}.${key.thumbprint}`;
}

/** Whether a token is base64url (RFC 8555 §8.3) of 1 to 512 characters. */
export function isToken(token: unknown): token is string {
  return typeof token === 'string' && /^[A-Za-z0-9_-]{1,512}$/.test(token);
}

function algorithmOf({ kty, crv, d }: JWK): KeyAlgorithm {
  if (typeof d === 'string') {
    if (kty === 'RSA') return 'RS256';
    if (kty === 'EC' && crv === 'P-256') return 'ES256';
    if (kty === 'EC' && crv === 'P-384') return 'ES384';
  }
  throw badKey();
}

function publicMembers({ kty, crv, x, y, n, e }: JWK): JWK {
  return (kty === 'RSA' ? { kty, n, e } : { kty, crv, x, y }) as JWK;
}

function badKey(cause?: unknown): AcmeError {
  return new AcmeError(
    'ERR_ACME_KEY',
    'The account key is not a private P-256, P-384 or RSA key in JWK form; give one of these.',
    cause === undefined ? undefined : { cause },
  );
}
