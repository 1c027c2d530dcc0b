import type { AcmeRecord, Kind } from './record.ts';
import { objectOf } from './record.ts';

interface Place {
  kind: Kind;
  order: string | undefined;
}

const ENDPOINTS = ['newNonce', 'newAccount', 'newOrder', 'keyChange', 'revokeCert'] as const;

/**
 * Which URL is what, learned from the CA's own answers, since its paths are its own business: the
 * directory names the endpoints, Location an order or an account, an order its authorizations, its
 * finalize and its certificate, an authorization its challenges.
 */
export class Atlas {
  readonly #places = new Map<string, Place>();

  constructor(directoryPath: string) {
    this.#places.set(directoryPath, { kind: 'directory', order: undefined });
  }

  /** Fills in what is known about the URL of a request. */
  locate(record: AcmeRecord): void {
    Object.assign(record, this.#places.get(record.path));
  }

  /** Fills in what the answer tells, and remembers the URLs in it. */
  learn(record: AcmeRecord, status: number, location: string | undefined, body: Buffer): void {
    record.status = status;
    record.location = location;
    const object = objectOf(body.toString('utf8')) ?? {};
    if (status >= 400) {
      record.problem = String(object['type']).split(':').at(-1);
      return;
    }
    switch (record.kind) {
      case 'directory':
        for (const kind of ENDPOINTS) this.#put(object[kind], kind, undefined);
        break;
      case 'newAccount':
        this.#put(location, 'account', undefined);
        break;
      case 'newOrder':
        record.order = location;
        this.#put(location, 'order', location);
        this.#order(object, location);
        break;
      case 'order':
      case 'finalize':
        this.#order(object, record.order);
        break;
      case 'authorization':
        for (const challenge of list(object['challenges'])) {
          this.#put((challenge as { url?: unknown }).url, 'challenge', record.order);
        }
        break;
      case 'newNonce':
      case 'account':
      case 'challenge':
      case 'certificate':
      case 'keyChange':
      case 'revokeCert':
      case 'other':
        break;
    }
  }

  #order(object: Record<string, unknown>, order: string | undefined): void {
    for (const url of list(object['authorizations'])) this.#put(url, 'authorization', order);
    this.#put(object['finalize'], 'finalize', order);
    this.#put(object['certificate'], 'certificate', order);
  }

  #put(url: unknown, kind: Kind, order: string | undefined): void {
    if (typeof url !== 'string' || !URL.canParse(url)) return;
    const { pathname, search } = new URL(url);
    this.#places.set(pathname + search, { kind, order });
  }
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
