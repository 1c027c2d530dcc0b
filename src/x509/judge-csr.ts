import type { JsonWebKey } from 'node:crypto';
import { findCsr, notACsr, parseCsr, type ParsedCsr } from './csr.ts';
import { DerError } from './der.ts';
import { type Extensions, Oid, readKeyPurposes } from './extensions.ts';
import { judgeNames } from './judge-names.ts';
import { showText } from './printable.ts';
import { readPublicKey, spkiHash } from './public-key.ts';
import { type Reason, reason } from './reason.ts';
import { algorithmName, checkSignature } from './signature.ts';

/** A readable name of a public key's type, such as `RSA-2048` or `P-256`; keys come in any. */
export type KeyType = string;

/** The key types that Let's Encrypt, and nearly every other public CA, accepts. */
export const defaultKeyTypes: readonly string[] = Object.freeze([
  'RSA-2048',
  'RSA-3072',
  'RSA-4096',
  'P-256',
  'P-384',
]);

/** A CSR that passed. */
export interface Csr {
  der: Uint8Array;
  /** DNS names: lower case, no trailing dot, no duplicates, sorted. */
  identifiers: string[];
  keyType: KeyType;
  /** SHA-256 over the DER SubjectPublicKeyInfo. */
  spkiSha256: Buffer;
}

/** What a CSR is judged by. */
export interface CsrRules {
  /** Key types that the server takes, as in {@link defaultKeyTypes}. */
  keyTypes: readonly string[];
  /** How many names one certificate may have. */
  maxNames: number;
  /** What the server refuses that a CSR may ask for; nothing, if left out. */
  refusedFeatures?: readonly string[];
  /** Hashes, as in {@link Csr.spkiSha256}, of the ACME accounts' keys (RFC 8555 §11.1). */
  accountKeySpkis?: readonly Buffer[];
}

/**
 * A CSR, or everything that is wrong with it. Of a refused one too, as far as they could be read: the
 * names that are right, and the hash of its key, so that the caller can go on judging.
 */
export type CsrVerdict =
  | { ok: true; csr: Csr }
  | { ok: false; reasons: Reason[]; identifiers: string[]; spkiSha256?: Buffer };

/**
 * Judges a PEM CSR before anything is ordered with it (RFC 8555 §7.4): all faults at once, each with
 * its cure. Rejects for no input, and takes time linear in it; a caller bounds the input's size.
 */
export async function judgeCsr(pem: string, rules: CsrRules): Promise<CsrVerdict> {
  return Promise.resolve(judge(pem, rules));
}

function judge(pem: string, rules: CsrRules): CsrVerdict {
  const der = findCsr(pem);
  if (!(der instanceof Uint8Array)) return { ok: false, reasons: [der], identifiers: [] };
  try {
    const csr = parseCsr(der);
    const key = judgeKey(csr, rules);
    const names = judgeNames(csr, rules.maxNames);
    const reasons = [
      ...key.reasons,
      ...names.reasons,
      ...judgeExtensions(csr, rules.refusedFeatures),
    ];
    const { identifiers } = names;
    const { keyType, spkiSha256 } = key;
    if (reasons.length > 0) return { ok: false, reasons, identifiers, spkiSha256 };
    return { ok: true, csr: { der, identifiers, keyType, spkiSha256 } };
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    const reasons = [notACsr(`The block does not hold a CSR: ${error.message}`)];
    return { ok: false, reasons, identifiers: [] };
  }
}

function judgeKey(csr: ParsedCsr, rules: CsrRules) {
  const key = readPublicKey(csr.spki);
  const spkiSha256 = spkiHash(csr.spki.der);
  const reasons: Reason[] = [];
  if (!rules.keyTypes.includes(key.type)) {
    const text = `The key type ${key.type} is not accepted; use one of ${rules.keyTypes.join(', ')}.`;
    reasons.push(reason('key_type_refused', text));
  }
  if (key.fault) reasons.push(key.fault);
  // Without a JWK nobody here can check the signature; the key is then refused for its type.
  const fault = key.jwk && signatureFault(key.type, key.jwk, csr);
  if (fault) reasons.push(fault);
  if (!key.jwk && reasons.length === 0) {
    const text = `Signatures of ${key.type} keys cannot be checked here; use a key of another type.`;
    reasons.push(reason('key_type_refused', text));
  }
  if (rules.accountKeySpkis?.some((hash) => hash.equals(spkiSha256))) {
    // RFC 8555 §11.1
    const text = "The CSR's key is the key of an ACME account; make a new key for the certificate.";
    reasons.push(reason('account_key', text));
  }
  return { keyType: key.type, spkiSha256, reasons };
}

function signatureFault(type: string, jwk: JsonWebKey, csr: ParsedCsr): Reason | undefined {
  const verdict = checkSignature(jwk, csr.signatureAlgorithm, csr.signed, csr.signature);
  switch (verdict) {
    case 'good':
      return undefined;
    case 'bad': {
      const text = "The CSR is not signed with its own key's private part; make it anew.";
      return reason('bad_signature', text);
    }
    case 'no_key': {
      const text = `The ${type} key is not a valid public key; make a new key.`;
      return reason('key_invalid', text);
    }
    case 'refused_algorithm': {
      const name = algorithmName(csr.signatureAlgorithm);
      const text = `CAs refuse the CSR's signature algorithm, ${name}; sign with SHA-256 and ECDSA or RSA (PKCS #1 v1.5).`;
      return reason('signature_algorithm', text);
    }
    default:
      return verdict satisfies never;
  }
}

function judgeExtensions(
  { extensions }: ParsedCsr,
  refusedFeatures: readonly string[] = [],
): Reason[] {
  const refused = judgeFeatures(extensions, refusedFeatures);
  if (extensions.duplicates.length === 0) return refused;
  const text = `The extension ${showText(extensions.duplicates[0] ?? '')} comes more than once; keep one.`;
  return [reason('duplicate_extension', text), ...refused];
}

/**
 * What of a CSR that was accepted once its server refuses: it was adopted with its certificate, or the server was
 * said to refuse more since.
 */
export function refusedFeatures(csrDer: Uint8Array, refused: readonly string[]): Reason[] {
  return refused.length === 0
    ? []
    : judgeFeatures(parseCsr(Buffer.from(csrDer)).extensions, refused);
}

/** Most CAs leave out what they do not issue; some refuse a CSR that asks for it. */
function judgeFeatures(extensions: Extensions, refused: readonly string[]): Reason[] {
  const reasons: Reason[] = [];
  if (refused.includes('must_staple') && extensions.values.has(Oid.tlsFeature)) {
    const text =
      'The CSR asks for must-staple (TLS feature), which the server refuses; leave it out.';
    reasons.push(reason('must_staple', text));
  }
  const purposes = extensions.values.get(Oid.extendedKeyUsage);
  if (
    purposes &&
    readKeyPurposes(purposes).includes(Oid.clientAuth) &&
    refused.includes('client_auth_eku')
  ) {
    const text =
      'The CSR asks for the clientAuth key usage, which the server refuses; ask for serverAuth only.';
    reasons.push(reason('client_auth_eku', text));
  }
  return reasons;
}
