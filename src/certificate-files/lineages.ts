import { type X509Certificate } from 'node:crypto';
import { basename } from 'node:path';
import { writePem } from '../x509/pem.ts';
import { collect, type Collected, type FoundChain, type FoundCsr, spkiOf } from './collect.ts';

/** The latest certificate of those that a client kept under one name. */
export interface Lineage {
  /** As the client calls it. */
  name: string;
  path: string;
  /** DNS names, sorted. */
  names: string[];
  notAfter: Date;
  /** Leaf first, then what issued it. */
  chainPem: string;
  /** The CSR with this key and these names; undefined: the client did not keep it. */
  csrPem: string | undefined;
  /** Directory URL of the server that it was ordered at, where the client notes it. */
  server: string | undefined;
}

/**
 * The certificates of a client's folder that are in use, with their CSRs: of certbot, lego, acme.sh, and
 * whoever else keeps PEM files. `csrFolder`: where CSRs lie that the client did not keep. `unread`: what
 * could not be read, with the reason.
 *
 * @throws PgacmeError ERR_CERTIFICATE_FILES
 */
export async function readLineages(
  path: string,
  csrFolder?: string,
): Promise<{ lineages: Lineage[]; unread: string[] }> {
  const found = await collect(path);
  const more = csrFolder === undefined ? undefined : await collect(csrFolder);
  const csrs = new Map<string, FoundCsr>();
  // Of several CSRs for one key and the same names the last one is as good as any.
  for (const csr of [...found.csrs, ...(more?.csrs ?? [])]) {
    csrs.set(`${csr.spki} ${csr.names.join()}`, csr);
  }
  const lineages = latest(found.chains)
    .map((chain) => lineageOf(chain, found, csrs))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { lineages, unread: [...found.unread, ...(more?.unread ?? [])] };
}

/** Of the same names and kind of key in one folder the newest; of one certificate the longest chain. */
function latest(chains: readonly FoundChain[]): FoundChain[] {
  const newest = new Map<string, FoundChain>();
  for (const chain of chains) {
    const { leaf, folder } = chain;
    const id = `${folder}\n${namesOf(leaf).join()}\n${String(leaf.publicKey.asymmetricKeyType)}`;
    const known = newest.get(id);
    if (known === undefined || isBetter(chain, known)) newest.set(id, chain);
  }
  return [...newest.values()];
}

function isBetter(a: FoundChain, b: FoundChain): boolean {
  if (a.leaf.fingerprint256 === b.leaf.fingerprint256) return a.blocks.length > b.blocks.length;
  return Date.parse(a.leaf.validFrom) > Date.parse(b.leaf.validFrom);
}

function lineageOf(
  chain: FoundChain,
  found: Collected,
  csrs: ReadonlyMap<string, FoundCsr>,
): Lineage {
  const { leaf, folder, path } = chain;
  const names = namesOf(leaf);
  const name = nameOf(path, folder);
  return {
    name,
    path,
    names,
    notAfter: new Date(leaf.validTo),
    chainPem: [...chain.blocks, ...missingIssuers(chain, found.issuers.get(folder) ?? [])]
      .map((der) => writePem('CERTIFICATE', der))
      .join(''),
    csrPem: csrs.get(`${spkiOf(leaf)} ${names.join()}`)?.pem,
    server: found.servers.get(name) ?? found.servers.get(folder),
  };
}

/** Where a client keeps the leaf alone, its issuers lie beside it in a file of their own. */
function missingIssuers(
  { leaf, blocks }: FoundChain,
  issuers: readonly X509Certificate[],
): Buffer[] {
  if (blocks.length > 1) return [];
  const found: Buffer[] = [];
  let child = leaf;
  for (;;) {
    const issuer = issuers.find((each) => child.checkIssued(each) && each !== child);
    // A root signs itself and is not part of what a server sends.
    if (issuer === undefined || issuer.checkIssued(issuer) || found.length > 5) return found;
    found.push(issuer.raw);
    child = issuer;
  }
}

/** Files with names of their own are called like their certificate; others lie in a folder that is. */
function nameOf(path: string, folder: string): string {
  const base = basename(path).replace(/\.(pem|crt|cer|cert)$/, '');
  return /^(fullchain|cert|chain|ca|bundle)\d*$/.test(base) ? basename(folder) : base;
}

/** DNS names of a certificate, for comparing and showing; a worker reads them from the extension itself. */
function namesOf(leaf: X509Certificate): string[] {
  const names = (leaf.subjectAltName ?? '')
    .split(', ')
    .flatMap((entry) => (entry.startsWith('DNS:') ? [entry.slice(4).toLowerCase()] : []));
  return [...new Set(names)].sort();
}
