import { type JsonWebKey, verify } from 'node:crypto';
import type { SignatureAlgorithm } from './csr.ts';
import { importJwk } from './public-key.ts';

interface Scheme {
  kty: string;
  hash: string | null;
}

/** The schemes that CAs accept on a CSR; SHA-1, MD5 and RSASSA-PSS are not among them. */
const schemes: ReadonlyMap<string, Scheme> = new Map([
  ['1.2.840.113549.1.1.11', { kty: 'RSA', hash: 'sha256' }],
  ['1.2.840.113549.1.1.12', { kty: 'RSA', hash: 'sha384' }],
  ['1.2.840.113549.1.1.13', { kty: 'RSA', hash: 'sha512' }],
  ['1.2.840.10045.4.3.2', { kty: 'EC', hash: 'sha256' }],
  ['1.2.840.10045.4.3.3', { kty: 'EC', hash: 'sha384' }],
  ['1.2.840.10045.4.3.4', { kty: 'EC', hash: 'sha512' }],
  ['1.3.101.112', { kty: 'OKP', hash: null }],
  ['1.3.101.113', { kty: 'OKP', hash: null }],
]);

const refused: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.4', 'MD5 with RSA'],
  ['1.2.840.113549.1.1.5', 'SHA-1 with RSA'],
  ['1.2.840.113549.1.1.10', 'RSASSA-PSS'],
  ['1.2.840.10045.4.1', 'SHA-1 with ECDSA'],
]);

/** What checking a signature can come to; `no_key`: the JWK is not a key, so nothing was checked. */
export type SignatureVerdict = 'good' | 'bad' | 'refused_algorithm' | 'no_key';

/** Checks a signature over `signed` with a key that has a JWK (RFC 2986 §3). Never throws. */
export function checkSignature(
  jwk: JsonWebKey,
  algorithm: SignatureAlgorithm,
  signed: Buffer,
  signature: Buffer,
): SignatureVerdict {
  const scheme = schemes.get(algorithm.id);
  // RFC 4055 §5, RFC 5758 §3.2: none of these has parameters. They are outside of what is signed.
  if (!scheme || !algorithm.plain) return 'refused_algorithm';
  const key = importJwk(jwk);
  if (!key) return 'no_key';
  if (scheme.kty !== jwk.kty) return 'bad';
  try {
    return verify(scheme.hash, signed, key, signature) ? 'good' : 'bad';
  } catch {
    // OpenSSL throws, instead of answering no, on some keys that no signature can fit.
    return 'bad';
  }
}

/** A readable name of a signature algorithm that {@link checkSignature} refuses. */
export function algorithmName({ id }: SignatureAlgorithm): string {
  if (schemes.has(id)) return `algorithm ${id} with parameters`;
  return refused.get(id) ?? `algorithm ${id}`;
}
