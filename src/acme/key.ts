import {
  createPrivateKey,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  sign as signature,
  verify,
} from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { AcmeError, AcmeTrouble } from './problem.ts';

/** Signature algorithms of account keys that public CAs take (RFC 7518 §3.1); ES256 is the default. */
export type KeyAlgorithm = 'ES256' | 'ES384' | 'RS256';

const HASHES: Readonly<Record<KeyAlgorithm, string>> = {
  ES256: 'sha256',
  ES384: 'sha384',
  RS256: 'sha256',
};

const MIN_RSA_BITS = 2048;

/**
 * An account key (RFC 8555 §6.2), ready to sign. `importAccountKey` makes one of a JWK; a key that lives elsewhere (a
 * KMS, an HSM) is an object of this shape whose `sign` asks there.
 */
export interface AccountKey {
  alg: KeyAlgorithm;
  /** The signature over these bytes in the form of JWS (RFC 7518 §3.3, §3.4: for ECDSA, r and s). */
  sign(bytes: Uint8Array): Uint8Array | Promise<Uint8Array>;
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
  // Imported again, so that the key that signs is one that was found good.
  return { ...(await importAccountKey(privateJwk)), privateJwk };
}

/** Imports a private JWK (RFC 7517 §4, RFC 7518 §6); throws AcmeError ERR_ACME_KEY for one that cannot sign for us. */
export async function importAccountKey(privateJwk: JWK): Promise<AccountKey> {
  const alg = algorithmOf(privateJwk);
  const privateKey = keyOf(privateJwk);
  try {
    const sign = signer(alg, privateKey);
    const publicKey = createPublicKey(privateKey);
    if (!isPair(alg, sign, publicKey)) throw badKey();
    const publicJwk = publicKey.export({ format: 'jwk' });
    return { alg, sign, publicJwk, thumbprint: await thumbprintOf(publicJwk) };
  } catch (error) {
    throw error instanceof AcmeError ? error : badKey(error);
  }
}

/**
 * The members of a private key alone, each in its one spelling (RFC 7518 §6.2, §6.3): what is stored of a JWK that
 * others wrote. Throws as {@link importAccountKey} does.
 */
export function privateMembers(privateJwk: JWK): JWK {
  algorithmOf(privateJwk);
  return keyOf(privateJwk).export({ format: 'jwk' });
}

/**
 * Synchronous, and not by WebCrypto as the rest: a certificate takes seven signatures, and the way to
 * a thread and back costs five times what the signature does (55 against 300 µs for ES256).
 */
function signer(alg: KeyAlgorithm, key: KeyObject): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => signature(HASHES[alg], bytes, { key, dsaEncoding: 'ieee-p1363' });
}

function isPair(
  alg: KeyAlgorithm,
  sign: (bytes: Uint8Array) => Uint8Array,
  key: KeyObject,
): boolean {
  const bytes = Buffer.from('a pair signs what it verifies');
  return verify(HASHES[alg], bytes, { key, dsaEncoding: 'ieee-p1363' }, sign(bytes));
}

/**
 * The key of a JWK. Base64 of other kinds, and zeros too many or too few, are read, too; what is shown of the key is
 * therefore taken from it, not from the JWK: its thumbprint is the CA's. `use`, `key_ops` or `alg` of another life do
 * not matter.
 */
function keyOf({ kty, crv, x, y, n, e, d, p, q, dp, dq, qi }: JWK): KeyObject {
  const members = kty === 'RSA' ? { kty, n, e, d, p, q, dp, dq, qi } : { kty, crv, x, y, d };
  const key = readKey(members);
  const { modulusLength } = key.asymmetricKeyDetails ?? {};
  if (modulusLength !== undefined && modulusLength < MIN_RSA_BITS) {
    throw new AcmeError(
      'ERR_ACME_KEY',
      `The account key is an RSA key of ${modulusLength} bits, and signatures of ACME take ${MIN_RSA_BITS} or more (RFC 7518 §3.3); give a longer one, or a P-256 key.`,
    );
  }
  return key;
}

function readKey(jwk: object): KeyObject {
  try {
    return createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' });
  } catch (error) {
    throw badKey(error);
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
  assertToken(token);
  return `${token}.${key.thumbprint}`;
}

/** Throws ERR_ACME_BAD_ANSWER for what is no token. */
export function assertToken(token: string): void {
  if (isToken(token)) return;
  throw new AcmeTrouble(
    'ERR_ACME_BAD_ANSWER',
    'The token of the challenge is not base64url of 1 to 512 characters; report it to the CA.',
  );
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

function badKey(cause?: unknown): AcmeError {
  return new AcmeError(
    'ERR_ACME_KEY',
    'The account key is not a private P-256, P-384 or RSA key in JWK form; give one of these.',
    cause === undefined ? undefined : { cause },
  );
}
