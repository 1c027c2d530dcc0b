import { AcmeProblem, newAccount, updateAccount } from '../acme/index.ts';
import type { AccountClaim, Claim } from '../db/steps.ts';
import type { Hold } from './context.ts';
import { remote } from './remote.ts';
import { seenInAccount } from './seen.ts';

/**
 * Tells the server what changed of an account: contacts, agreement to the terms (RFC 8555 §7.3.2,
 * §7.3.3). Where somebody asked for it, looks the account up by its key first (§7.3.1): the URL has to
 * be the stored one.
 */
export async function update(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call, take } = hold;
  const account = await accounts.signer(claim);
  const { meta } = await remote('account.directory', () => account.server.directory(call));
  if (claim.is_verification) {
    const url = await find(hold, account);
    if (url === undefined) {
      return steps.stepFailed(
        claim,
        {
          class: 'account_lost',
          code: 'account_lost',
          text: 'The server has no account for this key.',
        },
        take,
      );
    }
    if (url !== account.url) {
      return steps.stepFailed(
        claim,
        {
          class: 'person',
          code: 'account_url_differs',
          text: `The server knows the key as ${url}, and it is stored as ${account.url}. Do not go on with it before you know why; acme.verify_account() looks again.`,
        },
        take,
      );
    }
  }
  const resource = await remote('account.tell', () =>
    updateAccount(
      account,
      {
        contact: claim.contact,
        ...(claim.terms_agreed ? { termsOfServiceAgreed: true } : {}),
      },
      call,
    ),
  );
  const { status, contact } = resource;
  await hold.seen.tell(account.live.record.server, seenInAccount(resource, claim.contact));
  await steps.accountUpdated(claim, { status, contact, terms_url: meta.termsOfService });
  return [];
}

/** undefined: the server does not know the key. */
async function find(
  { call }: Hold,
  { server, key }: Awaited<ReturnType<Hold['accounts']['signer']>>,
): Promise<string | undefined> {
  try {
    const { url } = await remote('account.find', () =>
      newAccount(server, key, { onlyReturnExisting: true }, call),
    );
    return url;
  } catch (error) {
    if (error instanceof AcmeProblem && error.type === 'accountDoesNotExist') return undefined;
    throw error;
  }
}
