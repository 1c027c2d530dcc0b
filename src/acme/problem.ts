import { isPlain, jsonbSafe, type JsonObject, printable } from './text.ts';

const URN = 'urn:ietf:params:acme:error:';
const MAX_SUBPROBLEMS = 200;
/** Bytes of a document to store: it may come with each failure. */
const MAX_DOCUMENT = 16_384;

/**
 * The base of all errors of this library, those that a CA sends (RFC 8555 §6.7) included; `code` is stable.
 * Of its own it has ERR_ACME_KEY (not a key that can sign), ERR_ACME_EAB (not a key of an external account),
 * ERR_ACME_CERTIFICATE (not a certificate that has an id) and ERR_ACME_CAA (not fit for a CAA record): what
 * was given is wrong, and nothing was sent.
 */
export class AcmeError extends Error {
  readonly code: string;
  override name = 'AcmeError';

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * What went wrong with the remote where it did not answer with a problem document (RFC 8555 §6.7). No whole
 * answer: NETWORK, TIMEOUT, ABORTED by the caller; not sent at all: DEADLINE, FORBIDDEN_URL, UNSUPPORTED (the
 * directory or account has no such resource). An answer of no use: HTTP (a status of failure without a
 * problem), REDIRECT, NOT_JSON, TOO_LARGE, BAD_ANSWER (not what RFC 8555 says), NONCE (fresh nonces refused).
 */
export type TroubleCode =
  | 'ERR_ACME_NETWORK'
  | 'ERR_ACME_TIMEOUT'
  | 'ERR_ACME_DEADLINE'
  | 'ERR_ACME_ABORTED'
  | 'ERR_ACME_NOT_JSON'
  | 'ERR_ACME_TOO_LARGE'
  | 'ERR_ACME_REDIRECT'
  | 'ERR_ACME_FORBIDDEN_URL'
  | 'ERR_ACME_BAD_ANSWER'
  | 'ERR_ACME_HTTP'
  | 'ERR_ACME_NONCE'
  | 'ERR_ACME_UNSUPPORTED';

/** What is known of the answer that came; texts are printable. */
export interface TroubleFacts {
  status?: number | undefined;
  contentType?: string | undefined;
  excerpt?: string | undefined;
  retryAfterMs?: number | undefined;
  location?: string | undefined;
  cause?: unknown;
}

/**
 * Remote trouble: no answer, or none that ACME allows (RFC 8555 §6, §6.7). `status`, `contentType` and `excerpt` (200
 * printable characters of the body) tell what came, `retryAfterMs` how long the remote asks to wait; `location` is that
 * of an order that newOrder made, whose answer is of no use: read the order.
 */
export class AcmeTrouble extends AcmeError {
  declare readonly code: TroubleCode;
  readonly status?: number;
  readonly contentType?: string;
  readonly excerpt?: string;
  readonly retryAfterMs?: number;
  readonly location?: string;
  override name = 'AcmeTrouble';

  /** @internal */
  constructor(code: TroubleCode, message: string, facts: TroubleFacts = {}) {
    super(code, message, facts.cause === undefined ? undefined : { cause: facts.cause });
    if (facts.status !== undefined) this.status = facts.status;
    if (facts.contentType !== undefined) this.contentType = facts.contentType;
    if (facts.excerpt !== undefined) this.excerpt = facts.excerpt;
    if (facts.retryAfterMs !== undefined) this.retryAfterMs = facts.retryAfterMs;
    if (facts.location !== undefined) this.location = facts.location;
  }
}

/** One part of a compound problem (RFC 8555 §6.7.1). */
export interface Subproblem {
  type: string;
  detail: string;
  identifier?: { type: string; value: string };
}

/**
 * A problem document (RFC 9457 §3, RFC 8555 §6.7). `type` is the short name (`rateLimited`) where the URN
 * is ACME's, else the whole URI or `about:blank`; texts are printable; `document` is the object as it
 * came, fit for jsonb, or the main part of it (`truncated`) where it is longer than 16 KiB.
 */
export interface ProblemDocument {
  type: string;
  detail: string;
  subproblems: readonly Subproblem[];
  status?: number;
  instance?: string;
  algorithms?: readonly string[];
  document: JsonObject;
}

/** Reads a problem document; never fails, since a broken one still is a problem. */
export function problemDocument(object: JsonObject): ProblemDocument {
  const { status, instance, algorithms, subproblems } = object;
  const problem: ProblemDocument = {
    ...typeAndDetail(object),
    subproblems: Array.isArray(subproblems)
      ? subproblems.slice(0, MAX_SUBPROBLEMS).filter(isObject).map(subproblem)
      : [],
    document: boundedDocument(object),
  };
  if (typeof status === 'number') problem.status = status;
  if (typeof instance === 'string' && isPlain(instance, 2000)) problem.instance = instance;
  if (Array.isArray(algorithms)) {
    problem.algorithms = algorithms.filter((alg) => typeof alg === 'string' && isPlain(alg, 50));
  }
  return problem;
}

function boundedDocument(object: JsonObject): JsonObject {
  const whole = jsonbSafe(object);
  if (bytesOf(whole) <= MAX_DOCUMENT) return whole;
  const { type, status, subproblems } = object;
  const parts = Array.isArray(subproblems) ? subproblems.filter(isObject).slice(0, 20) : [];
  const main = {
    type: typeof type === 'string' ? printable(type, 200) : 'about:blank',
    ...(typeof status === 'number' ? { status } : {}),
    detail: typeAndDetail(object).detail,
    truncated: true,
    subproblems: parts.map(subproblem),
  };
  while (bytesOf(main) > MAX_DOCUMENT) main.subproblems.pop();
  return main;
}

function bytesOf(object: JsonObject): number {
  return Buffer.byteLength(JSON.stringify(object));
}

function subproblem(object: JsonObject): Subproblem {
  const part: Subproblem = typeAndDetail(object);
  const { identifier } = object;
  if (isObject(identifier)) {
    const { type, value } = identifier;
    if (typeof type === 'string' && typeof value === 'string') {
      part.identifier = { type: printable(type, 50), value: printable(value, 300) };
    }
  }
  return part;
}

function typeAndDetail({ type, title, detail }: JsonObject): { type: string; detail: string } {
  const uri = typeof type === 'string' ? printable(type, 200) : '';
  const text = typeof detail === 'string' ? detail : typeof title === 'string' ? title : '';
  return {
    type: uri.startsWith(URN) ? uri.slice(URN.length) : uri || 'about:blank',
    // Long enough for the address of a CA's self-service page inside it.
    detail: printable(text, 2000),
  };
}

/** What the answer around a problem document told. */
export interface ProblemFacts {
  url: string;
  status: number;
  retryAfterMs?: number | undefined;
  helpUrl?: string | undefined;
  termsOfServiceUrl?: string | undefined;
  location?: string | undefined;
}

/**
 * The CA answered with a problem document (RFC 8555 §6.7). `status` is that of the HTTP answer;
 * `helpUrl` and `termsOfServiceUrl` are its Link relations `help` and `terms-of-service`;
 * `algorithms` what the CA would accept after `badSignatureAlgorithm` (§6.2); `location` its Location
 * field, which names the other account when a new key is taken (§7.3.5).
 */
export class AcmeProblem extends AcmeError implements ProblemDocument {
  declare readonly code: 'ERR_ACME_PROBLEM';
  readonly type: string;
  readonly detail: string;
  readonly status: number;
  readonly subproblems: readonly Subproblem[];
  readonly document: JsonObject;
  readonly instance?: string;
  readonly algorithms?: readonly string[];
  readonly retryAfterMs?: number;
  readonly helpUrl?: string;
  readonly termsOfServiceUrl?: string;
  readonly location?: string;
  override name = 'AcmeProblem';

  /** @internal */
  constructor(problem: ProblemDocument, facts: ProblemFacts) {
    const { type, detail, instance, algorithms } = problem;
    super(
      'ERR_ACME_PROBLEM',
      `${printable(facts.url, 200)} answered ${facts.status} ${type}: ${detail || 'no detail given'}`,
    );
    this.type = type;
    this.detail = detail;
    this.status = facts.status;
    this.subproblems = problem.subproblems;
    this.document = problem.document;
    if (instance !== undefined) this.instance = instance;
    if (algorithms !== undefined) this.algorithms = algorithms;
    if (facts.retryAfterMs !== undefined) this.retryAfterMs = facts.retryAfterMs;
    if (facts.helpUrl !== undefined) this.helpUrl = facts.helpUrl;
    if (facts.termsOfServiceUrl !== undefined) this.termsOfServiceUrl = facts.termsOfServiceUrl;
    if (facts.location !== undefined) this.location = facts.location;
  }

  /** Whether its type is one of these short names (RFC 8555 §6.7). */
  is(...types: readonly string[]): boolean {
    return types.includes(this.type);
  }

  /** A limit of requests (RFC 8555 §6.6), whichever of type and status says so. */
  get isLimit(): boolean {
    return this.status === 429 || this.is('rateLimited');
  }

  /** An error of the CA itself, whichever of type and status says so. */
  get isServerError(): boolean {
    return this.status >= 500 || this.is('serverInternal');
  }

  /** The same request may succeed later: it met a limit, or an error of the CA. */
  get isTransient(): boolean {
    return this.isLimit || this.isServerError;
  }

  /** A definite no to this request. */
  get isRefusal(): boolean {
    return !this.isTransient;
  }
}

/** Whether the type of a problem is one of ACME's (RFC 8555 §6.7). */
export function isAcmeType(type: unknown): boolean {
  return typeof type === 'string' && type.startsWith(URN);
}

/** Whether a parsed JSON value is an object (not null, not an array). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
