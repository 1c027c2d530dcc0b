import { createHash, X509Certificate } from 'node:crypto';
import { parseCertificate, type ParsedCertificate } from './certificate.ts';
import { issuingChain } from './chain.ts';
import { parseCsr } from './csr.ts';
import { DerError } from './der.ts';
import { normaliseName } from './dns-name.ts';
import { X509Error } from './errors.ts';
import { dnsNameTag, generalNameKinds, Oid, readGeneralNames } from './extensions.ts';
import { readPem, writePem } from './pem.ts';
import { showBytes, showText, withoutControls } from './printable.ts';
import { spkiHash } from './public-key.ts';

/** A certificate that is what the CSR asked for. */
export interface IssuedCertificate {
  leafPem: string;
  /** Leaf first, then each issuer that the server sent, in order. */
  chainPem: string;
  /** DNS names, lower case, sorted. */
  identifiers: string[];
  /** Lower-case hexadecimal. */
  serial: string;
  /** Relative names as `CN=…`, in the order of the certificate, separated by comma and space. */
  subject: string;
  issuer: string;
  notBefore: Date;
  /** The earliest end of the certificate and its issuers, roots excepted: nobody is to rely on it longer. */
  notAfter: Date;
  /** Whether an issuer ends before the certificate does. */
  endsWithIssuer: boolean;
  /** SHA-256 over the DER SubjectPublicKeyInfo. */
  spkiSha256: Buffer;
  /** SHA-256 over the DER of the leaf. */
  fingerprintSha256: Buffer;
}

/** What a server sent, and what was asked for. */
export interface IssuedInput {
  chainPem: string;
  csrDer: Uint8Array;
  identifiers: readonly string[];
}

/** The certificate, or one sentence that says why it is not the one asked for. */
export type IssuedVerdict =
  { ok: true; certificate: IssuedCertificate } | { ok: false; reason: string };

/** Real chains have two to four; more would only cost signatures to check. */
const MAX_CERTIFICATES = 10;

/** Thrown and caught in this file alone: the chain is refused, the message says why. */
class Refusal extends Error {}

/**
 * Checks that a downloaded chain is the certificate for this CSR before it is stored: only
 * CERTIFICATE blocks (RFC 8555 §9.1, §11.4), the CSR's public key, exactly these names, and the issuers above
 * it, which are sorted, and what does not belong to them left out. Time is not judged. Rejects for no input.
 */
export async function verifyIssued(input: IssuedInput): Promise<IssuedVerdict> {
  return Promise.resolve(verdict(input));
}

function verdict({ chainPem, csrDer, identifiers }: IssuedInput): IssuedVerdict {
  try {
    const chain = readChain(chainPem);
    const { leaf, parsed, others } = findLeaf(chain, csrDer);
    const names = requireNames(parsed, identifiers);
    const certificate = native(leaf);
    const above = issuingChain(certificate, parsed.notBefore, others);
    if (typeof above === 'string') throw new Refusal(above);
    const notAfter = new Date(Math.min(+parsed.notAfter, +(above.notAfter ?? Infinity)));
    const leafPem = writePem('CERTIFICATE', leaf);
    const issuerPems = above.issuers.map((der) => writePem('CERTIFICATE', der));
    return {
      ok: true,
      certificate: {
        leafPem,
        chainPem: [leafPem, ...issuerPems].join(''),
        identifiers: names,
        serial: parsed.serial,
        subject: oneLine(certificate.subject),
        issuer: oneLine(certificate.issuer),
        notBefore: parsed.notBefore,
        notAfter,
        endsWithIssuer: notAfter < parsed.notAfter,
        spkiSha256: spkiHash(parsed.spki.der),
        fingerprintSha256: createHash('sha256').update(leaf).digest(),
      },
    };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, reason: error.message };
    throw error;
  }
}

function readChain(chainPem: string): Buffer[] {
  const blocks = refuse(() => readPem(chainPem), 'The answer is not a PEM chain');
  const other = blocks.find((block) => block.label !== 'CERTIFICATE');
  if (other) throw new Refusal(`The chain holds a ${showText(other.label)} block.`);
  if (blocks.length > MAX_CERTIFICATES) {
    throw new Refusal(`The chain has ${blocks.length} certificates, over ${MAX_CERTIFICATES}.`);
  }
  return blocks.map((block) => block.der);
}

/** The leaf is the certificate with the CSR's key, wherever in the chain it is. */
function findLeaf(chain: readonly Buffer[], csrDer: Uint8Array) {
  const csr = refuse(() => parseCsr(Buffer.from(csrDer)), 'The CSR cannot be read');
  const [first] = chain;
  if (!first) throw new Refusal('The answer holds no certificate.');
  for (const [at, leaf] of chain.entries()) {
    const parsed = readable(leaf);
    if (parsed?.spki.der.equals(csr.spki.der) !== true) continue;
    return { leaf, parsed, others: [...chain.slice(at + 1), ...chain.slice(0, at)] };
  }
  refuse(() => parseCertificate(first), 'The first certificate cannot be read');
  throw new Refusal(
    chain.length === 1
      ? "The certificate's public key is not the CSR's."
      : "No certificate of the chain has the CSR's public key.",
  );
}

function readable(der: Buffer): ParsedCertificate | undefined {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

/** The names come from the extension itself: Node's text form of them has been ambiguous. */
function requireNames(leaf: ParsedCertificate, identifiers: readonly string[]): string[] {
  const value = leaf.extensions.values.get(Oid.subjectAltName);
  if (leaf.extensions.duplicates.length > 0) {
    throw new Refusal('The certificate has an extension more than once.');
  }
  const wanted = new Set(identifiers.map(normaliseName));
  const names = new Set<string>();
  const what = "The certificate's names cannot be read";
  for (const entry of value ? refuse(() => readGeneralNames(value), what) : []) {
    if (entry.tag !== dnsNameTag) {
      const kind = generalNameKinds.get(entry.tag) ?? 'an unknown name';
      throw new Refusal(`The certificate also has ${kind} among its names.`);
    }
    const name = entry.content.toString('latin1').toLowerCase();
    if (!wanted.has(name)) {
      throw new Refusal(`The certificate has the name ${showBytes(entry.content)}, not asked for.`);
    }
    names.add(name);
  }
  const missing = [...wanted].filter((name) => !names.has(name));
  if (missing.length > 0) {
    throw new Refusal(`The certificate lacks the name ${showText(missing[0] ?? '')}.`);
  }
  return [...names].sort();
}

function native(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch {
    throw new Refusal('The first certificate cannot be read.');
  }
}

/** Runs a reader; its errors become a {@link Refusal} that begins with `what`. */
function refuse<T>(read: () => T, what: string): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof DerError || error instanceof X509Error)) throw error;
    throw new Refusal(`${what}: ${error.message}.`, { cause: error });
  }
}

/** Node gives one relative name a line, line feeds within values escaped; an empty name as nothing. */
function oneLine(name: string | undefined): string {
  return withoutControls((name ?? '').split('\n').join(', '));
}
