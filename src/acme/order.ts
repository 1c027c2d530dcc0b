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
  isIdentifier,
  isUrlText,
  oneOf,
  optionalError,
  optionalText,
  optionalTime,
  urlMember,
} from './guards.ts';
import type { Call } from './http.ts';
import { AcmeTrouble, type ProblemDocument } from './problem.ts';
import type { JsonObject } from './text.ts';

/** The status of an order (RFC 8555 §7.1.6). */
export type OrderStatus = 'pending' | 'ready' | 'processing' | 'valid' | 'invalid';

const STATUSES: readonly OrderStatus[] = ['pending', 'ready', 'processing', 'valid', 'invalid'];

/**
 * An order (RFC 8555 §7.1.3; `profile` draft-ietf-acme-profiles). Times are RFC 3339. Some CAs leave out of later
 * answers what they said in the first one: lists are empty then, and `finalize` is absent.
 */
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
  finalize?: string;
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
 * back an order that exists already, in any status. AcmeTrouble with a `status` of success: the order was made, but
 * the answer does not tell what is needed; read the order at `location`, if it has that.
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
  let url: string | undefined;
  try {
    const location = locationOf(answer);
    server.assertAllowed(location);
    url = location;
    const order = orderOf(answer);
    assertUsable(account, answer.url, order);
    return { url, ...answerWith(order, answer) };
  } catch (error) {
    if (!(error instanceof AcmeTrouble)) throw error;
    const { contentType, excerpt } = error;
    const facts = { status: answer.status, contentType, excerpt, location: url, cause: error };
    throw new AcmeTrouble(error.code, error.message, facts);
  }
}

/**
 * Reads an order that newOrder made without telling what is needed of it (RFC 8555 §7.4); throws AcmeTrouble where this
 * does not tell it either.
 */
export async function getNewOrder(
  account: Account,
  url: string,
  call: Call = {},
): Promise<Answer<Order>> {
  const answer = await getOrder(account, url, call);
  assertUsable(account, url, answer.value);
  return answer;
}

function assertUsable({ server }: Account, url: string, order: Order): void {
  const { status, authorizations, finalize } = order;
  // RFC 8555 §7.1.3: what makes a pending order ready are its authorizations.
  if (status === 'pending' && authorizations.length === 0) {
    throw badAnswer(url, 'with a pending order that has no authorizations');
  }
  // Now and not when they are visited: whoever stores this order could never get on with it.
  for (const named of authorizations) server.assertAllowed(named);
  if (finalize !== undefined) server.assertAllowed(finalize);
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
  order: { finalize?: string | undefined },
  csrDer: Uint8Array,
  call: Call = {},
): Promise<Answer<Order>> {
  if (order.finalize === undefined) {
    throw new AcmeTrouble(
      'ERR_ACME_BAD_ANSWER',
      'The order does not say where its CSR is to be sent; read it again, or take the URL of an earlier answer.',
    );
  }
  const csr = Buffer.from(csrDer.buffer, csrDer.byteOffset, csrDer.byteLength);
  const payload = { csr: csr.toString('base64url') };
  const answer = await account.server.post(account, order.finalize, payload, call);
  return answerWith(orderOf(answer), answer);
}

function orderOf(answer: HttpAnswer): Order {
  const object = jsonOf(answer);
  const { url } = answer;
  const { identifiers, authorizations, finalize, certificate } = object;
  const order: Order = {
    status: orderStatus(url, object),
    identifiers: Array.isArray(identifiers)
      ? identifiers.filter(isIdentifier).map(({ type, value }) => ({ type, value }))
      : [],
    // Some of them would prove nothing.
    authorizations:
      Array.isArray(authorizations) && authorizations.every(isUrlText) ? authorizations : [],
  };
  if (isUrlText(finalize)) order.finalize = finalize;
  // RFC 8555 §7.4.2: a valid order has its certificate. Before that CAs send null or an empty text.
  if (order.status === 'valid') order.certificate = urlMember(url, object, 'certificate');
  else if (isUrlText(certificate)) order.certificate = certificate;
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
