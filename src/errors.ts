/**
 * An error of pgacme itself: a sentence that says what to do, and a stable code. Problems of a CA
 * are `AcmeProblem` and `AcmeTrouble` of `pgacme/acme`.
 */
export class PgacmeError extends Error {
  override readonly name: string = 'PgacmeError';
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
