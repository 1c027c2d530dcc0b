import { type AccountKey, AcmeProblem, deactivateAccount, newAccount } from '../../acme/index.ts';
import type { AccountClaim, Claim } from '../../db/steps/steps.ts';
import type { LiveAccount } from '../accounts.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';
import { yes } from '../seen.ts';

/**
 * Ends an account at the server, for good (RFC 8555 §7.3.6). Sent again after a crash it is refused, as
 * every request of a deactivated account is: that is how it is known to be done. Where a roll-over was
 * under way the server may have either key, or one that it had seemed to refuse. That it has none of ours
 * does not close the account: somebody else has the key.
 */
export async function deactivate(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, take, seen } = hold;
  const live = await hold.accounts.live(claim);
  const { server } = live.record;
  let isClosed = false;
  let problem: unknown;
  for await (const key of keysOf(live, hold)) {
    const end = await close(claim, live, key, hold);
    if (typeof end === 'string') {
      await steps.accountDeactivated(claim, end);
      await seen.tell(server, [yes('account_deactivation', 'an account that was deactivated')]);
      return [];
    }
    isClosed ||= isEnded(end);
    problem = end.document;
  }
  if (isClosed) {
    await steps.accountDeactivated(claim, 'deactivated');
    return [];
  }
  return steps.stepFailed(
    claim,
    {
      class: 'person',
      code: 'account_key_unknown',
      text: 'It is not closed at the server, which opens it with no key that is stored here: the key was replaced elsewhere. Close it with the key of whoever did, or ask the CA. acme.deactivate_account(account) tries it again.',
      problem,
    },
    take,
  );
}

async function* keysOf(live: LiveAccount, { accounts }: Hold): AsyncGenerator<AccountKey> {
  for (const key of [live.pending, live.key]) if (key !== null) yield key;
  for await (const { key } of accounts.kept(live)) yield key;
}

/** The account's status after it was closed, or that the server did not do it for this key. */
async function close(
  { url }: AccountClaim,
  { server }: LiveAccount,
  key: AccountKey,
  { call }: Hold,
): Promise<string | AcmeProblem> {
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
    if (!(error instanceof AcmeProblem)) throw error;
    // A key that the account does not have is malformed to some servers.
    if (isEnded(error) || isRefusedAs(error, 'malformed')) return error;
    throw error;
  }
}

/** Nothing is open to this key; what is deactivated answers so (RFC 8555 §7.3.6). */
function isEnded(error: AcmeProblem): boolean {
  return error.is('accountDoesNotExist') || isRefusedAs(error, 'unauthorized');
}

function isRefusedAs(error: AcmeProblem, type: string): boolean {
  return error.isRefusal && error.is(type);
}
