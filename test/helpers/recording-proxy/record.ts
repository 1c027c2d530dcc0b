import { createHash } from 'node:crypto';

/** What an ACME request is about. */
export type Kind =
  | 'directory'
  | 'newNonce'
  | 'newAccount'
  | 'account'
  | 'newOrder'
  | 'order'
  | 'authorization'
  | 'challenge'
  | 'finalize'
  | 'certificate'
  | 'keyChange'
  | 'revokeCert'
  | 'other';

/** One request that the CA saw, and what became of its answer. */
export interface AcmeRecord {
  method: string;
  path: string;
  kind: Kind;
  /** The account URL that signed it; undefined: signed with the key itself, or not signed. */
  kid: string | undefined;
  /** undefined: not signed. */
  payload: 'POST-as-GET' | Readonly<Record<string, unknown>> | undefined;
  /** Of the payload: the signed body differs in each try by its nonce. */
  payloadHash: string | undefined;
  /** The order that it is about, where that is known. */
  order: string | undefined;
  /** `Date.now()`, so that it compares with what other processes say. */
  askedAt: number;
  /** undefined: the CA has not answered yet. */
  answeredAt: number | undefined;
  status: number | undefined;
  location: string | undefined;
  /** The type of the problem that it was refused with, without its prefix. */
  problem: string | undefined;
  /** Whether the whole answer was written to a client that was still there. */
  isDelivered: boolean;
}

/** A record of a request that was just read, as far as the request itself tells. */
export function recordOf(method: string, path: string, body: Buffer): AcmeRecord {
  const jws = objectOf(body.toString('utf8'));
  const text = jws === undefined ? undefined : decoded(jws['payload']);
  const kid = objectOf(decoded(jws?.['protected']))?.['kid'];
  return {
    method,
    path,
    kind: 'other',
    kid: typeof kid === 'string' ? kid : undefined,
    payload: text === '' ? 'POST-as-GET' : objectOf(text),
    payloadHash: text === undefined ? undefined : createHash('sha256').update(text).digest('hex'),
    order: undefined,
    askedAt: Date.now(),
    answeredAt: undefined,
    status: undefined,
    location: undefined,
    problem: undefined,
    isDelivered: false,
  };
}

/** A JSON object, or undefined for everything else. */
export function objectOf(text: string | undefined): Record<string, unknown> | undefined {
  if (text?.startsWith('{') !== true) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function decoded(base64url: unknown): string | undefined {
  return typeof base64url === 'string'
    ? Buffer.from(base64url, 'base64url').toString('utf8')
    : undefined;
}
