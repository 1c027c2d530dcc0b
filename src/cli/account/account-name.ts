import { PgacmeError } from '../../errors.ts';

/**
 * The name, if it can be that of an account; `option` is where another one is given.
 *
 * @throws PgacmeError ERR_ACCOUNT_NAME
 */
export function accountName(name: string, option?: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,252}$/.test(name)) return name;
  throw new PgacmeError(
    'ERR_ACCOUNT_NAME',
    `${JSON.stringify(name)} cannot be the name of an account: give one of lower-case letters, digits, dots, dashes and underscores${withOption(option)}.`,
  );
}

/** @throws PgacmeError ERR_ACCOUNT_NAME where it cannot be the name of a server. */
export function requireServerName(name: string): void {
  if (/^[a-z0-9][a-z0-9._-]{0,62}$/.test(name)) return;
  throw new PgacmeError(
    'ERR_ACCOUNT_NAME',
    `${JSON.stringify(name)} cannot be the name of a server: give one of lower-case letters, digits, dots, dashes and underscores, of at most 63 characters, with --server.`,
  );
}

/** That there is an account of this name. */
export function nameTaken(name: string, option?: string): PgacmeError {
  return new PgacmeError(
    'ERR_ACCOUNT_NAME',
    `There is an account ${name} already. Give this one another name${withOption(option)}.`,
  );
}

function withOption(option: string | undefined): string {
  return option === undefined ? '' : ` with ${option}`;
}
