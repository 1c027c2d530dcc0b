import { accountOf, checkTerms } from './account.ts';
import { authorizationFor, authorizationStatus, owned, retryAfter } from './authorization.ts';
import { parseIdentifier } from './identifier.ts';
import { checkRequest, issueFor } from './issuance.ts';
import type { Signed } from './jws.ts';
import { type Answer, type JsonObject, problemDocument, Refusal } from './problem.ts';
import { checkReplaces, markReplaced } from './renewal-info.ts';
import { type Account, type Ca, type Identifier, newId, type Order, timestamp } from './store.ts';

/** RFC 8555 §7.4. */
export function newOrder(ca: Ca, signed: Signed): Answer {
  const account = accountOf(signed);
  const payload = signed.payload ?? {};
  checkTerms(ca, account);
  const identifiers = parseIdentifiers(ca, payload['identifiers']);
  const request = parseRequest(ca, payload);
  checkReplaces(ca, account, identifiers, request.replaces);
  const reused = ca.options.reuseOrders ? identical(ca, account, identifiers, request) : undefined;
  const order = reused ?? {
    id: newId(),
    account,
    identifiers,
    // By random id: a client must not rely on the order of authorizations.
    authorizations: identifiers
      .map((identifier) => authorizationFor(ca, account, identifier))
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
    expires: ca.now() + ca.options.orderLifetimeMs,
    request,
    state: 'open' as const,
  };
  ca.store.orders.set(order.id, order);
  return orderAnswer(ca, order, 201, { location: ca.link('order', order.id) });
}

/** Fetch an order (§7.4). */
export function order(ca: Ca, signed: Signed, id: string): Answer {
  return orderAnswer(ca, livingOrder(ca, signed, id), 200);
}

/** Finalize (§7.4): only a ready order; a refused request leaves it ready. */
export async function finalize(ca: Ca, signed: Signed, id: string): Promise<Answer> {
  const found = livingOrder(ca, signed, id);
  const status = orderStatus(ca, found);
  if (status !== 'ready') {
    throw new Refusal('orderNotReady', `The order is ${status}, not ready.`, 403);
  }
  checkTerms(ca, found.account);
  const request = await checkRequest(ca, found, signed.payload?.['csr']);
  found.state = 'processing';
  found.finalizedAt = ca.now();
  const done = ca.later(ca.options.finalizeDelayMs, async () => {
    const problem = ca.options.issuanceProblem;
    if (problem) {
      found.error = problemDocument(problem);
    } else {
      found.certificate = await issueFor(ca, found, request);
      markReplaced(ca, found.request.replaces);
    }
    found.state = problem ? 'invalid' : 'valid';
  });
  if (ca.options.finalizeDelayMs === 0) await done;
  return orderAnswer(ca, found, 200);
}

function livingOrder(ca: Ca, signed: Signed, id: string): Order {
  const known = ca.store.orders.get(id);
  const expired = known?.state === 'open' && ca.now() >= known.expires;
  const gone = expired && ca.options.expiredOrders === 'gone';
  return owned(signed, gone ? undefined : known, known?.account);
}

/** RFC 8555 §7.1.6: an open order follows its authorizations, until it expires. */
function orderStatus(
  ca: Ca,
  order: Order,
): 'pending' | 'ready' | 'processing' | 'valid' | 'invalid' {
  if (order.state !== 'open') return order.state;
  const statuses = order.authorizations.map((each) => authorizationStatus(ca, each));
  const lost = statuses.some((status) => status !== 'pending' && status !== 'valid');
  if (lost || ca.now() >= order.expires) return (order.state = 'invalid');
  if (!statuses.every((status) => status === 'valid')) return 'pending';
  order.provedAt ??= ca.now();
  return ca.now() < order.provedAt + ca.options.orderLagMs ? 'pending' : 'ready';
}

/** What an order is shown as: a server of several machines may lag behind itself. */
function shownStatus(ca: Ca, order: Order): ReturnType<typeof orderStatus> {
  const { finalizedAt = -Infinity } = order;
  return ca.now() < finalizedAt + ca.options.finalizedLagMs ? 'ready' : orderStatus(ca, order);
}

function orderAnswer(
  ca: Ca,
  order: Order,
  code: number,
  headers: Record<string, string> = {},
): Answer {
  const status = shownStatus(ca, order);
  const wait = status === 'processing' ? retryAfter(ca) : {};
  const { certificate } = status === 'ready' ? {} : order;
  return {
    status: code,
    headers: { ...headers, ...wait },
    json: {
      status,
      expires: timestamp(order.expires),
      identifiers: order.identifiers,
      ...order.request,
      authorizations: order.authorizations.map(({ id }) => ca.link('authorization', id)),
      finalize: ca.link('finalize', order.id),
      ...(certificate ? { certificate: ca.link('certificate', certificate.id) } : {}),
      ...(order.error ? { error: order.error } : {}),
    },
  };
}

function identical(ca: Ca, account: Account, identifiers: Identifier[], request: Order['request']) {
  const wanted = JSON.stringify([identifiers, request]);
  return [...ca.store.orders.values()].find(
    (known) =>
      known.account === account &&
      ['pending', 'ready'].includes(orderStatus(ca, known)) &&
      JSON.stringify([known.identifiers, known.request]) === wanted,
  );
}

function parseRequest(ca: Ca, payload: JsonObject): Order['request'] {
  const request: JsonObject = {};
  const { renewalInfo, orderTimes } = ca.options;
  // RFC 9773 §5: a server without renewal information does not know `replaces`.
  const names = ['notBefore', 'notAfter', 'profile', ...(renewalInfo ? ['replaces'] : [])];
  for (const name of names) {
    const value = payload[name];
    if (value === undefined) continue;
    if (name.startsWith('not') && !orderTimes) {
      throw new Refusal('malformed', 'NotBefore and NotAfter are not supported.');
    }
    if (typeof value !== 'string') throw new Refusal('malformed', `${name} is not a string.`);
    if (name === 'profile' && !Object.hasOwn(ca.options.profiles, value)) {
      throw new Refusal('invalidProfile', 'The directory lists no such profile.');
    }
    if (name.startsWith('not') && Number.isNaN(Date.parse(value))) {
      throw new Refusal('malformed', `${name} is not a time.`);
    }
    request[name] = value;
  }
  return request;
}

function parseIdentifiers(ca: Ca, value: unknown): Identifier[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new Refusal('malformed', 'identifiers is not an array of at least one.');
  }
  const found = new Map<string, Identifier>();
  for (const each of value) {
    const identifier = parseIdentifier(ca, each);
    found.set(`${identifier.type}:${identifier.value}`, identifier);
  }
  const identifiers = [...found.values()].sort((a, b) => (a.value < b.value ? -1 : 1));
  const refused = identifiers.filter((each) => ca.options.blockedNames.includes(each.value));
  if (refused.length === 0) return identifiers;
  const urn = 'urn:ietf:params:acme:error:rejectedIdentifier';
  const subproblems = refused.map((identifier) => {
    return { type: urn, detail: `${identifier.value} is blocked.`, identifier };
  });
  throw new Refusal('rejectedIdentifier', 'Some names are blocked.', 400, { subproblems });
}
