import { X509Certificate } from 'node:crypto';
import { parseCertificate } from './certificate.ts';
import { readAuthorityKeyId } from './extensions.ts';
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
  /**
   * The root's key in lower-case hexadecimal: its SHA-256 where the chain has the root, else the key identifier by which
   * the last certificate names it, which is all that a chain without it tells.
   */
  rootKey?: string;
}

/** Reads the top of a PEM chain, leaf first; undefined for what is no chain of certificates. */
export function chainTop(chainPem: string): ChainTop | undefined {
  try {
    const blocks = readPem(chainPem);
    const parsed = blocks.map(({ der }) => parseCertificate(der));
    const last = new X509Certificate(blocks.at(-1)?.der ?? '');
    const keys = parsed.slice(1).map(({ spki }) => spkiHash(spki.der).toString('hex'));
    const extensions = parsed.at(-1)?.extensions;
    const rootKey =
      last.issuer === last.subject
        ? keys.at(-1)
        : extensions && readAuthorityKeyId(extensions)?.toString('hex');
    return {
      root: commonName(last.issuer),
      issuer: commonName(last.subject),
      keys,
      ...(rootKey === undefined ? {} : { rootKey }),
    };
  } catch {
    return undefined;
  }
}

/** Whether this is the chain that was asked for: by one of the two names, or by a key. */
export function leadsTo({ root, issuer, keys, rootKey }: ChainTop, wanted: string): boolean {
  const key = wanted.toLowerCase();
  return root === wanted || issuer === wanted || keys.includes(key) || rootKey === key;
}

/** Node gives one relative name a line; the last common name is the most specific one. */
function commonName(name: string | undefined): string {
  const line = (name ?? '').split('\n').findLast((one) => one.startsWith('CN='));
  return withoutControls(line?.slice('CN='.length) ?? '');
}
