import type { Logger } from 'pino';

/** SQLSTATE classes and codes of a database that is away or comes back: connections, shutdown, start, fail-over. */
const PASSING_STATES = /^(08...|57P0[1235]|25006|53300|55P03|40...)$/;
const PASSING_CODES =
  /^(ECONN\w+|EPIPE|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|EAI_AGAIN|ENOTFOUND|CONNECT\w+)$/;
// The driver of the queue has no codes for these.
const PASSING_TEXTS =
  /connection terminated|connection ended|timeout exceeded when trying to connect|query read timeout|client has encountered a connection error/i;

/** Whether an error of the database passes without anybody's doing. */
export function isPassing(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.every(isPassing);
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  return PASSING_STATES.test(code) || PASSING_CODES.test(code) || PASSING_TEXTS.test(error.message);
}

/** What heals by itself is told in a line; for the rest a person has to look, who needs the stack. */
export function logFailure(log: Logger, error: unknown, text: string): void {
  if (isPassing(error)) {
    log.info({ reason: error instanceof Error ? error.message : String(error) }, text);
  } else {
    log.error({ err: error }, text);
  }
}
