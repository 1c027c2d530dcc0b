import {
  type Account,
  AcmeProblem,
  type Answer,
  type Call,
  finalizeOrder,
  getOrder,
  type Order,
} from '../acme/index.ts';
import type { Claim, Failure, OrderClaim } from '../db/steps.ts';
import { csrDer } from '../x509/index.ts';
import { caaFailure, isCaa } from './caa.ts';
import type { Hold } from './context.ts';
import { download } from './download.ts';
import { poll } from './poll.ts';
import { remote } from './remote.ts';
import { seenWhileWaiting } from './seen.ts';
import { sentence } from './sentence.ts';

/**
 * Sends the CSR and waits for the certificate (RFC 8555 §7.4). Only an order that is `ready` is
 * finalized; entered again, it looks first, so that one in `processing` or `valid` is not sent twice.
 */
export async function finalize(claim: OrderClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call, take } = hold;
  const account = await accounts.signer(claim);
  const url = claim.url ?? '';
  const look = () => remote('order.look', () => getOrder(account, url, call));
  let answer: Answer<Order> | undefined = claim.fresh ? undefined : await look();
  if (answer === undefined || answer.value.status === 'ready') {
    const sent = await send(claim, account, call);
    if (sent instanceof AcmeProblem && isCaa(sent)) {
      return steps.stepFailed(claim, await caaFailure(sent, claim, account, call), hold.takeOther);
    }
    answer = sent instanceof AcmeProblem || sent === undefined ? await look() : sent;
    // The server reads what this account signs, and the order waits still: it is the CSR that it refuses.
    if (sent instanceof AcmeProblem && ['ready', 'invalid'].includes(answer.value.status)) {
      return steps.stepFailed(claim, csrRefused(sent), hold.takeOther);
    }
  }
  if (answer.value.status === 'processing') {
    await hold.seen.tell(
      account.live.record.server,
      seenWhileWaiting('retry_after_order', answer.retryAfterMs),
    );
  }
  const polled = await poll(answer, look, (order) => order.status !== 'processing', {
    ...hold,
    hasWaited: claim.has_waited,
    pace: account.live.pace.issuance,
  });
  const order = polled.value;
  switch (order.status) {
    case 'valid':
      // Without a commit: killed here, the next look at the order finds it valid.
      return download({ ...claim, certificate_url: order.certificate ?? null }, hold);
    case 'processing':
      return steps.orderFinalized(claim, undefined, polled.retryAfterMs, take);
    case 'invalid':
      if (order.error !== undefined && isCaa(order.error)) {
        const failure = await caaFailure(order.error, claim, account, call);
        return steps.stepFailed(claim, failure, hold.takeOther);
      }
      return steps.stepFailed(
        claim,
        {
          class: order.error?.type === 'badCSR' ? 'permanent' : 'refused',
          code: order.error?.type === 'badCSR' ? 'refused_for_good' : 'server_refused',
          text: sentence(
            `The server could not issue: ${order.error === undefined ? 'it does not say why' : `${order.error.type}: ${order.error.detail}`}`,
          ),
          problem: order.error?.document,
        },
        hold.takeOther,
      );
    case 'pending':
    case 'ready':
      return steps.stepFailed(
        claim,
        {
          class: 'gone',
          code: 'order_gone',
          text: `The server's order went back to ${order.status}: an authorization is no longer good.`,
        },
        hold.takeOther,
      );
  }
}

function csrRefused({ type, detail, document }: AcmeProblem): Failure {
  return {
    class: 'permanent',
    code: 'refused_for_good',
    text: sentence(`The server answered ${type}${detail === '' ? '' : `: ${detail}`}`),
    problem: document,
  };
}

/**
 * undefined: the order is not ready (§7.4, orderNotReady). A problem: CAA records do not let this server issue; or
 * `malformed` with status 400 (other statuses of it, of Boulder, say nothing of the CSR). What the order is then has to
 * be looked at.
 */
async function send(
  claim: OrderClaim,
  account: Account,
  call: Call,
): Promise<Answer<Order> | AcmeProblem | undefined> {
  try {
    const order = { finalize: claim.finalize_url ?? '' };
    return await remote('order.finalize', () =>
      finalizeOrder(account, order, csrDer(claim.pem), call),
    );
  } catch (error) {
    if (error instanceof AcmeProblem && error.type === 'orderNotReady') return undefined;
    const isOfCsr =
      error instanceof AcmeProblem && error.type === 'malformed' && error.status === 400;
    if (isOfCsr || (error instanceof AcmeProblem && isCaa(error))) return error;
    throw error;
  }
}
