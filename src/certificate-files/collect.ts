import { createHash, X509Certificate } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PgacmeError } from '../errors.ts';
import { defaultKeyTypes, judgeCsr } from '../x509/index.ts';
import { readPem, writePem } from '../x509/pem.ts';

/** A certificate with what stood behind it in its file. */
export interface FoundChain {
  path: string;
  folder: string;
  leaf: X509Certificate;
  /** Leaf first. */
  blocks: Buffer[];
}

/** A CSR, by what a certificate of it has in common with it. */
export interface FoundCsr {
  path: string;
  pem: string;
  /** SHA-256 of the public key, hex. */
  spki: string;
  names: readonly string[];
}

/** What lies in a folder and below it. Private keys are passed by. */
export interface Collected {
  chains: FoundChain[];
  /** Certificates of CAs, by folder. */
  issuers: Map<string, X509Certificate[]>;
  csrs: FoundCsr[];
  /** Directory URLs that the clients' own notes name, by folder and by name of the certificate. */
  servers: Map<string, string>;
  /** What could not be read, with the reason. */
  unread: string[];
}

const MAX_BYTES = 262_144;
const MAX_DEPTH = 6;

/**
 * Reads a client's folder.
 *
 * @throws PgacmeError ERR_CERTIFICATE_FILES when it cannot be read.
 */
export async function collect(path: string): Promise<Collected> {
  const found: Collected = {
    chains: [],
    issuers: new Map(),
    csrs: [],
    servers: new Map(),
    unread: [],
  };
  const root = resolve(path);
  const entries = await entriesOf(root).catch((cause: unknown) => {
    throw new PgacmeError(
      'ERR_CERTIFICATE_FILES',
      `${path} is no folder that can be read (${codeOf(cause)}); name the folder of the client, such as /etc/letsencrypt.`,
      { cause },
    );
  });
  await walk(root, entries, MAX_DEPTH, found);
  return found;
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function walk(
  folder: string,
  entries: readonly Dirent[],
  depth: number,
  found: Collected,
): Promise<void> {
  const names = new Set(entries.map(({ name }) => name));
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (depth === 0 || isPassedBy(entry.name, names)) continue;
      const below = await entriesOf(path).catch((error: unknown) => notRead(path, error, found));
      if (below !== undefined) await walk(path, below, depth - 1, found);
      continue;
    }
    // Files that hold nothing but a private key are not even opened.
    if (/\.key$|^privkey/.test(entry.name)) continue;
    const text = await textOf(path).catch((error: unknown) => notRead(path, error, found));
    if (text !== undefined) await take(folder, path, text, found);
  }
}

/** undefined: it is no file, or none of a certificate. */
async function textOf(path: string): Promise<string | undefined> {
  const info = await stat(path);
  // What has no size holds nothing; the kernel has such files that never end.
  if (!info.isFile() || info.size === 0 || info.size > MAX_BYTES) return undefined;
  return readFile(path, 'utf8');
}

function notRead(path: string, error: unknown, { unread }: Collected): undefined {
  unread.push(`${path} (${codeOf(error)})`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}

/** certbot's `live` points into `archive`, which has all that is past, too; lego moves that to `archives`. */
function isPassedBy(name: string, siblings: ReadonlySet<string>): boolean {
  return (
    ['accounts', 'keys', 'archives'].includes(name) || (name === 'archive' && siblings.has('live'))
  );
}

async function take(folder: string, path: string, text: string, found: Collected): Promise<void> {
  if (text.includes('PRIVATE KEY-----')) return;
  if (text.includes('-----BEGIN CERTIFICATE-----')) takeChain(folder, path, text, found);
  else if (text.includes('CERTIFICATE REQUEST-----')) await takeCsr(path, text, found);
  else if (text.startsWith('{')) await takeJson(path, text, found);
  else takeNotes(folder, path, text, found);
}

function takeChain(folder: string, path: string, text: string, found: Collected): void {
  try {
    const blocks = readPem(text)
      .filter(({ label }) => label === 'CERTIFICATE')
      .map(({ der }) => der);
    const certificates = blocks.map((der) => new X509Certificate(der));
    const [leaf, ...others] = certificates;
    if (leaf === undefined) return;
    const issuers = found.issuers.get(folder) ?? [];
    issuers.push(...(leaf.ca ? certificates : others));
    found.issuers.set(folder, issuers);
    if (!leaf.ca) found.chains.push({ path, folder, leaf, blocks });
  } catch {
    // Nothing that could be adopted.
  }
}

async function takeCsr(path: string, text: string, found: Collected): Promise<void> {
  const [, body = ''] =
    /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([^-]*)-----END/.exec(text) ?? [];
  const pem = writePem('CERTIFICATE REQUEST', Buffer.from(body, 'base64'));
  // What a server would refuse in it is said when it is adopted.
  const verdict = await judgeCsr(pem, { keyTypes: defaultKeyTypes, maxNames: 1000 });
  const { identifiers, spkiSha256 } = verdict.ok ? verdict.csr : verdict;
  if (spkiSha256 === undefined) return;
  found.csrs.push({ path, pem, spki: spkiSha256.toString('hex'), names: identifiers });
}

/** Some clients keep the CSR as a member of their own JSON, in base64. */
async function takeJson(path: string, text: string, found: Collected): Promise<void> {
  let csr: unknown;
  try {
    csr = (JSON.parse(text) as Record<string, unknown>)['csr'];
  } catch {
    return;
  }
  if (typeof csr !== 'string') return;
  const bytes = Buffer.from(csr, 'base64');
  const inner = bytes.toString('latin1');
  const isPem = inner.includes('CERTIFICATE REQUEST-----');
  await takeCsr(path, isPem ? inner : writePem('CERTIFICATE REQUEST', bytes), found);
}

/** certbot's `renewal/<name>.conf` and acme.sh's `<name>.conf` say where it was ordered. */
function takeNotes(folder: string, path: string, text: string, found: Collected): void {
  const [, url] =
    /^server = (https:\/\/\S+)$/m.exec(text) ?? /^Le_API='(https:\/\/[^']+)'$/m.exec(text) ?? [];
  if (url === undefined) return;
  found.servers.set(folder, url);
  found.servers.set(path.replace(/^.*\/|\.conf$/g, ''), url);
}

/** SHA-256 over a certificate's SubjectPublicKeyInfo, hex. */
export function spkiOf(certificate: X509Certificate): string {
  const der = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('hex');
}
