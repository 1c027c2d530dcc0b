import {
  type AccountKey,
  type AccountResource,
  AcmeProblem,
  getAccount,
  newAccount,
  printable,
  type Server,
} from '../../acme/index.ts';
import { PgacmeError } from '../../errors.ts';
import { asSentence } from '../sentence.ts';

/** What the server has for a key. */
export interface LiveAccount {
  url: string;
  resource: AccountResource;
  termsUrl: string | undefined;
}

/**
 * Asks the server whether a key is the live one of its account: for the account of the key (RFC 8555
 * §7.3.1, which never makes one), then for the account itself, signed with it (§7.3.2).
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE, a sentence: the key is no account's, or not any more; the account
 * is deactivated; it has another URL than the file says.
 */
export async function liveAccount(
  server: Server,
  key: AccountKey,
  expectedUrl: string | undefined,
): Promise<LiveAccount> {
  const call = { deadline: performance.now() + 60_000 };
  const { meta } = await server.directory(call);
  const found = await newAccount(server, key, { onlyReturnExisting: true }, call).catch(
    async (error: unknown) => {
      if (!(error instanceof AcmeProblem)) throw error;
      throw refused(
        error.is('accountDoesNotExist') && expectedUrl !== undefined
          ? await whyUnknown(server, key, expectedUrl)
          : whyRefused(server, error),
        error,
      );
    },
  );
  if (expectedUrl !== undefined && found.url !== expectedUrl) {
    throw refused(
      `The file says that the key is of account ${expectedUrl}, but ${server.directoryUrl} has it for ${found.url}. The file is of another server, or was put together from two accounts; import the key alone if the latter is the one you want.`,
    );
  }
  const resource = await getAccount({ server, url: found.url, key }, call).catch(
    (error: unknown) => {
      if (!(error instanceof AcmeProblem)) throw error;
      throw refused(whyRefused(server, error), error);
    },
  );
  if (resource.status !== 'valid') {
    throw refused(
      `The account ${found.url} is ${resource.status}, for good: no request of it is taken any more. Register a new account instead.`,
    );
  }
  return { url: found.url, resource, termsUrl: meta.termsOfService };
}

/** The server knows no account of this key. Does it know the account? */
async function whyUnknown(server: Server, key: AccountKey, url: string): Promise<string> {
  const end = `Take a newer export, or the key from where the account was last used.`;
  if (!server.allows(url)) {
    return `The server at ${server.directoryUrl} has no account for this key, and ${url} is on another host: the file is of another server.`;
  }
  const error = await getAccount({ server, url, key }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof AcmeProblem && error.is('accountDoesNotExist')) {
    return `The server at ${server.directoryUrl} has neither an account for this key nor the account ${url}: the file is of another server, or the server has lost it.`;
  }
  return `This key is not the live one: ${server.directoryUrl} has no account for it. It was replaced by a key roll-over since the file was written, or the account was deactivated (${url}). ${end}`;
}

function whyRefused(server: Server, problem: AcmeProblem): string {
  switch (problem.type) {
    case 'accountDoesNotExist':
      return `The server at ${server.directoryUrl} has no account for this key: it was replaced by a key roll-over, its account was deactivated, or it is of another server.`;
    case 'unauthorized':
      return `The server at ${server.directoryUrl} does not take this key's requests, most likely because its account is deactivated: ${problem.message}`;
    default:
      return `The server at ${server.directoryUrl} does not confirm the account: ${problem.message}`;
  }
}

function refused(message: string, cause?: unknown): PgacmeError {
  return new PgacmeError(
    'ERR_ACCOUNT_FILE',
    printable(`${asSentence(message)} Nothing was imported.`, 5000),
    cause === undefined ? undefined : { cause },
  );
}
