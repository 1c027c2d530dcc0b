import type { Account } from './account.ts';
import { type Answer, answerWith, badAnswer, jsonOf } from './answer.ts';
import {
  isUrlText,
  oneOf,
  optionalError,
  optionalText,
  optionalTime,
  urlMember,
} from './guards.ts';
import type { Call } from './http.ts';
import { isToken } from './key.ts';
import { isObject, type ProblemDocument } from './problem.ts';
import { isPlain, type JsonObject } from './text.ts';

/** The status of a challenge (RFC 8555 §7.1.6). */
export type ChallengeStatus = 'pending' | 'processing' | 'valid' | 'invalid';

const STATUSES: readonly ChallengeStatus[] = ['pending', 'processing', 'valid', 'invalid'];
const MAX_TYPE = 100;
const WITH_TOKEN = new Set(['http-01', 'dns-01', 'tls-alpn-01', 'dns-account-01']);

/** A challenge (RFC 8555 §7.1.5, §8), of a type that this library need not know. */
export interface Challenge {
  type: string;
  url: string;
  status: ChallengeStatus;
  /** base64url; there for every type that has one while it can be answered. */
  token?: string;
  /** Why validation failed; also while `processing`, where the CA tries again (erratum 5732). */
  error?: ProblemDocument;
  /** RFC 3339. */
  validated?: string;
  /** The object as the CA sent it, for types with members of their own; not yet fit for jsonb. */
  raw: JsonObject;
}

/**
 * Tells the CA that a challenge is ready to be validated (RFC 8555 §7.5.1, erratum 5729: an empty
 * object). Publish first; answer one challenge of an authorization; then read the authorization.
 */
export async function answerChallenge(
  account: Account,
  url: string,
  call: Call = {},
): Promise<Answer<Challenge>> {
  const answer = await account.server.post(account, url, {}, call);
  return answerWith(challengeOf(answer.url, jsonOf(answer)), answer);
}

/** Reads the challenges of an authorization; `url` is that of the answer they came in. */
export function challengesOf(url: string, values: readonly unknown[]): Challenge[] {
  return values
    .filter(isObject)
    .filter((object) => isOurs(object) || isReadable(object))
    .map((object) => challengeOf(url, object));
}

/** Whether a challenge is of a type that has a token, and so must be well formed. */
function isOurs({ type }: JsonObject): boolean {
  return typeof type === 'string' && WITH_TOKEN.has(type);
}

/** RFC 8555 §8: types we do not know must not stop us, not even if they look like nothing we know. */
function isReadable({ type, url, status }: JsonObject): boolean {
  return (
    typeof type === 'string' &&
    isPlain(type, MAX_TYPE) &&
    isUrlText(url) &&
    STATUSES.some((known) => known === status)
  );
}

function challengeOf(url: string, object: JsonObject): Challenge {
  const type = optionalText(object, 'type', MAX_TYPE);
  if (type === undefined) throw badAnswer(url, 'with a challenge that has no type');
  const challenge: Challenge = {
    type,
    url: urlMember(url, object, 'url'),
    status: oneOf(url, object, 'status', STATUSES),
    raw: object,
  };
  const { token } = object;
  if (isToken(token)) {
    challenge.token = token;
  } else if (isOurs(object) && isOpen(challenge)) {
    // RFC 8555 §8.3: tokens become paths, so nothing but base64url may pass.
    throw badAnswer(url, `with a ${type} challenge whose token is missing or not base64url`);
  }
  const validated = optionalTime(object, 'validated');
  if (validated !== undefined) challenge.validated = validated;
  const error = optionalError(object);
  if (error !== undefined) challenge.error = error;
  return challenge;
}

function isOpen({ status }: Challenge): boolean {
  return status === 'pending' || status === 'processing';
}
