import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { bits, DerReader, type Element, oid, Tag, unsigned, within } from './der.ts';
import { X509Error } from './errors.ts';
import { type Reason, reason } from './reason.ts';

/** A public key as a CSR or certificate carries it. */
export interface PublicKey {
  /** A readable name: `RSA-2048`, `P-256`, `Ed25519`, `RSA-PSS`, or the object identifier. */
  type: string;
  /** What is wrong with the key itself, whatever the types that a server takes. */
  fault?: Reason;
  /** The key as a JWK, where we can check signatures made with it. */
  jwk?: JsonWebKey;
}

const curves: ReadonlyMap<string, { name: string; bytes?: number }> = new Map([
  ['1.2.840.10045.3.1.7', { name: 'P-256', bytes: 32 }],
  ['1.3.132.0.34', { name: 'P-384', bytes: 48 }],
  ['1.3.132.0.35', { name: 'P-521', bytes: 66 }],
  ['1.3.132.0.10', { name: 'secp256k1', bytes: 32 }],
  ['1.3.132.0.33', { name: 'P-224' }],
  ['1.2.840.10045.3.1.1', { name: 'P-192' }],
  ['1.3.36.3.3.2.8.1.1.7', { name: 'brainpoolP256r1' }],
  ['1.3.36.3.3.2.8.1.1.11', { name: 'brainpoolP384r1' }],
  ['1.3.36.3.3.2.8.1.1.13', { name: 'brainpoolP512r1' }],
]);

const otherTypes: ReadonlyMap<string, string> = new Map([
  ['1.3.101.110', 'X25519'],
  ['1.3.101.111', 'X448'],
  ['1.2.840.113549.1.1.10', 'RSA-PSS'],
  ['1.2.840.10040.4.1', 'DSA'],
  ['2.16.840.1.101.3.4.3.17', 'ML-DSA-44'],
  ['2.16.840.1.101.3.4.3.18', 'ML-DSA-65'],
  ['2.16.840.1.101.3.4.3.19', 'ML-DSA-87'],
]);

const edwards: ReadonlyMap<string, string> = new Map([
  ['1.3.101.112', 'Ed25519'],
  ['1.3.101.113', 'Ed448'],
]);

/** Keys above this are never used: their size is the sender's choice, their cost would be ours. */
const MAX_RSA_BITS = 8192;

/** Reads a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7); throws DerError. */
export function readPublicKey(spki: Element): PublicKey {
  const info = within(spki);
  const algorithm = info.enter(Tag.sequence, "the key's algorithm");
  const id = oid(algorithm.next(Tag.oid, "the key's algorithm"));
  const key = info.next(Tag.bitString, 'the public key');
  info.finish('the public key');
  if (id === '1.2.840.113549.1.1.1') return rsa(algorithm, key);
  if (id === '1.2.840.10045.2.1') return ellipticCurve(algorithm, bits(key));
  const crv = edwards.get(id);
  if (crv) return { type: crv, jwk: { kty: 'OKP', crv, x: bits(key).toString('base64url') } };
  return { type: otherTypes.get(id) ?? `OID ${id}` };
}

/** The members of a public JWK that we look at; any library's JWK type fits. */
export interface PublicJwk {
  kty?: string | undefined;
  crv?: string | undefined;
  x?: string | undefined;
  y?: string | undefined;
  n?: string | undefined;
  e?: string | undefined;
}

/** The SHA-256 of a DER SubjectPublicKeyInfo, by which keys are compared. */
export function spkiHash(spkiDer: Uint8Array): Buffer {
  return createHash('sha256').update(spkiDer).digest();
}

/**
 * The SHA-256 over the DER SubjectPublicKeyInfo of an EC, RSA or Ed25519 JWK (RFC 7517). Private
 * members are not looked at. Rejects with X509Error `ERR_X509_KEY` if it is no such key.
 */
export async function spkiSha256OfJwk(publicJwk: PublicJwk): Promise<Buffer> {
  const { kty, crv, x, y, n, e } = publicJwk;
  const members = Object.entries({ kty, crv, x, y, n, e }).filter(([, v]) => v !== undefined);
  const key = importJwk(Object.fromEntries(members));
  if (!key) {
    throw new X509Error('ERR_X509_KEY', 'The JWK is not a public EC, RSA or Ed25519 key.');
  }
  return Promise.resolve(spkiHash(key.export({ type: 'spki', format: 'der' })));
}

/** The key of a JWK; undefined if it is none, for example a point that is not on its curve. */
export function importJwk(jwk: JsonWebKey): KeyObject | undefined {
  try {
    // A JWK is imported in half the time that OpenSSL takes to decode a SubjectPublicKeyInfo.
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    return undefined;
  }
}

function rsa(algorithm: DerReader, key: Element): PublicKey {
  const outer = new DerReader(bits(key), key.offset + 1);
  const numbers = outer.enter(Tag.sequence, 'the RSA key');
  const modulus = numbers.next(Tag.integer, 'the RSA modulus');
  const exponent = numbers.next(Tag.integer, 'the RSA exponent');
  numbers.finish('the RSA key');
  outer.finish('the RSA key');
  const encoding = encodingFault('modulus', modulus) ?? encodingFault('exponent', exponent);
  if (encoding) return { type: rsaType(modulus.content), fault: encoding };
  const n = unsigned(modulus);
  const e = unsigned(exponent);
  const type = rsaType(n);
  if (n.length * 8 > MAX_RSA_BITS) return { type };
  const jwk = { kty: 'RSA', n: n.toString('base64url'), e: e.toString('base64url') };
  const fault = rsaFault(algorithm, n, e);
  return fault ? { type, jwk, fault } : { type, jwk };
}

/** `RSA-` and the length in bits of a number without sign. */
function rsaType(content: Buffer): string {
  const first = content.findIndex((byte) => byte !== 0);
  const n = content.subarray(Math.max(first, 0));
  return `RSA-${n.length * 8 - Math.clz32(n[0] ?? 0) + 24}`;
}

/** Some tools leave out the zero byte in front of a number whose first bit is set; DER then reads it as negative. */
function encodingFault(which: string, number: Element): Reason | undefined {
  const [first = 0x80, second] = number.content;
  const fault =
    first >= 0x80 ? 'negative' : first === 0 && second !== undefined && second < 0x80 && 'padded';
  if (fault === false) return undefined;
  return reason(
    'key_invalid',
    `The RSA ${which} is ${fault}, since the tool encoded it wrongly; make the CSR with another tool.`,
  );
}

function rsaFault(algorithm: DerReader, n: Buffer, e: Buffer): Reason | undefined {
  // RFC 3279 §2.3.1: the parameters are NULL. CAs refuse keys without it.
  const parameters = algorithm.done ? undefined : algorithm.any("the key's parameters");
  if (parameters?.tag !== Tag.null || parameters.content.length !== 0) {
    return reason(
      'key_invalid',
      'The RSA key lacks its NULL parameters; make the CSR with another tool.',
    );
  }
  // CA/Browser Forum baseline requirements §6.1.6: odd, and at least 2^16 + 1.
  const small = e.length < 3 ? e.readUIntBE(0, e.length) : undefined;
  if (small !== undefined || isEven(e)) {
    const shown = small === undefined ? 'is even' : `is ${small}`;
    return reason(
      'key_invalid',
      `The RSA key's exponent ${shown}; make a key with exponent 65537.`,
    );
  }
  if (isEven(n)) return reason('key_invalid', 'The RSA modulus is even; make a new key.');
  return undefined;
}

function ellipticCurve(algorithm: DerReader, point: Buffer): PublicKey {
  // RFC 5480 §2.1.1: only named curves. Parameters spelled out are never given to OpenSSL.
  const parameters = algorithm.nextIf(Tag.oid, 'the curve');
  if (!parameters) return { type: 'EC with explicit parameters' };
  const id = oid(parameters);
  const curve = curves.get(id);
  const type = curve?.name ?? `EC on curve ${id}`;
  if (curve?.bytes === undefined) return { type };
  // RFC 5480 §2.2 leaves compressed points optional; CAs refuse them, and one key would have two
  // SubjectPublicKeyInfos and so two hashes.
  if (point[0] !== 0x04 || point.length !== 1 + 2 * curve.bytes) {
    const text = `The ${type} key is not an uncompressed point; make the CSR with uncompressed points.`;
    return { type, fault: reason('key_invalid', text) };
  }
  const x = point.subarray(1, 1 + curve.bytes).toString('base64url');
  const y = point.subarray(1 + curve.bytes).toString('base64url');
  return { type, jwk: { kty: 'EC', crv: type, x, y } };
}

function isEven(number: Buffer): boolean {
  return ((number.at(-1) ?? 0) & 1) === 0;
}
