import type { Account } from './account.ts';
import { type Answer, answerWith, type HttpAnswer, jsonOf, locationOf } from './answer.ts';
import { type Challenge, challengesOf } from './challenge.ts';
import { type Identifier, identifier, listMember, oneOf, optionalTime } from './guards.ts';
import type { Call } from './http.ts';
import type { JsonObject } from './text.ts';

/** The status of an authorization (RFC 8555 §7.1.6). */
export type AuthorizationStatus =
  'pending' | 'valid' | 'invalid' | 'deactivated' | 'expired' | 'revoked';

const STATUSES: readonly AuthorizationStatus[] = [
  'pending',
  'valid',
  'invalid',
  'deactivated',
  'expired',
  'revoked',
];

/** An authorization (RFC 8555 §7.1.4). */
export interface Authorization {
  status: AuthorizationStatus;
  /** In lower case, and without `*.` (see `wildcard`), however the server spells it. */
  identifier: Identifier;
  /** RFC 3339. */
  expires?: string;
  /** Whether it is for the wildcard name (erratum 6364: may be there and false). */
  wildcard?: boolean;
  /** Also of types that this library does not know. */
  challenges: Challenge[];
}

/** Reads an authorization (RFC 8555 §7.5). */
export async function getAuthorization(
  account: Account,
  url: string,
  call: Call = {},
): Promise<Answer<Authorization>> {
  const answer = await account.server.fetch(account, url, call);
  return answerWith(authorizationOf(answer), answer);
}

/** Gives up an authorization (RFC 8555 §7.5.2); every order that needs it becomes invalid. */
export async function deactivateAuthorization(
  account: Account,
  url: string,
  call: Call = {},
): Promise<Answer<Authorization>> {
  const answer = await account.server.post(account, url, { status: 'deactivated' }, call);
  return answerWith(authorizationOf(answer), answer);
}

/**
 * Asks for an authorization before there is an order (RFC 8555 §7.4.1). Few CAs offer it, none for
 * wildcards: ERR_ACME_UNSUPPORTED where the directory has no `newAuthz`.
 */
export async function newAuthorization(
  account: Account,
  { type, value }: Identifier,
  call: Call = {},
): Promise<Answer<Authorization> & { url: string }> {
  const { server } = account;
  const endpoint = await server.resource('newAuthz', call);
  const answer = await server.post(account, endpoint, { identifier: { type, value } }, call);
  const url = locationOf(answer);
  server.assertAllowed(url);
  return { url, ...answerWith(authorizationOf(answer), answer) };
}

function authorizationOf(answer: HttpAnswer): Authorization {
  const object = jsonOf(answer);
  const { url } = answer;
  const named = identifier(url, object['identifier']);
  // DNS names are the same in capitals (RFC 4343 §2); some servers keep the wildcard in the name (RFC 8555 §7.1.4).
  const spelled = named.value.toLowerCase();
  const base = spelled.replace(/^\*\./, '');
  const authorization: Authorization = {
    status: oneOf(url, object, 'status', STATUSES),
    identifier: { ...named, value: base },
    challenges: challengesOf(challengeList(url, object)),
  };
  const expires = optionalTime(object, 'expires');
  if (expires !== undefined) authorization.expires = expires;
  if (typeof object['wildcard'] === 'boolean') authorization.wildcard = object['wildcard'];
  if (base !== spelled) authorization.wildcard = true;
  return authorization;
}

/** What is not pending any more needs no challenges. */
function challengeList(url: string, object: JsonObject): readonly unknown[] {
  const { status, challenges } = object;
  if (status !== 'pending' && !Array.isArray(challenges)) return [];
  return listMember(url, object, 'challenges');
}
