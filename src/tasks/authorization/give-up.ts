import { AcmeProblem, deactivateAuthorization, getAuthorization } from '../../acme/index.ts';
import type { AuthorizationClaim, Claim } from '../../db/steps/steps.ts';
import type { Signer } from '../accounts.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';
import { yes } from '../seen.ts';

/**
 * Gives up an authorization that somebody does not want any more (RFC 8555 §7.5.2). Sent again after a
 * crash it is refused by some servers: a look tells then whether it has ended.
 */
export async function giveUp(claim: AuthorizationClaim, hold: Hold): Promise<Claim[]> {
  const account = await hold.accounts.signer(claim);
  const state = await end(account, claim.url, hold);
  return hold.steps.authorizationDeactivated(claim, state, hold.takeOther);
}

/** That the server could be seen to do it. */
export async function tellDeactivated(account: Signer, { seen }: Hold): Promise<void> {
  await seen.tell(account.live.record.server, [
    yes('authorization_deactivation', 'an authorization that was deactivated'),
  ]);
}

/** Its status at the server, as it is then. */
async function end(account: Signer, url: string, hold: Hold): Promise<string> {
  try {
    const { value } = await remote('authorization.give_up', () =>
      deactivateAuthorization(account, url, hold.call),
    );
    await tellDeactivated(account, hold);
    return value.status;
  } catch (error) {
    if (!(error instanceof AcmeProblem)) throw error;
    if (error.status === 404) return 'expired';
    if (!error.is('malformed', 'unauthorized')) throw error;
    const { value } = await remote('authorization.look', () =>
      getAuthorization(account, url, hold.call),
    );
    if (value.status === 'pending' || value.status === 'valid') throw error;
    return value.status;
  }
}
