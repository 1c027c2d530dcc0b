import { type Account, newOrder } from '../acme/index.ts';
import type { Claim, Failure, OrderClaim } from '../db/steps.ts';
import type { Hold } from './context.ts';
import { orderRequest, unknownProfile } from './order-request.ts';
import { remote } from './remote.ts';
import { seenInOrder } from './seen.ts';

/**
 * Orders a certificate (RFC 8555 §7.4). The order URL is the one thing that cannot be asked for again:
 * it is stored at once. Killed between the answer and the commit, a second order is made; the first
 * one expires unused, or the server hands it back.
 */
export async function create(claim: OrderClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call, take } = hold;
  const account = await accounts.signer(claim);
  const refusal = await profileRefusal(claim, account, hold);
  if (refusal !== undefined) return steps.stepFailed(claim, refusal, take);
  const { url, value: order } = await remote('order.create', () =>
    newOrder(account, orderRequest(claim), call),
  );
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
    },
    take,
  );
  // After the order's URL is stored, which nobody could ask for again.
  await hold.seen.tell(account.live.record.server, seenInOrder(order));
  return claims;
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
