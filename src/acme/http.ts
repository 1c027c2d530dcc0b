import { Agent, type Dispatcher } from 'undici';
import type { HttpAnswer } from './answer.ts';
import type { Headers } from './headers.ts';
import type { Target } from './hosts.ts';
import { AcmeTrouble, type TroubleCode } from './problem.ts';
import { secureContext } from './roots.ts';
import { printable } from './text.ts';

const MAX_BODY = 1_048_576;
const DEFAULT_TIMEOUT_MS = 30_000;
/** Node takes a longer timer for one of a millisecond. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Common options of every remote call: the bounds of its HTTP requests (RFC 8555 §6.1). */
export interface Call {
  /** Aborts the call: ERR_ACME_ABORTED. */
  signal?: AbortSignal;
  /** For each whole request, connecting and waiting for a free connection included; default 30,000. */
  timeoutMs?: number;
  /**
   * A value of `performance.now()`: nothing is sent from then on (ERR_ACME_DEADLINE), and a request
   * that is under way then ends as ERR_ACME_TIMEOUT.
   */
  deadline?: number;
}

/** A request as the transport sends it. */
export interface Send {
  method: 'GET' | 'HEAD' | 'POST';
  /** Names and values in turn. */
  headers: readonly string[];
  body: string | null;
}

/** Makes the keep-alive agent of one server. */
export function makeAgent(connections: number, caBundle: string | undefined): Agent {
  return new Agent({
    connections,
    pipelining: 1,
    // Our own timer bounds the whole request, a queue for a connection included.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      timeout: DEFAULT_TIMEOUT_MS,
      // Made once: reading Node's roots costs 50 ms, and `ca` would do it for each connection.
      ...(caBundle === undefined ? {} : { secureContext: secureContext(caBundle) }),
    },
  });
}

/** Sends one request and reads the whole answer, whatever its status; throws AcmeTrouble. */
export function exchange(
  agent: Dispatcher,
  target: Target,
  send: Send,
  call: Call,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    new Exchange(target, call, resolve, reject).run(agent, send);
  });
}

/** One request under way. A class of its own, not a promise chain: this is the hot path. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #target: Target;
  readonly #call: Call;
  readonly #resolve: (answer: HttpAnswer) => void;
  readonly #reject: (error: AcmeTrouble) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timeoutMs = 0;
  #endsAtDeadline = false;
  #settled = false;
  #bounded = true;
  #status = 0;
  #headers: Headers = {};
  #chunks: Buffer[] = [];
  #size = 0;

  constructor(
    target: Target,
    call: Call,
    resolve: (answer: HttpAnswer) => void,
    reject: (error: AcmeTrouble) => void,
  ) {
    this.#target = target;
    this.#call = call;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  run(agent: Dispatcher, send: Send): void {
    const { signal, deadline, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#call;
    if (signal?.aborted === true) return this.handleEvent();
    const left = deadline === undefined ? Infinity : deadline - performance.now();
    if (left <= 0) return this.#late();
    this.#endsAtDeadline = left <= timeoutMs;
    this.#timeoutMs = Math.max(1, Math.ceil(Math.min(timeoutMs, left, MAX_TIMER_MS)));
    this.#timer = setTimeout(timeOut, this.#timeoutMs, this);
    signal?.addEventListener('abort', this, { once: true });
    this.#bounded = send.method !== 'HEAD';
    const { origin, path } = this.#target;
    const { method, body } = send;
    const headers = send.headers as string[];
    // undici ends the connection after HEAD otherwise, and the request after it would pay a handshake.
    agent.dispatch({ origin, path, method, headers, body, reset: false }, this);
  }

  /** The abort event of the caller's signal. */
  handleEvent(): void {
    this.#fail('ERR_ACME_ABORTED', 'was given up because the caller aborted it', {
      cause: this.#call.signal?.reason,
    });
  }

  /** The time-out; what was not sent by the deadline is told apart, since it had no effect. */
  timedOut(): void {
    if (this.#controller === undefined && this.#endsAtDeadline) return this.#late();
    this.#fail(
      'ERR_ACME_TIMEOUT',
      `gave no whole answer within ${this.#timeoutMs} ms; try again later`,
    );
  }

  /** Right before the request is written to a connection. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (!this.#settled && this.#controller !== undefined) {
      // What was written once may have had its effect; only the caller may decide to send again.
      this.#fail('ERR_ACME_NETWORK', 'lost the connection; try again later');
    }
    if (!this.#settled && performance.now() >= (this.#call.deadline ?? Infinity)) this.#late();
    this.#controller = controller;
    if (this.#settled) controller.abort(new Error('given up'));
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Headers): void {
    // Interim answers (103 Early Hints) come first and mean nothing here.
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
    if (this.#bounded && Number(headers['content-length'] ?? 0) > MAX_BODY) this.#tooLarge();
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#size > MAX_BODY) this.#tooLarge();
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    this.#settle();
    const [first = Buffer.alloc(0)] = this.#chunks;
    this.#resolve({
      url: this.#target.url,
      status: this.#status,
      headers: this.#headers,
      body: this.#chunks.length > 1 ? Buffer.concat(this.#chunks) : first,
    });
  }

  onResponseError(_: Dispatcher.DispatchController | undefined, error: Error): void {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
    if (code === 'UND_ERR_HEADERS_OVERFLOW') return this.#tooLarge();
    this.#fail('ERR_ACME_NETWORK', networkCure(code, error), { cause: error });
  }

  #late(): void {
    this.#fail(
      'ERR_ACME_DEADLINE',
      'was not asked, since the time of this step was over; run the step again',
    );
  }

  #tooLarge(): void {
    this.#fail(
      'ERR_ACME_TOO_LARGE',
      `answered more than ${MAX_BODY} bytes; check that the directory URL is an ACME server's`,
      this.#status === 0 ? {} : { status: this.#status },
    );
  }

  #fail(
    code: TroubleCode,
    sentence: string,
    facts: { status?: number; cause?: unknown } = {},
  ): void {
    if (this.#settled) return;
    this.#settle();
    this.#reject(new AcmeTrouble(code, `${printable(this.#target.url, 200)} ${sentence}.`, facts));
    // Destroys the connection, so that nothing more is read from it.
    this.#controller?.abort(new Error('given up'));
  }

  #settle(): void {
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#call.signal?.removeEventListener('abort', this);
  }
}

function timeOut(exchange: Exchange): void {
  exchange.timedOut();
}

function networkCure(code: string, error: Error): string {
  const what = `could not be reached (${printable(code, 50)}: ${printable(error.message, 200)})`;
  // OpenSSL's verification errors and Node's own for a name that does not match.
  if (/CERT|SELF_SIGNED|ALTNAME|UNABLE_TO/.test(code)) {
    return `${what}; if the CA is a private one, give the server its CA bundle`;
  }
  if (code === 'ENOTFOUND') return `${what}; check the host name and the resolver`;
  return `${what}; try again later, and check the way out of this network`;
}
