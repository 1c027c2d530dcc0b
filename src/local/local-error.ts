/** What went wrong with a program that runs beside us: a stable word for code to test. */
export type LocalErrorCode =
  | 'ERR_LOCAL_MISSING'
  | 'ERR_LOCAL_START'
  | 'ERR_LOCAL_IN_USE'
  | 'ERR_LOCAL_FETCH'
  | 'ERR_LOCAL_ANSWER';

/**
 * A local part (PostgreSQL, Pebble, psql) that could not be found, fetched, started or asked.
 * `message` is one sentence that says what to do; `code` is stable.
 */
export class LocalError extends Error {
  readonly code: LocalErrorCode;

  constructor(code: LocalErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LocalError';
    this.code = code;
  }
}

/** The `code` of a system error (`ENOENT`, `EEXIST` …), else undefined. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
