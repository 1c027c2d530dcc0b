import { relative } from 'node:path';
import type { JWK } from 'jose';
import { printable } from '../acme/index.ts';
import { acmeSh } from './clients/acme-sh.ts';
import { caddy } from './clients/caddy.ts';
import { certbot } from './clients/certbot.ts';
import { dehydrated } from './clients/dehydrated.ts';
import { lego } from './clients/lego.ts';
import { accountFileError } from './error.ts';
import { type Folder, scan } from './scan.ts';

/** An account as another client keeps it. */
export interface ForeignAccount {
  client: 'certbot' | 'lego 4' | 'lego 5' | 'acme.sh' | 'dehydrated' | 'Caddy' | 'a bare key';
  /** undefined: the client does not write it down in a form that can be read back. */
  directoryUrl: string | undefined;
  /** undefined: the client does not keep it; the server tells it for the key (RFC 8555 §7.3.1). */
  accountUrl: string | undefined;
  /** `mailto:` URLs, as far as the client keeps them. */
  contact: string[];
  eabKid?: string;
  privateJwk: JWK;
  /** The files that it was read from. */
  paths: string[];
}

/** Finds the accounts of one client in one folder; `at` gives other folders. */
export type Reader = (folder: Folder, at: (path: string) => Folder | undefined) => ForeignAccount[];

// Each looks for what only its client writes, so that the order does not matter.
const readers: readonly Reader[] = [certbot, lego, acmeSh, dehydrated, caddy];

/**
 * Reads the account of another client from a file of it or from a folder, and tells by the content
 * whose it is.
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE when there is none, more than one, or the key cannot be used.
 */
export async function readForeignAccount(path: string): Promise<ForeignAccount> {
  const { folders, file } = await scan(path);
  const byPath = new Map(folders.map((folder) => [folder.path, folder]));
  const all = folders.flatMap((folder) =>
    readers.flatMap((read) => read(folder, (at) => byPath.get(at))),
  );
  const meant = file === undefined ? all : all.filter(({ paths }) => paths.includes(file));
  const [account, ...more] = meant;
  if (account !== undefined && more.length === 0) return account;
  if (account !== undefined) {
    const list = meant.map(
      ({ client, paths }) => `${client}: ${printable(relative('', paths[0] ?? '') || '.', 500)}`,
    );
    throw accountFileError(
      `${path} holds ${meant.length} accounts; name the key file of one of them:\n  ${list.slice(0, 20).join('\n  ')}`,
    );
  }
  return bareKey(path, folders, file);
}

/** A key file alone is enough where the server is known: the server tells the account URL. */
function bareKey(
  path: string,
  folders: readonly Folder[],
  file: string | undefined,
): ForeignAccount {
  const found = folders.flatMap(({ files }) => files).find((each) => each.path === file);
  if (found?.kind === 'jwk' || found?.kind === 'pem-key') {
    return {
      client: 'a bare key',
      directoryUrl: undefined,
      accountUrl: undefined,
      contact: [],
      privateJwk: found.jwk,
      paths: [found.path],
    };
  }
  if (found?.kind === 'locked-key') {
    throw accountFileError(
      `${path} is a private key that is locked with a password. Unlock it first, for example with: openssl pkey -in KEY -out UNLOCKED`,
    );
  }
  throw accountFileError(
    `${path} holds no account that pgacme knows: neither its own export nor one of certbot, lego, acme.sh, dehydrated or Caddy. Name the client's key file, or the folder of one account.`,
  );
}
