import { AcmeProblem, deactivateAuthorization, getOrder } from '../acme/index.ts';
import type { Claim, OrderClaim } from '../db/steps.ts';
import type { Hold } from './context.ts';
import { finalize } from './finalize.ts';
import { tellDeactivated } from './give-up.ts';
import { remote } from './remote.ts';

/**
 * Ends an order that is no longer wanted, before it was finalized: its pending authorizations are
 * deactivated (RFC 8555 §7.5.2), so that they do not count against the account. An authorization
 * that the server ended itself is as good, and one whose account's key is lost ends by itself.
 */
export async function cancel(claim: OrderClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call, takeOther } = hold;
  if (claim.state === 'ready' && claim.url !== null) {
    // A worker may have died after it sent the CSR: such an order comes to its end first.
    const account = await accounts.signer(claim);
    const url = claim.url;
    const { value: order } = await remote('order.look', () => getOrder(account, url, call));
    if (order.status === 'processing' || order.status === 'valid') return finalize(claim, hold);
  }
  const abandoned = await steps.abandonedAuthorizations(claim.id);
  const account = abandoned.length === 0 ? undefined : await accounts.signerIfAny(claim);
  if (account === undefined) return steps.orderCancelled(claim, [], takeOther);
  for (const { url } of abandoned) {
    try {
      await remote('authorization.deactivate', () => deactivateAuthorization(account, url, call));
      await tellDeactivated(account, hold);
    } catch (error) {
      if (!(error instanceof AcmeProblem) || error.status === 429 || (error.status ?? 0) >= 500) {
        throw error;
      }
    }
  }
  return steps.orderCancelled(
    claim,
    abandoned.map(({ id }) => id),
    takeOther,
  );
}
