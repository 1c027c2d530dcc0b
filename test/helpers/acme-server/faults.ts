import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { nonceHeaders, type Rendered } from './dispatch.ts';
import { type JsonObject, type Problem, problemDocument } from './problem.ts';
import type { Ca, Resource } from './store.ts';

/** One request as the server saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  /** Undefined for a path that leads nowhere. */
  readonly resource: Resource | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** From the protected header, not verified. */
  readonly kid?: string;
  /** The decoded payload: '' for POST-as-GET, undefined when there is none that can be read. */
  readonly payload?: unknown;
  /** Milliseconds since 1970 by the real clock. */
  readonly at: number;
  /** The status of the answer; undefined while there is none. */
  status?: number;
}

/** What goes wrong. Parts may be combined; headers given as undefined are left out. */
export interface Fault {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
  readonly body?: string;
  readonly contentType?: string;
  readonly problem?: Problem;
  /** An HTML page as answer. */
  readonly html?: boolean;
  /** An answer of so many bytes. */
  readonly bytes?: number;
  readonly redirect?: string;
  /** The request stays open until the client goes or the server stops. */
  readonly nothing?: boolean;
  readonly delayMs?: number;
  /** The answer is held until this is settled. */
  readonly until?: Promise<unknown>;
  /** The connection is closed without an answer, or after half of the body. */
  readonly cut?: 'before-headers' | 'mid-body';
  /** Half of the body, sent as if it were whole. */
  readonly truncateJson?: boolean;
  readonly rewrite?: (json: JsonObject) => unknown;
  /** The answer without its body. */
  readonly noBody?: boolean;

  /** How often it strikes; 1 unless given. */
  readonly times?: number;
  /** How many matching requests pass first. */
  readonly after?: number;
  readonly when?: (request: Seen) => boolean;
  /**
   * `before` (the default): a request that gets an answer of the fault's own is not carried out.
   * `after`: it is carried out, and then answered by the fault.
   */
  readonly phase?: 'before' | 'after';
}

/** A fault in place. */
export interface FaultHandle {
  /** How often it has struck. */
  readonly hits: number;
  remove(): void;
}

/** The faults in place, in the order in which they were put there. */
export class Faults {
  readonly #armed = new Set<{
    resource: Resource | '*';
    fault: Fault;
    passed: number;
    hits: number;
  }>();

  add(resource: Resource | '*', fault: Fault): FaultHandle {
    const entry = { resource, fault, passed: 0, hits: 0 };
    this.#armed.add(entry);
    return {
      get hits() {
        return entry.hits;
      },
      remove: () => void this.#armed.delete(entry),
    };
  }

  clear(): void {
    this.#armed.clear();
  }

  /** The first fault that strikes this request; it counts as a hit. */
  strike(seen: Seen): Fault | undefined {
    for (const entry of this.#armed) {
      const { resource, fault } = entry;
      if (resource !== '*' && resource !== seen.resource) continue;
      if (entry.hits >= (fault.times ?? 1) || fault.when?.(seen) === false) continue;
      if (entry.passed++ < (fault.after ?? 0)) continue;
      entry.hits++;
      return fault;
    }
    return undefined;
  }
}

/** Answers a request as the fault wants it; `carryOut` does what was asked and gives the answer. */
export async function answerWithFault(
  ca: Ca,
  fault: Fault,
  carryOut: () => Promise<Rendered>,
  response: ServerResponse,
): Promise<Rendered | undefined> {
  const carriedOut = fault.phase === 'after' ? await carryOut() : undefined;
  if (fault.delayMs !== undefined) await sleep(fault.delayMs, undefined, { signal: ca.signal });
  if (fault.until !== undefined) await Promise.race([fault.until, stopped(ca.signal)]);
  if (fault.nothing) return undefined;
  if (fault.cut === 'before-headers') {
    response.destroy();
    return undefined;
  }
  const own = ownBody(fault);
  const base: Rendered = own
    ? { status: own.status, headers: nonceHeaders(ca), body: own.body }
    : (carriedOut ?? (await carryOut()));
  const headers: Record<string, string | string[] | undefined> = { ...base.headers };
  if (own) headers['content-type'] = own.contentType;
  if (fault.contentType !== undefined) headers['content-type'] = fault.contentType;
  if (fault.redirect !== undefined) headers['location'] = fault.redirect;
  for (const [name, value] of Object.entries(fault.headers ?? {})) {
    headers[name.toLowerCase()] = value;
  }
  const status = fault.status ?? base.status;
  if (fault.noBody) return { status, headers, body: Buffer.alloc(0) };
  return { status, headers, body: mangle(fault, base.body) };
}

function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** The body the fault brings itself, if any; then the request's own answer is not needed. */
function ownBody(fault: Fault): { status: number; contentType: string; body: Buffer } | undefined {
  if (fault.problem) {
    const document = problemDocument(fault.problem);
    const body = Buffer.from(fault.body ?? JSON.stringify(document));
    return { status: Number(document['status']), contentType: 'application/problem+json', body };
  }
  if (fault.html) {
    const page = '<!doctype html><title>Sorry</title><h1>This is not the page you look for</h1>';
    return { status: 200, contentType: 'text/html; charset=utf-8', body: Buffer.from(page) };
  }
  if (fault.bytes !== undefined) {
    const body = Buffer.alloc(fault.bytes, 'x');
    return { status: 200, contentType: 'application/json', body };
  }
  if (fault.redirect !== undefined) {
    return { status: 307, contentType: 'text/plain', body: Buffer.alloc(0) };
  }
  if (fault.body !== undefined || (fault.status !== undefined && !fault.rewrite && !fault.noBody)) {
    return { status: 200, contentType: 'application/json', body: Buffer.from(fault.body ?? '') };
  }
  return undefined;
}

function mangle(fault: Fault, body: Buffer): Buffer {
  const rewritten = fault.rewrite
    ? Buffer.from(JSON.stringify(fault.rewrite(JSON.parse(body.toString()) as JsonObject)))
    : body;
  return fault.truncateJson ? rewritten.subarray(0, Math.floor(rewritten.length / 2)) : rewritten;
}
