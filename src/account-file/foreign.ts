import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { relative } from 'node:path';
import { importAccountKey, printable } from '../acme/index.ts';
import { acmeSh } from './clients/acme-sh.ts';
import { caddy } from './clients/caddy.ts';
import { certbot } from './clients/certbot.ts';
import { dehydrated } from './clients/dehydrated.ts';
import { lego } from './clients/lego.ts';
import { accountFileError } from './error.ts';
import { lacksOf } from './incomplete.ts';
import { textOf } from './json.ts';
import type { ForeignAccount, Reader } from './reader.ts';
import { type Folder, scan } from './scan.ts';

// Each looks for what only its client writes, so that the order does not matter.
const readers: readonly Reader[] = [certbot, lego, acmeSh, dehydrated, caddy];

/**
 * Reads the account of another client from a file of it or from a folder, and tells by the content
 * whose it is. `text`: what the file holds, where it can be read only once.
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE when there is none, more than one, or the key cannot be used.
 */
export async function readForeignAccount(path: string, text?: string): Promise<ForeignAccount> {
  const { folders, file, unread } = await scan(path, text);
  const byPath = new Map(folders.map((folder) => [folder.path, folder]));
  const all = folders.flatMap((folder) =>
    readers.flatMap((read) => read(folder, (at) => byPath.get(at))),
  );
  const meant = await distinct(
    file === undefined ? all : all.filter(({ paths }) => paths.includes(file)),
  );
  const [account, ...more] = meant;
  if (account !== undefined && more.length === 0) return withUsableKey(account);
  if (account !== undefined) {
    const list = meant.map(
      ({ client, paths }) => `${client}: ${printable(relative('', paths[0] ?? '') || '.', 500)}`,
    );
    throw accountFileError(
      `${path} holds ${meant.length} accounts; name the key file of one of them:\n  ${list.slice(0, 20).join('\n  ')}`,
    );
  }
  const bare = bareKey(path, folders, file);
  if (bare !== undefined) return withUsableKey(bare);
  throw accountFileError([nothingFound(path, folders, file), ...notRead(unread)].join('\n'));
}

/** An account that is found at its own place and through links is one: Kubernetes mounts secrets so. */
async function distinct(accounts: readonly ForeignAccount[]): Promise<ForeignAccount[]> {
  const found = new Map<string, ForeignAccount>();
  for (const account of accounts) {
    // (A pipe has no path.)
    const real = account.paths.map((each) => realpath(each).catch(() => each));
    const place = (await Promise.all(real)).join('\n');
    if (!found.has(place)) found.set(place, account);
  }
  return [...found.values()];
}

/** A key file alone is enough where the server is known: the server tells the account URL. */
function bareKey(
  path: string,
  folders: readonly Folder[],
  file: string | undefined,
): ForeignAccount | undefined {
  const found = folders.flatMap(({ files }) => files).find((each) => each.path === file);
  switch (found?.kind) {
    case 'jwk':
    case 'pem-key':
      return {
        client: 'a bare key',
        directoryUrl: undefined,
        accountUrl: undefined,
        contact: [],
        privateJwk: found.jwk,
        paths: [found.path],
      };
    case 'locked-key':
      throw accountFileError(
        `${path} is a private key that is locked with a password. Unlock it first, for example with: openssl pkey -in KEY -out UNLOCKED`,
      );
    case 'damaged-key':
      throw accountFileError(
        `${path} is damaged: it is marked as a private key and holds none that can be read.`,
      );
    case 'other-key':
      throw otherKey(path, found.type);
    case 'json':
    case 'shell':
    case 'unknown':
    case undefined:
      return undefined;
  }
}

/** @throws PgacmeError ERR_ACCOUNT_FILE for a key that cannot sign for an account. */
async function withUsableKey(account: ForeignAccount): Promise<ForeignAccount> {
  const { privateJwk: jwk, paths } = account;
  const path = printable(paths[0] ?? '', 500);
  await importAccountKey(jwk).catch((cause: unknown) => {
    const type = textOf(jwk.crv) ?? textOf(jwk.kty) ?? 'unknown';
    if (!['P-256', 'P-384', 'RSA'].includes(type)) {
      throw otherKey(path, printable(type, 20), cause);
    }
    const bits = modulusLength(jwk);
    if (bits !== undefined && bits < 2048) {
      throw accountFileError(
        `The key in ${path} is an RSA key of ${bits} bits, and signatures of ACME take 2048 or more (RFC 7518 §3.3). Let the client that made it change the account's key for a longer one, or insert a new account.`,
        cause,
      );
    }
    throw accountFileError(`${path} is damaged: its key cannot sign.`, cause);
  });
  return account;
}

function modulusLength({ kty, n, e }: ForeignAccount['privateJwk']): number | undefined {
  try {
    const key = createPublicKey({ key: { kty, n, e } as JsonWebKey, format: 'jwk' });
    return key.asymmetricKeyDetails?.modulusLength;
  } catch {
    return undefined;
  }
}

function otherKey(path: string, type: string, cause?: unknown): Error {
  return accountFileError(
    `The key in ${path} is of type ${type}. Keys of ACME accounts that pgacme takes are RSA, or EC on P-256 or P-384.`,
    cause,
  );
}

function nothingFound(path: string, folders: readonly Folder[], file: string | undefined): string {
  const lacks = lacksOf(folders).filter(({ paths }) => file === undefined || paths.includes(file));
  if (lacks.length > 0) {
    const list = lacks.slice(0, 20).map(({ text }) => `\n  ${printable(text, 1000)}.`);
    return `${path} holds no whole account:${list.join('')}`;
  }
  return `${path} holds no account that pgacme knows: neither its own export nor one of certbot, lego, acme.sh, dehydrated or Caddy. Name the client's key file, or the folder of one account.`;
}

function notRead(unread: readonly string[]): string[] {
  if (unread.length === 0) return [];
  const more = unread.length > 5 ? `, and ${unread.length - 5} more` : '';
  return [`Not read: ${printable(unread.slice(0, 5).join(', '), 2000)}${more}`];
}
