import type { Account } from './account.ts';
import { type Answer, answerWith, type HttpAnswer } from './answer.ts';
import { isUrlText, optionalError, optionalText, optionalTime } from './guards.ts';
import type { Call } from './http.ts';
import { isToken } from './key.ts';
import { isObject, type ProblemDocument } from './problem.ts';
import type { JsonObject } from './text.ts';

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
 * object). Publish first; answer one challenge of an authorization; then read the authorization, no sooner than
 * `retryAfterMs` says. `value` is undefined where the CA answers with something else than the challenge.
 */
export async function answerChallenge(
  account: Account,
  url: string,
  call: Call = {},
): Promise<Answer<Challenge | undefined>> {
  const answer = await account.server.post(account, url, {}, call);
  return answerWith(challengeIn(answer), answer);
}

/** Reads the challenges of an authorization: those that can be of use. */
export function challengesOf(values: readonly unknown[]): Challenge[] {
  return values
    .filter(isObject)
    .map(challengeOf)
    .filter((challenge) => challenge !== undefined);
}

function challengeIn({ body }: HttpAnswer): Challenge | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isObject(value) ? challengeOf(value) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * undefined: of no use. RFC 8555 §8: types we do not know must not stop us, not even if they look like nothing we
 * know; nor does one that is broken stop those beside it. One without a status was not answered yet.
 */
function challengeOf(object: JsonObject): Challenge | undefined {
  const type = optionalText(object, 'type', MAX_TYPE);
  const { url, token, status = 'pending' } = object;
  const known = STATUSES.find((one) => one === status);
  if (type === undefined || known === undefined || !isUrlText(url)) return undefined;
  const challenge: Challenge = { type, url, status: known, raw: object };
  // RFC 8555 §8.3: tokens become paths, so nothing but base64url may pass.
  if (isToken(token)) challenge.token = token;
  else if (WITH_TOKEN.has(type) && isOpen(challenge)) return undefined;
  const validated = optionalTime(object, 'validated');
  if (validated !== undefined) challenge.validated = validated;
  const error = optionalError(object);
  if (error !== undefined) challenge.error = error;
  return challenge;
}

function isOpen({ status }: Challenge): boolean {
  return status === 'pending' || status === 'processing';
}
