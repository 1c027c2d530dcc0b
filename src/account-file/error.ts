import { PgacmeError } from '../errors.ts';

/** A file that is not an account that can be taken over; the message says why, and what to do. */
export function accountFileError(message: string, cause?: unknown): PgacmeError {
  return new PgacmeError('ERR_ACCOUNT_FILE', message, cause === undefined ? undefined : { cause });
}
