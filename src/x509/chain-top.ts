import { X509Certificate } from 'node:crypto';
import { parseCertificate } from './certificate.ts';
import { readPem } from './pem.ts';
import { withoutControls } from './printable.ts';
import { spkiHash } from './public-key.ts';

/** Where a chain leads: what one chain of a certificate is told from another by. */
export interface ChainTop {
  /** Common names: of the last certificate's issuer, the root, and of the last certificate itself. */
  root: string;
  issuer: string;
  /** SHA-256 of the SubjectPublicKeyInfo of each certificate above the leaf, lower-case hexadecimal. */
  keys: string[];
}

/** Reads the top of a PEM chain, leaf first; undefined for what is no chain of certificates. */
export function chainTop(chainPem: string): ChainTop | undefined {
  try {
    const blocks = readPem(chainPem);
    const last = new X509Certificate(blocks.at(-1)?.der ?? '');
    return {
      root: commonName(last.issuer),
      issuer: commonName(last.subject),
      keys: blocks
        .slice(1)
        .map(({ der }) => spkiHash(parseCertificate(der).spki.der).toString('hex')),
    };
  } catch {
    return undefined;
  }
}

/** Whether this is the chain that was asked for: by one of the two names, or by a key's hash. */
export function leadsTo(top: ChainTop, wanted: string): boolean {
  return top.root === wanted || top.issuer === wanted || top.keys.includes(wanted.toLowerCase());
}

/** Node gives one relative name a line; the last common name is the most specific one. */
function commonName(name: string | undefined): string {
  const line = (name ?? '').split('\n').findLast((one) => one.startsWith('CN='));
  return withoutControls(line?.slice('CN='.length) ?? '');
}
