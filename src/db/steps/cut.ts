const CODES: readonly unknown[] = [
  'ERR_NO_ANSWER',
  'ECONNRESET',
  'EPIPE',
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
];

/** Whether a connection broke or fell silent that had been made, as told by one of the two drivers. */
export function isCut(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('code' in error) return CODES.includes(error.code);
  // pg has no code for these.
  return /^(Connection terminated|timeout e)/.test(error.message);
}
