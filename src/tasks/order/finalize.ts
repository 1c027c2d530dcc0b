import {
  type Account,
  AcmeProblem,
  type Answer,
  finalizeOrder,
  getAuthorization,
  getOrder,
  type Order,
} from '../../acme/index.ts';
import type { Claim, Failure, OrderClaim } from '../../db/steps/steps.ts';
import { csrDer } from '../../x509/index.ts';
import type { Signer } from '../accounts.ts';
import type { Hold } from '../context.ts';
import { isMissing, ofAccount } from '../outcome.ts';
import { poll } from '../poll.ts';
import { remote } from '../remote.ts';
import { seenWhileWaiting } from '../seen.ts';
import { sentence } from '../sentence.ts';
import { caaFailure, isCaa } from './caa.ts';
import { download } from './download.ts';

/** An order may be refused (orderNotReady) while it reads `ready`: sent so often, it waits for the next turn. */
const SENDS = 2;

/** An order at the server, as a step sees it. */
interface Progress {
  answer: Answer<Order>;
  /** The server has the CSR. */
  isTaken: boolean;
  /** Since this step. */
  wasSent: boolean;
  /** The server refused the CSR, or may not issue for its names. */
  failure: Failure;
}

/**
 * Sends the CSR and waits for the certificate (RFC 8555 §7.4). Only an order that is `ready` is
 * finalized; entered again, it looks first, so that one in `processing` or `valid` is not sent twice. A server may
 * lag behind itself: an order that reads `pending` although all of its authorizations are valid, or `ready` although
 * its CSR was taken, is asked for again for minutes.
 */
export async function finalize(claim: OrderClaim, hold: Hold): Promise<Claim[]> {
  const account = await hold.accounts.signer(claim);
  const progress: Partial<Progress> = {
    // Taken minutes ago, and still ready: it is sent again.
    isTaken: claim.is_taken && !claim.is_late,
    wasSent: false,
  };
  try {
    const retryAfterMs = await follow(claim, account, hold, progress);
    if (progress.failure !== undefined) {
      return await hold.steps.stepFailed(claim, progress.failure, hold.takeOther);
    }
    return await conclude(claim, account, hold, progress as Progress, retryAfterMs);
  } catch (error) {
    const status = progress.answer?.value.status;
    const isTaken = progress.wasSent === true || status === 'processing' || status === 'valid';
    if (claim.is_taken || !isTaken || !isMissing(error)) throw error;
    // The server does not find what it has the CSR of: that it has it is stored, so that the order is not given up.
    return hold.steps.orderFinalized(
      claim,
      { certificateUrl: progress.answer?.value.certificate, wasSent: progress.wasSent === true },
      hold.take,
    );
  }
}

/** Looks, sends, and polls as long as that is short; what the server asked to wait then. */
async function follow(
  claim: OrderClaim,
  account: Signer,
  hold: Hold,
  progress: Partial<Progress>,
): Promise<number | undefined> {
  const { call } = hold;
  const look = async () => {
    progress.answer = await remote('order.look', () => getOrder(account, claim.url ?? '', call));
    return progress.answer;
  };
  const mayBeSent = ({ status }: Order) => status === 'ready' && progress.isTaken !== true;
  const isEnd = (order: Order) =>
    order.status === 'valid' || order.status === 'invalid' || mayBeSent(order);
  // What an order's first answer left out, a later one may tell.
  let answer = claim.fresh && claim.finalize_url !== null ? undefined : await look();
  for (let sends = 1; ; sends += 1) {
    if (answer === undefined || mayBeSent(answer.value)) {
      const sent = await send(claim, answer?.value.finalize, account, hold);
      if (sent instanceof AcmeProblem && isCaa(sent)) {
        progress.failure = await caaFailure(sent, claim, account, call);
        return undefined;
      }
      const taken = sent instanceof AcmeProblem ? undefined : sent;
      if (taken !== undefined) {
        progress.answer = taken;
        progress.isTaken = progress.wasSent = true;
      }
      answer = taken ?? (await look());
      // The server reads what this account signs, and the order still waits: it refuses the CSR.
      if (sent instanceof AcmeProblem && ['ready', 'invalid'].includes(answer.value.status)) {
        progress.failure = csrRefused(sent);
        return undefined;
      }
    }
    if (answer.value.status === 'processing') {
      await hold.seen.tell(
        account.live.record.server,
        seenWhileWaiting('retry_after_order', answer.retryAfterMs),
      );
    }
    if (mayBeSent(answer.value)) return undefined;
    const polled = await poll(answer, look, isEnd, {
      ...hold,
      hasWaited: claim.has_waited,
      pace: account.live.pace.issuance,
    });
    answer = { value: polled.value };
    if (!polled.isEnd) return polled.retryAfterMs;
    if (!mayBeSent(answer.value) || sends === SENDS) return undefined;
  }
}

/** What follows from what was seen. */
async function conclude(
  claim: OrderClaim,
  account: Signer,
  hold: Hold,
  { answer: { value: order }, isTaken, wasSent }: Progress,
  retryAfterMs: number | undefined,
): Promise<Claim[]> {
  const { steps, take, takeOther } = hold;
  if (order.status === 'valid') {
    // Without a commit: killed here, the next look at the order finds it valid.
    return download({ ...claim, certificate_url: order.certificate ?? null }, hold);
  }
  if (order.status === 'invalid') {
    const failure =
      order.error !== undefined && isCaa(order.error)
        ? await caaFailure(order.error, claim, account, hold.call)
        : refusal(order);
    return steps.stepFailed(claim, failure, takeOther);
  }
  if (claim.is_expired) {
    const text = `The server's order expired while it was ${order.status}.`;
    return steps.stepFailed(claim, gone(text), takeOther);
  }
  // Whatever it reads: a second order would bring a second certificate.
  if (claim.is_taken || isTaken || order.status === 'processing') {
    return steps.orderFinalized(claim, { wasSent, retryAfterMs }, take);
  }
  const failure = await lag(claim, account, order, hold);
  return steps.stepFailed(claim, { ...failure, retry_after_ms: retryAfterMs }, takeOther);
}

function refusal({ error }: Order): Failure {
  const text = sentence(
    `The server could not issue: ${error === undefined ? 'it does not say why' : `${error.type}: ${error.detail}`}`,
  );
  const problem = error?.document;
  if (error?.type === 'badCSR') {
    return { class: 'permanent', code: 'refused_for_good', text, problem };
  }
  if (error?.type === 'serverInternal') {
    return { class: 'server_error', code: 'remote_trouble', text, problem };
  }
  return { class: 'refused', code: 'server_refused', text, problem };
}

function gone(text: string): Failure {
  return { class: 'gone', code: 'order_gone', text };
}

/**
 * An order that is not ready although its authorizations were valid: one that is not any more ends it, looked at once;
 * else the server lags behind itself, which is waited for as long as it may.
 */
async function lag(
  claim: OrderClaim,
  account: Account,
  order: Order,
  { call }: Hold,
): Promise<Failure> {
  if (claim.is_late) {
    return gone(
      `The server's order stayed ${order.status} for ten minutes, although its names were proved.`,
    );
  }
  for (const url of claim.has_waited ? [] : order.authorizations) {
    const { value } = await remote('authorization.look', () =>
      getAuthorization(account, url, call),
    );
    if (value.status !== 'valid' && value.status !== 'pending') {
      return gone(
        `The server's order went back to ${order.status}: its authorization for ${value.identifier.value} is ${value.status}.`,
      );
    }
  }
  return {
    class: 'waiting',
    code: 'waiting_for_server',
    text: `The names are proved, and the server's order is ${order.status} and cannot be finalized yet.`,
  };
}

function csrRefused(refusal: AcmeProblem): Failure {
  const { type, detail, document } = refusal;
  return {
    class: 'permanent',
    code: 'refused_for_good',
    text: sentence(`The server answered ${type}${detail === '' ? '' : `: ${detail}`}`),
    problem: document,
    of_account: ofAccount(refusal),
  };
}

/**
 * undefined: the order is not ready (§7.4, orderNotReady). A problem: CAA records do not let this server issue; or
 * `malformed` with status 400 (Boulder's other statuses of it say nothing of the CSR). What the order is then has to be
 * looked at.
 */
async function send(
  claim: OrderClaim,
  finalizeUrl: string | undefined,
  account: Account,
  { call }: Hold,
): Promise<Answer<Order> | AcmeProblem | undefined> {
  try {
    const order = { finalize: claim.finalize_url ?? finalizeUrl };
    return await remote('order.finalize', () =>
      finalizeOrder(account, order, csrDer(claim.pem), call),
    );
  } catch (error) {
    if (!(error instanceof AcmeProblem)) throw error;
    if (error.is('orderNotReady')) return undefined;
    if (isCaa(error) || (error.is('malformed') && error.status === 400)) return error;
    throw error;
  }
}
