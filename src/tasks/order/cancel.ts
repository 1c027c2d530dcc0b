import {
  AcmeProblem,
  deactivateAuthorization,
  getAuthorization,
  getOrder,
} from '../../acme/index.ts';
import type { Claim, OrderClaim } from '../../db/steps/steps.ts';
import { PgacmeError } from '../../errors.ts';
import type { Signer } from '../accounts.ts';
import { tellDeactivated } from '../authorization/give-up.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';
import { finalize } from './finalize.ts';

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
  if (abandoned.length === 0) return steps.orderCancelled(claim, [], takeOther);
  const account = await accounts.signerOrReason(claim);
  if (account instanceof PgacmeError) return steps.orderCancelled(claim, [], takeOther);
  const ended: number[] = [];
  for (const { id, url } of abandoned) {
    if (await isEnded(account, url, hold)) ended.push(id);
  }
  return steps.orderCancelled(claim, ended, takeOther);
}

/** Whether the server has ended it. One that it does not want to end, or does not show, stays as it is. */
async function isEnded(account: Signer, url: string, hold: Hold): Promise<boolean> {
  try {
    await remote('authorization.deactivate', () =>
      deactivateAuthorization(account, url, hold.call),
    );
    await tellDeactivated(account, hold);
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    if (error.status === 404) return true;
  }
  // Sent again after a crash it is refused by some servers.
  try {
    const { value } = await remote('authorization.look', () =>
      getAuthorization(account, url, hold.call),
    );
    return value.status !== 'pending' && value.status !== 'valid';
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return error.status === 404;
  }
}

function isRefusal(error: unknown): error is AcmeProblem {
  return error instanceof AcmeProblem && error.isRefusal;
}
