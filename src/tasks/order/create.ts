import {
  type Account,
  type AcmeProblem,
  AcmeTrouble,
  getNewOrder,
  newOrder,
  type Order,
  type OrderRequest,
} from '../../acme/index.ts';
import type { Claim, Failure, OrderClaim } from '../../db/steps/steps.ts';
import { csrDer, refusedFeatures } from '../../x509/index.ts';
import type { Hold } from '../context.ts';
import { failureOf } from '../outcome.ts';
import { remote } from '../remote.ts';
import { whatOf } from '../report.ts';
import { seenInOrder, seenOfRefusedReplaces } from '../seen.ts';
import { orderRequest, unknownProfile } from './order-request.ts';
import { mayBeAboutReplaces, replacedBy, waitForWindow } from './replaces.ts';

/**
 * Orders a certificate (RFC 8555 §7.4). The order URL is the one thing that cannot be asked for again:
 * it is stored at once. Killed between the answer and the commit, a second order is made; the first
 * one expires unused, or the server hands it back.
 */
export async function create(claim: OrderClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, take } = hold;
  const account = await accounts.signer(claim);
  const refusal = featureRefusal(claim) ?? (await profileRefusal(claim, account, hold));
  if (refusal !== undefined) return steps.stepFailed(claim, refusal, take);
  const id = claim.url === null ? await replacedBy(claim, account, hold) : undefined;
  const later = id === undefined ? undefined : await waitForWindow(claim, account, id, hold);
  if (later !== undefined) return later;
  const placed = await place(claim, account, id, hold);
  if ('class' in placed) return steps.stepFailed(claim, placed, take);
  const { url, order, replaces, refused } = placed;
  // RFC 8555 §7.1.3 has no more authorizations than names; a wildcard and its base are two.
  if (new Set(order.authorizations).size > claim.identifiers.length) {
    return steps.stepFailed(claim, tooMany(order, claim), take);
  }
  if (order.status === 'invalid') {
    return steps.stepFailed(
      claim,
      {
        class: 'gone',
        code: 'order_gone',
        text: 'The server handed back an order that is invalid.',
      },
      take,
    );
  }
  const claims = await steps.orderCreated(
    claim,
    {
      url,
      status: order.status,
      finalize_url: order.finalize,
      certificate_url: order.certificate,
      expires_at: order.expires,
      authorizations: order.authorizations,
      replaces,
      replaces_refused: refused?.document,
    },
    take,
  );
  // After the order's URL is stored, which nobody could ask for again.
  await hold.seen.tell(account.live.record.server, [
    ...seenInOrder(order, replaces !== undefined),
    ...(refused === undefined ? [] : seenOfRefusedReplaces(refused)),
  ]);
  return claims;
}

/** An order that the server made. */
interface Placed {
  url: string;
  order: Order;
  /** What it was said to replace. */
  replaces?: string;
  /** How the server refused to hear that. */
  refused?: AcmeProblem;
}

/** The server wants more proved than was ordered: that would be as many rows, and requests. */
function tooMany({ authorizations }: Order, { identifiers }: OrderClaim): Failure {
  return {
    class: 'refused',
    code: 'server_refused',
    text: `The server's order has ${authorizations.length} authorizations for ${identifiers.length === 1 ? '1 name' : `${identifiers.length} names`}; it was left.`,
  };
}

/**
 * The order, from where the server put it if its answer did not tell enough: it is not made once more for that. What
 * fails then is told with its URL, so that the next attempt reads it.
 */
async function readPlaced(
  claim: OrderClaim,
  account: Account,
  url: string,
  { call }: Hold,
): Promise<Placed | Failure> {
  try {
    const { value } = await remote('order.look', () => getNewOrder(account, url, call));
    return { url, order: value };
  } catch (error) {
    const failure = failureOf(error, { ...claim, url });
    if (failure === undefined) throw error;
    const isUnusable = error instanceof AcmeTrouble && UNUSABLE.includes(error.code);
    const isLimited = failure.class === 'limited';
    return {
      ...failure,
      ...(isLimited ? { class: 'trouble', code: 'remote_trouble' } : {}),
      ...(isUnusable ? { is_unusable: true } : {}),
      order_url: url,
    };
  }
}

const UNUSABLE: readonly string[] = [
  'ERR_ACME_BAD_ANSWER',
  'ERR_ACME_NOT_JSON',
  'ERR_ACME_TOO_LARGE',
  'ERR_ACME_FORBIDDEN_URL',
];

/**
 * The server made an order (RFC 8555 §7.4: 201), and does not say where: asking again at once would make one more each
 * time.
 */
function lost(error: AcmeTrouble, claim: OrderClaim): Failure | undefined {
  if (error.status !== 201) return undefined;
  const failure = failureOf(error, claim);
  return failure && { ...failure, class: 'refused', code: 'server_refused' };
}

/**
 * A renewal says what it replaces (RFC 9773 §5). Whatever the server has against that, the certificate is
 * wanted all the same: it is ordered without, and what the server says then counts.
 */
async function place(
  claim: OrderClaim,
  account: Account,
  replaces: string | undefined,
  hold: Hold,
): Promise<Placed | Failure> {
  if (claim.url !== null) return readPlaced(claim, account, claim.url, hold);
  const send = async (request: OrderRequest): Promise<Placed | Failure> => {
    try {
      const { url, value: order } = await remote('order.create', () =>
        newOrder(account, request, hold.call),
      );
      return { url, order };
    } catch (error) {
      if (!(error instanceof AcmeTrouble)) throw error;
      if (error.location !== undefined) return readPlaced(claim, account, error.location, hold);
      return lost(error, claim) ?? Promise.reject(error);
    }
  };
  const request = orderRequest(claim);
  if (replaces === undefined) return send(request);
  try {
    return { ...(await send({ ...request, replaces })), replaces };
  } catch (error) {
    if (!mayBeAboutReplaces(error)) throw error;
    hold.log.info(
      { ...whatOf(claim), step: claim.step, reason: error.message },
      'the server refuses what the order is to replace; it is ordered without',
    );
    return { ...(await send(request)), refused: error };
  }
}

/** Found before ordering, too: a renewal of an adopted certificate may ask for what this server refuses. */
function featureRefusal(claim: OrderClaim): Failure | undefined {
  const [refused] = refusedFeatures(csrDer(claim.pem), claim.refused_csr_features);
  return (
    refused && {
      class: 'person',
      code: refused.code,
      text: `${refused.text} Cancel this csr, and insert one that does not ask for it.`,
    }
  );
}

/** Told before ordering. The directory is remembered for a day, so that it is read anew before a no. */
async function profileRefusal(
  { profile }: OrderClaim,
  { server }: Account,
  { call }: Hold,
): Promise<Failure | undefined> {
  if (profile === null) return undefined;
  for (const refresh of [false, true]) {
    const { meta } = await remote('account.directory', () =>
      server.directory({ ...call, refresh }),
    );
    const refusal = unknownProfile(profile, meta.profiles);
    if (refusal === undefined || refresh) return refusal;
  }
  return undefined;
}
