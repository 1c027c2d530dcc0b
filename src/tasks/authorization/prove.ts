import {
  type Account,
  AcmeProblem,
  answerChallenge,
  type Authorization,
  getAuthorization,
  keyAuthorization,
  printable,
} from '../../acme/index.ts';
import type { AuthorizationClaim, ChosenChallenge, Claim, Failure } from '../../db/steps/steps.ts';
import type { Hold } from '../context.ts';
import { poll } from '../poll.ts';
import { remote } from '../remote.ts';
import { seenInAuthorization, seenWhileWaiting } from '../seen.ts';
import { sentence } from '../sentence.ts';

/**
 * Proves control of a name (RFC 8555 §7.5): looks at the authorization, writes down what is to be
 * published, answers the challenge, and waits for the server's verdict. Entered again it looks first,
 * and finds the challenge chosen, answered or decided.
 */
export async function prove(claim: AuthorizationClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, take } = hold;
  const account = await accounts.signer(claim);
  const look = () =>
    remote('authorization.look', () => getAuthorization(account, claim.url, hold.call));
  const first = await look();
  let authorization = first.value;
  const { server } = account.live.record;
  const stranger = otherName(claim, authorization);
  if (stranger !== undefined) return steps.stepFailed(claim, stranger, hold.takeOther);
  await hold.seen.tell(server, seenInAuthorization(authorization));
  if (authorization.status === 'pending') {
    const chosen = await choose(claim, account, authorization, hold);
    if (chosen === null || ('is_published' in chosen && !chosen.is_published)) return [];
    if (!('is_published' in chosen)) return steps.stepFailed(claim, chosen, take);
    const forget = hold.published.keep(
      chosen.token,
      authorization.identifier.value,
      keyAuthorization(chosen.token, account.key),
    );
    const lookAgain = async () => {
      const seen = await look();
      if (seen.value.status === 'pending') {
        const facts = seenWhileWaiting('retry_after_authorization', seen.retryAfterMs);
        await hold.seen.tell(server, facts);
      }
      return seen;
    };
    // RFC 8555 §7.1.6: a failed challenge fails its authorization. Some servers leave that pending.
    const isDecided = (seen: Authorization) =>
      seen.status !== 'pending' || challengeIn(seen, chosen)?.status === 'invalid';
    const polled = await answer(account, authorization, chosen, hold)
      .then((retryAfterMs) =>
        // What the server asked before it had the answer does not count.
        poll(
          claim.has_waited && retryAfterMs === undefined
            ? first
            : { value: authorization, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
          lookAgain,
          isDecided,
          { ...hold, hasWaited: claim.has_waited, pace: account.live.pace.validation },
        ),
      )
      .finally(forget);
    if (!polled.isEnd) {
      const failure = waiting(polled.value, chosen, polled.retryAfterMs);
      return steps.stepFailed(claim, failure, take);
    }
    authorization = polled.value;
    if (authorization.status === 'pending') {
      return steps.stepFailed(claim, verdictOf(authorization, chosen), hold.takeOther);
    }
  }
  if (authorization.status === 'valid') {
    return steps.authorizationProved(claim, factsOf(authorization), take);
  }
  return steps.stepFailed(claim, verdictOf(authorization, claim.challenge), hold.takeOther);
}

/** The challenge that was chosen before, if the server still has it open; else a new choice. */
async function choose(
  claim: AuthorizationClaim,
  account: Account,
  authorization: Authorization,
  { steps }: Hold,
): Promise<ChosenChallenge | Failure | null> {
  const before = claim.challenge;
  if (before !== null && authorization.challenges.some(({ url }) => url === before.url)) {
    return before;
  }
  const offered = authorization.challenges.flatMap(({ url, type, token }) =>
    token === undefined
      ? []
      : [{ url, type, token, key_authorization: keyAuthorization(token, account.key) }],
  );
  const intended = await steps.challengeIntended(claim, { ...factsOf(authorization), offered });
  if (intended === null) return null;
  if ('challenge' in intended) return intended.challenge;
  return {
    class: 'person',
    code: 'no_solver',
    text: intended.refused,
  };
}

/**
 * Says that the challenge can be validated (RFC 8555 §7.5.1), unless it was said before. How long the server asks to
 * wait then.
 */
async function answer(
  account: Account,
  authorization: Authorization,
  chosen: ChosenChallenge,
  { call }: Hold,
): Promise<number | undefined> {
  const challenge = challengeIn(authorization, chosen);
  if (challenge !== undefined && challenge.status !== 'pending') return undefined;
  try {
    const answered = await remote('challenge.answer', () =>
      answerChallenge(account, chosen.url, call),
    );
    return answered.retryAfterMs;
  } catch (error) {
    // Answered twice, by a worker that died after sending: the authorization tells what came of it.
    if (error instanceof AcmeProblem && error.is('malformed') && error.status !== 404) {
      return undefined;
    }
    throw error;
  }
}

function challengeIn({ challenges }: Authorization, chosen: { url: string } | null) {
  return challenges.find(({ url }) => url === chosen?.url);
}

/** RFC 8555 §8.2: the server may try a validation again, and says meanwhile what it met. */
function waiting(
  authorization: Authorization,
  chosen: ChosenChallenge,
  retryAfterMs: number | undefined,
): Failure {
  const { value } = authorization.identifier;
  const error = challengeIn(authorization, chosen)?.error;
  const text = `The server is validating ${value}.`;
  return {
    class: 'waiting',
    code: 'waiting_for_server',
    text:
      error === undefined
        ? text
        : sentence(
            `The server could not validate ${value} yet by ${printable(chosen.type, 40)}, and may try again: ${error.type}: ${printable(error.detail, 500)}`,
            1000,
          ),
    ...(error === undefined ? {} : { problem: error.document }),
    retry_after_ms: retryAfterMs,
  };
}

/** An authorization for another name than what was ordered proves nothing of it. */
function otherName(
  { names }: AuthorizationClaim,
  { identifier }: Authorization,
): Failure | undefined {
  const base = (name: string) => name.toLowerCase().replace(/^\*\./, '');
  if (names.some((name) => base(name) === identifier.value)) return undefined;
  return {
    class: 'refused',
    code: 'server_refused',
    text: 'The server wants another name proved than those that were ordered; the order was left.',
    authorization_state: 'invalid',
  };
}

function factsOf(authorization: Authorization) {
  return {
    identifier: authorization.identifier.value,
    is_wildcard: authorization.wildcard === true,
    expires_at: authorization.expires,
  };
}

/** Why an authorization ended without being valid (RFC 8555 §7.1.6). */
function verdictOf(authorization: Authorization, chosen: { url: string } | null): Failure {
  const { value } = authorization.identifier;
  const answered = challengeIn(authorization, chosen);
  const failed =
    answered?.error === undefined
      ? authorization.challenges.find(({ error }) => error !== undefined)
      : answered;
  if (authorization.status !== 'invalid' && authorization.status !== 'pending') {
    return {
      class: 'gone',
      code: 'order_gone',
      text: `The authorization for ${value} is ${authorization.status}.`,
      authorization_state: authorization.status,
      identifier: value,
    };
  }
  if (failed?.error?.type === 'serverInternal') {
    return {
      class: 'server_error',
      code: 'remote_trouble',
      text: sentence(
        `The server met an error of its own when it validated ${value}: ${printable(failed.error.detail, 500)}`,
        1000,
      ),
      problem: failed.error.document,
      authorization_state: 'invalid',
      identifier: value,
    };
  }
  return {
    class: 'validation',
    code: 'validation_failed',
    text:
      failed?.error === undefined
        ? `The server could not validate ${value} and does not say why.`
        : sentence(
            // The cause first: lists cut a line at its end.
            `${failed.error.type}: ${printable(failed.error.detail, 500).replace(/[\s.]+$/u, '')} (${value} could not be validated by ${printable(failed.type, 40)})`,
            1000,
          ),
    problem: failed?.error?.document,
    authorization_state: 'invalid',
    identifier: value,
  };
}
