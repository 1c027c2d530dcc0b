/** Any JSON object that crossed the wire. */
export type JsonObject = Record<string, unknown>;

/** A problem document (RFC 7807 as used by RFC 8555 §6.7). A `type` without colon is an ACME error. */
export interface Problem {
  readonly type: string;
  readonly detail?: string;
  readonly status?: number;
  readonly [member: string]: unknown;
}

/** What a resource answers, before it is written to the wire. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly json?: unknown;
  readonly body?: string;
  readonly contentType?: string;
}

/** The full form of a problem: the type as a URN, with the status and detail that were left out. */
export function problemDocument(problem: Problem): JsonObject {
  const { type, ...rest } = problem;
  const urn = type.includes(':') ? type : `urn:ietf:params:acme:error:${type}`;
  return { type: urn, detail: 'The test server was told to say so.', status: 400, ...rest };
}

/** A problem as an HTTP answer of `application/problem+json`. */
export function problemAnswer(problem: Problem, headers: Answer['headers'] = {}): Answer {
  const json = problemDocument(problem);
  return {
    status: Number(json['status']),
    headers,
    json,
    contentType: 'application/problem+json',
  };
}

/** Thrown by a resource that refuses a request; answered as a problem document. */
export class Refusal extends Error {
  readonly answer: Answer;

  constructor(type: string, detail: string, status = 400, more: JsonObject = {}, headers = {}) {
    super(detail);
    this.answer = problemAnswer({ type, detail, status, ...more }, headers);
  }
}
