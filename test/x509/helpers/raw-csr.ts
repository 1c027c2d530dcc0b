import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { writePem } from '../../../src/x509/pem.ts';
import { bitString, nothing, oid, sequence, set, tlv } from './der-writer.ts';

/** The parts of a CSR in which a test differs from the ordinary. */
export interface RawCsr {
  /** Common names, each an element of its own string type or a text. */
  commonNames?: (string | Buffer)[];
  /** DER of each extension asked for. */
  extensions?: Buffer[];
  /** DER of attributes in place of the one that asks for extensions. */
  attributes?: Buffer[];
  keys?: { publicKey: KeyObject; privateKey: KeyObject };
  /** A SubjectPublicKeyInfo in place of the key's own. */
  spki?: Buffer;
  /** A dotted signature algorithm, its hash, and the DER of parameters other than the usual. */
  algorithm?: { id: string; hash: string | null; parameters?: Buffer };
}

export const ecKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** Builds and signs a CSR of any shape, which no library would make. */
export function rawCsrDer(shape: RawCsr = {}): Buffer {
  const keys = shape.keys ?? ecKeys;
  const subject = (shape.commonNames ?? []).map((name) => {
    const value = typeof name === 'string' ? tlv(0x0c, Buffer.from(name, 'utf8')) : name;
    return set(sequence(oid('2.5.4.3'), value));
  });
  const info = sequence(
    tlv(0x02, Buffer.of(0)),
    sequence(...subject),
    shape.spki ?? keys.publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa0, ...(shape.attributes ?? [extensionRequest(...(shape.extensions ?? []))])),
  );
  const { id, hash, parameters } = shape.algorithm ?? {
    id: '1.2.840.10045.4.3.2',
    hash: 'sha256',
    parameters: Buffer.alloc(0),
  };
  const usual = id.startsWith('1.2.840.113549') ? nothing : Buffer.alloc(0);
  const algorithm = sequence(oid(id), parameters ?? usual);
  return sequence(info, algorithm, bitString(sign(hash, info, keys.privateKey)));
}

/** {@link rawCsrDer} as PEM. */
export function rawCsr(shape: RawCsr = {}): string {
  return writePem('CERTIFICATE REQUEST', rawCsrDer(shape));
}

/** The attribute that asks for extensions (RFC 2985 §5.4.2). */
export function extensionRequest(...extensions: Buffer[]): Buffer {
  return sequence(oid('1.2.840.113549.1.9.14'), set(sequence(...extensions)));
}
