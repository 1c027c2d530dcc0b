import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { parseCertificate } from './certificate.ts';
import { DerError } from './der.ts';
import { X509Error } from './errors.ts';
import { readPem } from './pem.ts';

/** A certificate, as far as its revocation needs it. */
export interface Leaf {
  der: Buffer;
  publicKey: KeyObject;
  /** Lower-case hexadecimal. */
  serial: string;
  notAfter: Date;
  /** SHA-256 over its DER form. */
  fingerprintSha256: Buffer;
}

/** The DER of the first certificate in a PEM text. Throws X509Error `ERR_X509_PEM` if there is none. */
export function certificateDer(pem: string): Buffer {
  const block = readPem(pem).find(({ label }) => label === 'CERTIFICATE');
  if (block !== undefined) return block.der;
  throw new X509Error('ERR_X509_PEM', 'there is no CERTIFICATE block in this text');
}

/** Reads the first certificate of a PEM text: a leaf, or a chain that begins with it. Throws X509Error. */
export function readLeaf(pem: string): Leaf {
  const der = certificateDer(pem);
  try {
    const { serial, notAfter } = parseCertificate(der);
    const { publicKey } = new X509Certificate(der);
    const fingerprintSha256 = createHash('sha256').update(der).digest();
    return { der, publicKey, serial, notAfter, fingerprintSha256 };
  } catch (cause) {
    const why = cause instanceof DerError ? cause.message : 'it is damaged, or of an unknown kind';
    throw new X509Error('ERR_X509_PEM', `the certificate cannot be read: ${why}`, { cause });
  }
}
