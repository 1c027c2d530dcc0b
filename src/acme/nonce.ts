import { header, type Headers } from './headers.ts';

const MAX_NONCES = 64;

/** The nonce of an answer (RFC 8555 §6.5.1); one that is not base64url is ignored, as required. */
export function nonceOf(headers: Headers): string | undefined {
  const nonce = header(headers, 'replay-nonce');
  return nonce !== undefined && /^[A-Za-z0-9_-]{1,512}$/.test(nonce) ? nonce : undefined;
}

/**
 * The unused nonces of one server (RFC 8555 §6.5), at most 64, newest first: servers forget the old
 * ones. They live in memory only; a database would be slower than asking for a new one.
 */
export class NoncePool {
  readonly #nonces: string[] = [];

  /** How many nonces are at hand. */
  get size(): number {
    return this.#nonces.length;
  }

  /** Keeps the nonce of an answer, where it has one. */
  keep(headers: Headers): void {
    const nonce = nonceOf(headers);
    if (nonce === undefined) return;
    this.#nonces.push(nonce);
    if (this.#nonces.length > MAX_NONCES) this.#nonces.shift();
  }

  /** Takes the newest nonce; it is used once. */
  take(): string | undefined {
    return this.#nonces.pop();
  }
}
