import { readFile, stat } from 'node:fs/promises';
import type { JWK } from 'jose';
import { isAccountFile, openAccountFile, readForeignAccount } from '../../account-file/index.ts';
import { PgacmeError } from '../../errors.ts';
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
  const text = await ownText(path);
  if (text === undefined) return foreign(path);
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

async function foreign(path: string): Promise<Incoming> {
  const account = await readForeignAccount(path);
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

/** The text of our own export; undefined: it is a folder, or something else. */
async function ownText(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isFile() !== true || info.size > 1_048_576) return undefined;
  const text = await readFile(path, 'utf8').catch(() => '');
  return isAccountFile(text) ? text : undefined;
}
