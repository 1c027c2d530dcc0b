import type { Agent } from 'undici';
import { version } from '../version.ts';
import { badAnswer, failureOf, type HttpAnswer } from './answer.ts';
import { type Directory, directoryOf, type OptionalResource } from './directory.ts';
import { header, httpDate } from './headers.ts';
import { Hosts, type Target } from './hosts.ts';
import { type Call, exchange, makeAgent } from './http.ts';
import { signedBody, type Signer } from './jws.ts';
import { nonceOf, NoncePool } from './nonce.ts';
import { AcmeProblem, AcmeTrouble } from './problem.ts';
import { printable } from './text.ts';

const DAY_MS = 86_400_000;
const MAX_BAD_NONCES = 10;

/** How to reach an ACME server (RFC 8555 §6.1, §7.1.1). */
export interface ServerOptions {
  directoryUrl: string;
  /** PEM certificates to trust for this server only, besides Node's roots. */
  caBundle?: string;
  /** Hosts (`host`, or `host:port` unless it is 443) besides the directory's own that its URLs may name. */
  allowedHosts?: readonly string[];
  /** Named first in the User-Agent field, before `pgacme/<version>`. */
  userAgent?: string;
  /** How long a directory is believed; default 24 h. */
  directoryTtlMs?: number;
  /** Connections per host at most; default 16. */
  connections?: number;
}

/**
 * An ACME server: its directory (RFC 8555 §7.1.1), its nonces (§6.5) and the connections to it (§6.1). Make
 * one for each server in a process and share it. Making one does no I/O and does not fail; what is wrong
 * with the options shows in the first call.
 */
export class Server {
  readonly directoryUrl: string;
  readonly #options: ServerOptions;
  readonly #hosts: Hosts;
  readonly #nonces = new NoncePool();
  readonly #getHeaders: readonly string[];
  readonly #postHeaders: readonly string[];
  readonly #pemHeaders: readonly string[];
  #agent: Agent | undefined;
  #directory: { value: Directory; until: number } | undefined;
  #fetching: Promise<Directory> | undefined;
  #clockAheadMs: number | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.directoryUrl = options.directoryUrl;
    this.#hosts = new Hosts(options.directoryUrl, options.allowedHosts ?? []);
    // RFC 8555 §6.1: the client and its HTTP library in User-Agent; and Accept-Language.
    const prefix = (options.userAgent ?? '').replace(/[^\x20-\x7e]/g, '').trim();
    const agent = `${prefix} pgacme/${version} (+undici)`.trim();
    this.#getHeaders = ['user-agent', agent, 'accept-language', 'en'];
    this.#postHeaders = [...this.#getHeaders, 'content-type', 'application/jose+json'];
    // RFC 8555 §7.4.2.
    this.#pemHeaders = [...this.#postHeaders, 'accept', 'application/pem-certificate-chain'];
  }

  /** The directory (RFC 8555 §7.1.1), from memory while it is fresh unless `refresh` is set. */
  async directory(call: Call & { refresh?: boolean } = {}): Promise<Directory> {
    const known = this.#directory;
    if (known !== undefined && performance.now() < known.until && call.refresh !== true) {
      return known.value;
    }
    // Callers that start together share one request, within the first one's bounds.
    this.#fetching ??= this.#fetchDirectory(call).finally(() => (this.#fetching = undefined));
    return this.#fetching;
  }

  /**
   * By how much the server's clock is ahead of this machine's, in milliseconds, by the Date of the last
   * answer for the directory, whatever its status; undefined before one that has a Date. Date has whole
   * seconds, so half a second more or less means nothing.
   */
  get clockAheadMs(): number | undefined {
    return this.#clockAheadMs;
  }

  async #fetchDirectory(call: Call): Promise<Directory> {
    const target = this.#hosts.target(this.directoryUrl);
    const sentAt = Date.now();
    const answer = await this.#send('GET', target, this.#getHeaders, call);
    const date = httpDate(header(answer.headers, 'date')?.trim());
    this.#clockAheadMs = date === undefined ? undefined : date + 500 - (sentAt + Date.now()) / 2;
    if (!isSuccess(answer)) throw failureOf(answer);
    const value = directoryOf(answer);
    // Before it is kept: a directory that points elsewhere must not be believed for a day.
    for (const endpoint of [value.newNonce, value.newAccount, value.newOrder]) {
      this.assertAllowed(endpoint);
    }
    const until = performance.now() + (this.#options.directoryTtlMs ?? DAY_MS);
    this.#directory = { value, until };
    return value;
  }

  /** Closes the connections once the requests under way have ended; later calls fail. */
  async close(): Promise<void> {
    this.#agent ??= makeAgent(1, undefined);
    await this.#agent.close();
  }

  /** Whether the server may point at this URL. @internal */
  allows(url: string): boolean {
    return this.#hosts.allows(url);
  }

  /** The same as an assertion: throws ERR_ACME_FORBIDDEN_URL. @internal */
  assertAllowed(url: string): void {
    this.#hosts.target(url);
  }

  /**
   * A resource of the directory that a CA need not have (RFC 8555 §7.1.1); throws ERR_ACME_UNSUPPORTED.
   * @internal
   */
  async resource(name: OptionalResource, call: Call = {}): Promise<string> {
    const url = (await this.directory(call))[name];
    if (url !== undefined) return url;
    throw new AcmeTrouble(
      'ERR_ACME_UNSUPPORTED',
      `The directory ${printable(this.directoryUrl, 200)} has no ${name}; this CA does not offer it.`,
    );
  }

  /** A plain GET, for what needs no signature (RFC 9773 §4.1). @internal */
  async get(url: string, call: Call = {}): Promise<HttpAnswer> {
    const answer = await this.#send('GET', this.#hosts.target(url), this.#getHeaders, call);
    if (!isSuccess(answer)) throw failureOf(answer);
    return answer;
  }

  /** POST-as-GET (RFC 8555 §6.3). @internal */
  fetch(signer: Signer, url: string, call: Call = {}, as?: 'pem'): Promise<HttpAnswer> {
    return this.#post(signer, url, '', call, as === 'pem' ? this.#pemHeaders : this.#postHeaders);
  }

  /**
   * Posts a payload; gives the answer if its status is 2xx, else throws AcmeProblem or AcmeTrouble.
   * @internal
   */
  post(signer: Signer, url: string, payload: object, call: Call = {}): Promise<HttpAnswer> {
    return this.#post(signer, url, JSON.stringify(payload), call, this.#postHeaders);
  }

  async #post(
    signer: Signer,
    url: string,
    payload: string,
    call: Call,
    headers: readonly string[],
  ): Promise<HttpAnswer> {
    const target = this.#hosts.target(url);
    let nonce = this.#nonces.take() ?? (await this.#newNonce(call));
    for (let refused = 1; ; refused += 1) {
      const body = await signedBody(signer, url, nonce, payload);
      const answer = await this.#send('POST', target, headers, call, body);
      if (isSuccess(answer)) {
        this.#nonces.keep(answer.headers);
        return answer;
      }
      const failure = failureOf(answer);
      if (!(failure instanceof AcmeProblem) || failure.type !== 'badNonce') {
        this.#nonces.keep(answer.headers);
        throw failure;
      }
      if (refused === MAX_BAD_NONCES) throw tooManyBadNonces(url, failure);
      // RFC 8555 §6.5: repeat with the nonce of the error answer itself.
      nonce = nonceOf(answer.headers) ?? (await this.#newNonce(call));
    }
  }

  /** RFC 8555 §7.2. */
  async #newNonce(call: Call): Promise<string> {
    const { newNonce } = await this.directory(call);
    const answer = await this.#send('HEAD', this.#hosts.target(newNonce), this.#getHeaders, call);
    if (!isSuccess(answer)) throw failureOf(answer);
    const nonce = nonceOf(answer.headers);
    if (nonce === undefined) throw badAnswer(newNonce, 'without a Replay-Nonce in base64url');
    return nonce;
  }

  async #send(
    method: 'GET' | 'HEAD' | 'POST',
    target: Target,
    headers: readonly string[],
    call: Call,
    body: string | null = null,
  ): Promise<HttpAnswer> {
    const { connections = 16, caBundle } = this.#options;
    this.#agent ??= makeAgent(connections, caBundle);
    return exchange(this.#agent, target, { method, headers, body }, call);
  }
}

function isSuccess({ status }: HttpAnswer): boolean {
  return status >= 200 && status < 300;
}

function tooManyBadNonces(url: string, cause: AcmeProblem): AcmeTrouble {
  return new AcmeTrouble(
    'ERR_ACME_NONCE',
    `${printable(url, 200)} refused ${MAX_BAD_NONCES} fresh nonces in a row; try again later.`,
    { status: cause.status, retryAfterMs: cause.retryAfterMs, cause },
  );
}
