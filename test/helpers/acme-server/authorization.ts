import { accountOf, checkTerms } from './account.ts';
import { parseIdentifier } from './identifier.ts';
import type { Signed } from './jws.ts';
import { type Answer, Refusal } from './problem.ts';
import {
  type Account,
  type Authorization,
  type Ca,
  type Challenge,
  type Identifier,
  newId,
  timestamp,
} from './store.ts';
import { validate } from './validation.ts';

/** An authorization for an ordered name: one to use again if the options allow, else a new one. */
export function authorizationFor(ca: Ca, account: Account, ordered: Identifier): Authorization {
  const wildcard = ordered.value.startsWith('*.');
  const identifier = wildcard ? { ...ordered, value: ordered.value.slice(2) } : ordered;
  const known =
    ca.options.authzReuse === 'never' ? undefined : reusable(ca, account, identifier, wildcard);
  if (known) return known;
  const types = ca.options.offeredChallenges.filter((type) => provable(type, identifier, wildcard));
  if (types.length === 0) {
    throw new Refusal('rejectedIdentifier', `No challenge can prove ${ordered.value} here.`);
  }
  const authorization: Authorization = {
    id: newId(),
    account,
    identifier,
    wildcard,
    challenges: [],
    status: 'pending',
    expires: ca.now() + ca.options.pendingAuthorizationLifetimeMs,
  };
  for (const type of types) {
    const challenge: Challenge = {
      id: newId(),
      authorization,
      type,
      token: newId(),
      status: 'pending',
    };
    authorization.challenges.push(challenge);
    ca.store.challenges.set(challenge.id, challenge);
  }
  ca.store.authorizations.set(authorization.id, authorization);
  return authorization;
}

/** RFC 8555 §7.4.1: an authorization ahead of an order, never for a wildcard. */
export function newAuthz(ca: Ca, signed: Signed): Answer {
  const account = accountOf(signed);
  if (!ca.options.preAuthorization) throw new Refusal('malformed', 'There is no newAuthz.', 404);
  checkTerms(ca, account);
  const identifier = parseIdentifier(ca, signed.payload?.['identifier']);
  if (identifier.value.startsWith('*.')) {
    throw new Refusal('malformed', 'A wildcard is authorized with its order only.');
  }
  const made = authorizationFor(ca, account, identifier);
  const location = ca.link('authorization', made.id);
  return { status: 201, headers: { location }, json: authorizationJson(ca, made) };
}

/** The status as of now: RFC 8555 §7.1.6 has pending end as invalid, and valid as expired. */
export function authorizationStatus(ca: Ca, authorization: Authorization): Authorization['status'] {
  if (ca.now() >= authorization.expires) {
    if (authorization.status === 'pending') authorization.status = 'invalid';
    if (authorization.status === 'valid') authorization.status = 'expired';
  }
  return authorization.status;
}

/** Fetch (§7.5) or deactivate (§7.5.2) an authorization. */
export function authorization(ca: Ca, signed: Signed, id: string): Answer {
  const known = ca.store.authorizations.get(id);
  const found = owned(signed, known, known?.account);
  const status = authorizationStatus(ca, found);
  if (signed.payload) {
    if (signed.payload['status'] !== 'deactivated' || !['pending', 'valid'].includes(status)) {
      throw new Refusal('malformed', 'An authorization that lives may be deactivated, no more.');
    }
    found.status = 'deactivated';
  }
  const wait = found.challenges.some((challenge) => challenge.status === 'processing');
  return { status: 200, headers: wait ? retryAfter(ca) : {}, json: authorizationJson(ca, found) };
}

/** Fetch a challenge, or respond to it with `{}` (§7.5.1), which starts the validation. */
export async function challenge(ca: Ca, signed: Signed, id: string): Promise<Answer> {
  const known = ca.store.challenges.get(id);
  const found = owned(signed, known, known?.authorization.account);
  if (signed.payload) {
    if (Object.keys(signed.payload).length > 0) {
      throw new Refusal('malformed', 'A challenge is answered with an empty object.');
    }
    const status = authorizationStatus(ca, found.authorization);
    if (status !== 'pending' && status !== 'valid') {
      throw new Refusal('malformed', `The authorization is ${status}.`);
    }
    if (status === 'pending' && found.status === 'pending') await validate(ca, found);
  }
  const up = `<${ca.link('authorization', found.authorization.id)}>;rel="up"`;
  const wait = found.status === 'processing' ? retryAfter(ca) : {};
  return { status: 200, headers: { ...wait, link: [up] }, json: challengeJson(ca, found) };
}

/** The Retry-After header as the options want it: none, seconds, or a date (RFC 9110 §10.2.3). */
export function retryAfter(ca: Ca): Record<string, string> {
  const seconds = ca.options.retryAfter;
  if (seconds === undefined) return {};
  const date = new Date(ca.now() + seconds * 1000).toUTCString();
  return { 'retry-after': ca.options.retryAfterAsDate ? date : String(seconds) };
}

/** The object if it is there and the signer's. */
export function owned<T>(signed: Signed, found: T | undefined, owner: Account | undefined): T {
  if (!found) throw new Refusal('malformed', 'There is no such resource.', 404);
  if (owner === accountOf(signed)) return found;
  throw new Refusal('unauthorized', 'This belongs to another account.', 403);
}

function reusable(ca: Ca, account: Account, identifier: Identifier, wildcard: boolean) {
  return [...ca.store.authorizations.values()].find((known) => {
    const same =
      known.account === account &&
      known.wildcard === wildcard &&
      known.identifier.type === identifier.type &&
      known.identifier.value === identifier.value;
    if (!same) return false;
    const status = authorizationStatus(ca, known);
    return status === 'valid' || (status === 'pending' && ca.options.authzReuse !== 'valid');
  });
}

/** RFC 8555 §8.3 and §8.4, RFC 8738 §7: wildcards by DNS only, addresses not by DNS. */
function provable(type: string, identifier: Identifier, wildcard: boolean): boolean {
  const byDns = type.startsWith('dns-');
  return identifier.type === 'ip' ? !byDns : byDns || !wildcard;
}

function authorizationJson(ca: Ca, authorization: Authorization) {
  const { identifier, status, expires, challenges, wildcard } = authorization;
  return {
    identifier,
    status,
    expires: timestamp(expires),
    challenges: challenges.map((challenge) => challengeJson(ca, challenge)),
    ...(wildcard ? { wildcard } : {}),
  };
}

function challengeJson(ca: Ca, challenge: Challenge) {
  const { id, type, status, token, validated, error } = challenge;
  return {
    type,
    url: ca.link('challenge', id),
    status,
    token,
    ...(validated === undefined ? {} : { validated: timestamp(validated) }),
    ...(error ? { error } : {}),
  };
}
