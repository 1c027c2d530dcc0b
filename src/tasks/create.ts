import { newOrder } from '../acme/index.ts';
import type { Claim, OrderClaim } from '../db/steps.ts';
import type { Hold } from './context.ts';
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
  const request = {
    identifiers: claim.identifiers.map((value) => ({ type: 'dns', value })),
    ...(claim.profile === null ? {} : { profile: claim.profile }),
  };
  const { url, value: order } = await remote('order.create', () =>
    newOrder(account, request, call),
  );
  await hold.seen.tell(account.live.record.server, seenInOrder(order));
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
  return steps.orderCreated(
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
}
