import { type AccountKey, AcmeProblem, deactivateAccount, newAccount } from '../acme/index.ts';
import type { AccountClaim, Claim } from '../db/steps.ts';
import type { LiveAccount } from './accounts.ts';
import type { Hold } from './context.ts';
import { remote } from './remote.ts';
import { yes } from './seen.ts';

/**
 * Ends an account at the server, for good (RFC 8555 §7.3.6). Sent again after a crash it is refused, as
 * every request of a deactivated account is: that is how it is known to be done. Where a roll-over was
 * under way the server may have either key: it is done when both are refused.
 */
export async function deactivate(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts } = hold;
  const live = await accounts.live(claim);
  for (const key of [live.pending, live.key]) {
    const status = key === null ? undefined : await end(claim, live, key, hold);
    if (status === undefined) continue;
    await steps.accountDeactivated(claim, status);
    await hold.seen.tell(live.record.server, [
      yes('account_deactivation', 'an account that was deactivated'),
    ]);
    return [];
  }
  await steps.accountDeactivated(claim, 'deactivated');
  return [];
}

/** undefined: the server has no account that is open to this key. */
async function end(
  { url }: AccountClaim,
  { server, pending }: LiveAccount,
  key: AccountKey,
  { call }: Hold,
): Promise<string | undefined> {
  try {
    // Without a URL it may have been registered all the same, by a worker that died.
    const account = {
      server,
      key,
      url:
        url ??
        (
          await remote('account.find', () =>
            newAccount(server, key, { onlyReturnExisting: true }, call),
          )
        ).url,
    };
    const { status } = await remote('account.deactivate', () => deactivateAccount(account, call));
    return status;
  } catch (error) {
    if (error instanceof AcmeProblem && isEnded(error, pending !== null)) return undefined;
    throw error;
  }
}

function isEnded({ type, status }: AcmeProblem, areTwoKeys: boolean): boolean {
  if (type === 'accountDoesNotExist') return true;
  // A key that the account does not have is malformed to some servers.
  return status < 500 && (type === 'unauthorized' || (areTwoKeys && type === 'malformed'));
}
