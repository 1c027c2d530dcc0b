import { type AccountKey, generateAccountKey, newAccount } from '../acme/index.ts';
import type { AccountClaim, Claim } from '../db/steps.ts';
import type { LiveAccount } from './accounts.ts';
import type { Hold } from './context.ts';
import { remote } from './remote.ts';

/**
 * Registers an account (RFC 8555 §7.3). Its key is made, sealed and stored before it is used; with a
 * key that the server knows already, newAccount answers with that account (§7.3.1), so this can be
 * entered again at any point, and also brings back an account that the server lost.
 */
export async function register(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call } = hold;
  const live = await accounts.live(claim);
  const { meta } = await remote('account.directory', () => live.server.directory(call));
  const needs = await whatIsMissing(claim, hold, meta);
  if (needs !== undefined) return needs;
  const key = live.key ?? (await makeKey(claim, hold, live));
  if (key === null) return [];
  const request = {
    contact: claim.contact,
    ...(claim.terms_agreed ? { termsOfServiceAgreed: true } : {}),
  };
  const { url, account } = await remote('account.register', () =>
    newAccount(live.server, key, request, call),
  );
  await steps.accountRegistered(claim, {
    url,
    status: account.status,
    termsUrl: meta.termsOfService,
  });
  return [];
}

async function whatIsMissing(
  claim: AccountClaim,
  { steps, take }: Hold,
  meta: { termsOfService?: string; externalAccountRequired?: boolean },
): Promise<Claim[] | undefined> {
  if (meta.externalAccountRequired === true) {
    return steps.stepFailed(
      claim,
      {
        class: 'person',
        code: 'external_account_required',
        text: 'This server takes only accounts that are bound to an account of its own, which pgacme cannot do yet.',
      },
      take,
    );
  }
  if (meta.termsOfService !== undefined && !claim.terms_agreed) {
    return steps.stepFailed(
      claim,
      {
        class: 'person',
        code: 'terms_not_agreed',
        text: `The server asks to agree to its terms of service, ${meta.termsOfService.slice(0, 300)} – if you do: update acme.account set terms_agreed = true.`,
      },
      take,
    );
  }
  return undefined;
}

/** null: the lease is gone, so this key must not be used. */
async function makeKey(
  claim: AccountClaim,
  { steps, accounts }: Hold,
  live: LiveAccount,
): Promise<AccountKey | null> {
  const key = await generateAccountKey(claim.key_algorithm);
  const sealed = await accounts.sealed(live, key.privateJwk, key.thumbprint, key.publicJwk);
  return (await steps.accountKeyStored(claim, sealed)) ? key : null;
}
