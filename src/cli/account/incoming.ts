import { stat } from 'node:fs/promises';
import type { JWK } from 'jose';
import { isAccountFile, openAccountFile, readForeignAccount } from '../../account-file/index.ts';
import { PgacmeError } from '../../errors.ts';
import { bytesOf, STDIN } from '../file-bytes.ts';
import { readSecret } from '../secret-input.ts';

/** An account out of a file, of whichever client. */
export interface Incoming {
  /** What it was read from, for a person. */
  what: string;
  client: string;
  /** What it is to be called unless somebody says otherwise. */
  name: string;
  serverName: string | undefined;
  directoryUrl: string | undefined;
  caBundle: string | undefined;
  /** Hosts beside the directory's own that the server's URLs may point at. */
  allowedHosts: string[];
  url: string | undefined;
  contact: string[];
  eabKid: string | undefined;
  privateJwk: JWK;
  /** DNS records that name the account, as text. */
  records: string[];
}

/**
 * Reads our own export, or what another client keeps, and tells which by the content.
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE
 */
export async function readIncoming(path: string, passphraseFile?: string): Promise<Incoming> {
  const { text, isOnce } = await textIn(path);
  if (text === undefined || !isAccountFile(text)) return foreign(path, isOnce ? text : undefined);
  if (passphraseFile === undefined) {
    throw new PgacmeError(
      'ERR_ACCOUNT_FILE',
      `${path} is an export of pgacme: give its passphrase with --passphrase-file.`,
    );
  }
  const account = await openAccountFile(text, await readSecret(passphraseFile, 'The passphrase'));
  return {
    what: `an export of pgacme from ${account.exportedAt}`,
    client: 'pgacme',
    name: account.name,
    serverName: account.server.name,
    directoryUrl: account.server.directoryUrl,
    caBundle: account.server.caBundle,
    allowedHosts: account.server.allowedHosts,
    url: account.url,
    contact: account.contact,
    eabKid: account.eabKid,
    privateJwk: account.privateJwk,
    records: account.records,
  };
}

async function foreign(path: string, text: string | undefined): Promise<Incoming> {
  const account = await readForeignAccount(path, text);
  const { client } = account;
  return {
    what: client === 'a bare key' ? 'a private key' : `an account of ${client}`,
    client,
    name: client === 'a bare key' ? 'imported' : client.toLowerCase().replace(/ \d$/, ''),
    serverName: undefined,
    directoryUrl: account.directoryUrl,
    caBundle: undefined,
    allowedHosts: [],
    url: account.accountUrl,
    contact: account.contact,
    eabKid: account.eabKid,
    privateJwk: account.privateJwk,
    records: [],
  };
}

/**
 * What is in a file; `isOnce`: it is a pipe or stdin, and cannot be read again. undefined: it is a folder,
 * more than any account, or cannot be read.
 */
async function textIn(path: string): Promise<{ text: string | undefined; isOnce: boolean }> {
  const info = await stat(path).catch(() => undefined);
  const isOnce = info !== undefined && !info.isDirectory() && (!info.isFile() || path === STDIN);
  if (info === undefined || info.isDirectory() || info.size > 1_048_576) {
    return { text: undefined, isOnce };
  }
  const text = await bytesOf(path).then(
    (bytes) => bytes.toString('utf8'),
    () => undefined,
  );
  return { text, isOnce };
}
