import type { AcmeRecord, Kind } from './record.ts';

/** An order that the CA made. */
export interface MadeOrder {
  url: string;
  identifiers: string[];
}

/** How often an order was finalized. */
export interface Finalizations {
  /** Requests that reached the CA, whatever came of them. */
  sent: number;
  /** Those that the CA took. */
  succeeded: number;
}

/** The same thing, sent more than once. */
export interface Repeated {
  kind: Kind;
  path: string;
  times: number;
  /** The CA's answers, in the order in which they were asked for; undefined: none yet. */
  statuses: (number | undefined)[];
}

/** The orders that the CA made (201), each once also where it handed one back again. */
export function ordersMade(records: readonly AcmeRecord[]): MadeOrder[] {
  const made = new Map<string, string[]>();
  for (const { kind, status, order, payload } of records) {
    if (kind !== 'newOrder' || status !== 201 || order === undefined) continue;
    made.set(order, identifiersOf(payload));
  }
  return [...made].map(([url, identifiers]) => ({ url, identifiers }));
}

/** How often each order was finalized, by order URL; orders that never were are missing. */
export function finalizations(records: readonly AcmeRecord[]): Map<string, Finalizations> {
  const counts = new Map<string, Finalizations>();
  for (const record of records) {
    if (record.kind !== 'finalize' || isRefusedNonce(record)) continue;
    const order = record.order ?? record.path;
    const count = counts.get(order) ?? { sent: 0, succeeded: 0 };
    count.sent += 1;
    if (isSuccess(record)) count.succeeded += 1;
    counts.set(order, count);
  }
  return counts;
}

/**
 * What was sent more than once, by kind, URL and payload. Left out: reads and nonces, which have no
 * effect, and requests that were refused for their nonce, which had none.
 */
export function sentAgain(records: readonly AcmeRecord[]): Repeated[] {
  const groups = new Map<string, AcmeRecord[]>();
  for (const record of records) {
    if (record.payload === undefined || record.payload === 'POST-as-GET') continue;
    if (isRefusedNonce(record)) continue;
    const key = `${record.kind} ${record.path} ${record.payloadHash}`;
    groups.set(key, [...(groups.get(key) ?? []), record]);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined || group.length < 2) return [];
    const { kind, path } = first;
    return [{ kind, path, times: group.length, statuses: group.map(({ status }) => status) }];
  });
}

/** Whether the CA took it. */
export function isSuccess({ status }: AcmeRecord): boolean {
  return status !== undefined && status >= 200 && status < 300;
}

// RFC 8555 §6.5: such a request is to be sent again, with another nonce.
function isRefusedNonce({ problem }: AcmeRecord): boolean {
  return problem === 'badNonce';
}

function identifiersOf(payload: AcmeRecord['payload']): string[] {
  const list = typeof payload === 'object' ? payload['identifiers'] : undefined;
  return Array.isArray(list) ? list.map((one) => String((one as { value?: unknown }).value)) : [];
}
