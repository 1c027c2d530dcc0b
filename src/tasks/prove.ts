import {
  type Account,
  AcmeProblem,
  answerChallenge,
  type Authorization,
  getAuthorization,
  keyAuthorization,
  printable,
} from '../acme/index.ts';
import type { AuthorizationClaim, ChosenChallenge, Claim, Failure } from '../db/steps.ts';
import type { Hold } from './context.ts';
import { poll } from './poll.ts';
import { remote } from './remote.ts';
import { seenInAuthorization, seenWhileWaiting } from './seen.ts';
import { sentence } from './sentence.ts';

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
    const isDecided = ({ status }: Authorization) => status !== 'pending';
    const polled = await answer(account, authorization, chosen, hold)
      .then(() =>
        // What the server asked before it had the answer does not count.
        poll(claim.has_waited ? first : { value: authorization }, lookAgain, isDecided, {
          ...hold,
          hasWaited: claim.has_waited,
          pace: account.live.pace.validation,
        }),
      )
      .finally(forget);
    if (!polled.isEnd) {
      return steps.stepFailed(
        claim,
        {
          class: 'waiting',
          code: 'waiting_for_server',
          text: `The server is validating ${authorization.identifier.value}.`,
          retry_after_ms: polled.retryAfterMs,
        },
        take,
      );
    }
    authorization = polled.value;
  }
  if (authorization.status === 'valid') {
    return steps.authorizationProved(claim, factsOf(authorization), take);
  }
  return steps.stepFailed(claim, verdictOf(authorization), hold.takeOther);
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
    authorization_state: 'expired',
  };
}

/** Says that the challenge can be validated (RFC 8555 §7.5.1), unless it was said before. */
async function answer(
  account: Account,
  authorization: Authorization,
  chosen: ChosenChallenge,
  { call }: Hold,
): Promise<void> {
  const challenge = authorization.challenges.find(({ url }) => url === chosen.url);
  if (challenge !== undefined && challenge.status !== 'pending') return;
  try {
    await remote('challenge.answer', () => answerChallenge(account, chosen.url, call));
  } catch (error) {
    // Answered twice, by a worker that died after sending: the authorization tells what came of it.
    if (error instanceof AcmeProblem && error.type === 'malformed') return;
    throw error;
  }
}

function factsOf(authorization: Authorization) {
  return {
    identifier: authorization.identifier.value,
    is_wildcard: authorization.wildcard === true,
    expires_at: authorization.expires,
  };
}

/** Why an authorization ended without being valid (RFC 8555 §7.1.6). */
function verdictOf(authorization: Authorization): Failure {
  const { value } = authorization.identifier;
  const failed = authorization.challenges.find(({ error }) => error !== undefined);
  if (authorization.status !== 'invalid') {
    return {
      class: 'gone',
      code: 'order_gone',
      text: `The authorization for ${value} is ${authorization.status}.`,
      authorization_state: authorization.status,
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
            `The server could not validate ${value} by ${printable(failed.type, 40)}: ${failed.error.type}: ${printable(failed.error.detail, 500)}`,
            1000,
          ),
    problem: failed?.error?.document,
    authorization_state: 'invalid',
    identifier: value,
  };
}
