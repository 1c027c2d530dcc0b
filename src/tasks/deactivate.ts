import { AcmeProblem, deactivateAccount, newAccount } from '../acme/index.ts';
import type { AccountClaim, Claim } from '../db/steps.ts';
import type { Hold } from './context.ts';
import { remote } from './remote.ts';
import { yes } from './seen.ts';

/**
 * Ends an account at the server, for good (RFC 8555 §7.3.6). Sent again after a crash it is refused, as
 * every request of a deactivated account is: that is how it is known to be done.
 */
export async function deactivate(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call } = hold;
  const { server, key, record } = await accounts.live(claim);
  if (key === null) {
    await steps.accountDeactivated(claim, 'deactivated');
    return [];
  }
  try {
    // Without a URL it may have been registered all the same, by a worker that died.
    const url =
      claim.url ??
      (
        await remote('account.find', () =>
          newAccount(server, key, { onlyReturnExisting: true }, call),
        )
      ).url;
    const { status } = await remote('account.deactivate', () =>
      deactivateAccount({ server, url, key }, call),
    );
    await hold.seen.tell(record.server, [
      yes('account_deactivation', 'an account that was deactivated'),
    ]);
    await steps.accountDeactivated(claim, status);
  } catch (error) {
    if (!(error instanceof AcmeProblem) || !isEnded(error)) throw error;
    await steps.accountDeactivated(claim, 'deactivated');
  }
  return [];
}

function isEnded({ type, status }: AcmeProblem): boolean {
  return type === 'accountDoesNotExist' || (type === 'unauthorized' && status < 500);
}
