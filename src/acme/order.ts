import type { Account } from './account.ts';
import {
  type Answer,
  answerWith,
  badAnswer,
  type HttpAnswer,
  jsonOf,
  locationOf,
} from './answer.ts';
import {
  type Identifier,
  identifier,
  listMember,
  oneOf,
  optionalError,
  optionalText,
  optionalTime,
  urlList,
  urlMember,
} from './guards.ts';
import type { Call } from './http.ts';
import type { ProblemDocument } from './problem.ts';
import type { JsonObject } from './text.ts';

/** The status of an order (RFC 8555 §7.1.6). */
export type OrderStatus = 'pending' | 'ready' | 'processing' | 'valid' | 'invalid';

const STATUSES: readonly OrderStatus[] = ['pending', 'ready', 'processing', 'valid', 'invalid'];

/** An order (RFC 8555 §7.1.3; `profile` draft-ietf-acme-profiles). Times are RFC 3339. */
export interface Order {
  status: OrderStatus;
  expires?: string;
  /** In no particular order. */
  identifiers: Identifier[];
  notBefore?: string;
  notAfter?: string;
  /** What happened during finalization, while `invalid`. */
  error?: ProblemDocument;
  /** URLs, in no particular order. */
  authorizations: string[];
  finalize: string;
  /** A URL, once `valid`. */
  certificate?: string;
  profile?: string;
  /** The certificate that this order's replaces, by its id (RFC 9773 §5). */
  replaces?: string;
}

/** What newOrder asks for (RFC 8555 §7.4, RFC 9773 §5, draft-ietf-acme-profiles). */
export interface OrderRequest {
  identifiers: readonly Identifier[];
  /** One that the directory lists (draft-ietf-acme-profiles). */
  profile?: string;
  /** RFC 3339. Many CAs refuse an order that names its times (RFC 8555 §7.4). */
  notBefore?: string;
  notAfter?: string;
  /**
   * The `certificateId` of the certificate that this one replaces (RFC 9773 §5); only where the directory
   * has `renewalInfo`. AcmeProblem `alreadyReplaced`: order again without it.
   */
  replaces?: string;
}

/**
 * Orders a certificate (RFC 8555 §7.4). Not idempotent by contract: store `url` at once. CAs may hand
 * back an order that exists already, in any status.
 */
export async function newOrder(
  account: Account,
  request: OrderRequest,
  call: Call = {},
): Promise<Answer<Order> & { url: string }> {
  const { server } = account;
  const identifiers = request.identifiers.map(({ type, value }) => ({ type, value }));
  const { newOrder: endpoint } = await server.directory(call);
  const { profile, notBefore, notAfter, replaces } = request;
  const payload = { identifiers, notBefore, notAfter, replaces, profile };
  const answer = await server.post(account, endpoint, payload, call);
  const order = orderOf(answer);
  const url = locationOf(answer);
  // RFC 8555 §7.1.3: what makes a pending order ready are its authorizations.
  if (order.status === 'pending' && order.authorizations.length === 0) {
    throw badAnswer(answer.url, 'with a pending order that has no authorizations');
  }
  // Now and not when they are visited: whoever stores this order could never get on with it.
  for (const named of [url, order.finalize, ...order.authorizations]) server.assertAllowed(named);
  return { url, ...answerWith(order, answer) };
}

/** Reads an order (RFC 8555 §7.4). */
export async function getOrder(
  account: Account,
  url: string,
  call: Call = {},
): Promise<Answer<Order>> {
  const answer = await account.server.fetch(account, url, call);
  return answerWith(orderOf(answer), answer);
}

/**
 * Sends the CSR (DER) of a `ready` order (RFC 8555 §7.4). The order comes back `processing` or
 * `valid`; AcmeProblem `orderNotReady` says to read it again.
 */
export async function finalizeOrder(
  account: Account,
  order: { finalize: string },
  csrDer: Uint8Array,
  call: Call = {},
): Promise<Answer<Order>> {
  const csr = Buffer.from(csrDer.buffer, csrDer.byteOffset, csrDer.byteLength);
  const payload = { csr: csr.toString('base64url') };
  const answer = await account.server.post(account, order.finalize, payload, call);
  return answerWith(orderOf(answer), answer);
}

function orderOf(answer: HttpAnswer): Order {
  const object = jsonOf(answer);
  const { url } = answer;
  const order: Order = {
    status: orderStatus(url, object),
    identifiers: listMember(url, object, 'identifiers').map((one) => identifier(url, one)),
    authorizations: urlList(url, object, 'authorizations'),
    finalize: urlMember(url, object, 'finalize'),
  };
  // RFC 8555 §7.4.2: a valid order has its certificate.
  if (order.status === 'valid' || object['certificate'] !== undefined) {
    order.certificate = urlMember(url, object, 'certificate');
  }
  for (const name of ['expires', 'notBefore', 'notAfter'] as const) {
    const time = optionalTime(object, name);
    if (time !== undefined) order[name] = time;
  }
  const profile = optionalText(object, 'profile', 100);
  if (profile !== undefined) order.profile = profile;
  const replaces = optionalText(object, 'replaces', 200);
  if (replaces !== undefined) order.replaces = replaces;
  const error = optionalError(object);
  if (error !== undefined) order.error = error;
  return order;
}

/** Pebble 2.4 shows the status of a lost authorization as the order's; RFC 8555 §7.1.6: invalid. */
function orderStatus(url: string, object: JsonObject): OrderStatus {
  const { status } = object;
  if (status === 'deactivated' || status === 'expired' || status === 'revoked') return 'invalid';
  return oneOf(url, object, 'status', STATUSES);
}
