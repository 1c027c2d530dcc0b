import { printable } from '../../acme/index.ts';
import type { ImportFacts, ServerRow } from '../../db/owner/account-files.ts';
import { PgacmeError } from '../../errors.ts';

/** The server of an account that is imported: a row that is there, or one that is to be made. */
export type ServerChoice = { row: ServerRow; isNew: boolean };

/**
 * Finds the server: by --server, else by the directory URL. A row of that name with another URL is
 * never used, and none is made where the URL is not known.
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE
 */
export function serverOf(
  facts: ImportFacts,
  asked: {
    name: string | undefined;
    directoryUrl: string | undefined;
    proposedName: string | undefined;
    caBundle: string | undefined;
    allowedHosts: string[];
  },
): ServerChoice {
  const { directoryUrl } = asked;
  const byName = facts.server_by_name;
  if (asked.name !== undefined && byName !== null) {
    if (directoryUrl !== undefined && byName.directory_url !== directoryUrl) {
      throw fault(
        `The account is of the server at ${directoryUrl}, and the server ${asked.name} is at ${byName.directory_url}. Name another one with --server, or none.`,
      );
    }
    return { row: byName, isNew: false };
  }
  if (directoryUrl === undefined) {
    throw fault(
      asked.name === undefined
        ? 'The files do not say of which server the account is. Name its row in acme.server with --server.'
        : `There is no server ${asked.name}, and the files do not say where it is. Insert it first: insert into acme.server (name, directory_url) values ('${asked.name}', 'https://…')`,
    );
  }
  if (asked.name === undefined && facts.server_by_url !== null) {
    return { row: facts.server_by_url, isNew: false };
  }
  const name = asked.name ?? asked.proposedName ?? nameFor(directoryUrl);
  if (asked.name === undefined && byName !== null) {
    throw fault(
      `The server ${name} is at ${byName.directory_url}, the account's at ${directoryUrl}. Say with --server how the latter is to be called.`,
    );
  }
  const row = {
    name,
    directory_url: directoryUrl,
    ca_bundle: asked.caBundle ?? null,
    allowed_hosts: asked.allowedHosts,
  };
  return { row, isNew: true };
}

/** A name for a server that has none yet: its host, as far as a name may look like one. */
export function nameFor(directoryUrl: string): string {
  const { host } = new URL(directoryUrl);
  return host
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[._-]+/, '')
    .slice(0, 63);
}

function fault(message: string): PgacmeError {
  return new PgacmeError('ERR_ACCOUNT_FILE', printable(message, 5000));
}
