import {
  type AccountKey,
  type AccountResource,
  AcmeProblem,
  getAccount,
  newAccount,
  type Server,
  updateAccount,
} from '../../acme/index.ts';
import type { AccountClaim, Claim, Failure } from '../../db/steps/steps.ts';
import type { Signer } from '../accounts.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';
import { seenInAccount } from '../seen.ts';
import { KEY_REPLACED } from '../sentence.ts';

/**
 * Tells the server what changed of an account: contacts, and that a person agreed to the terms, if one did
 * since it was told last (RFC 8555 §7.3.2, §7.3.3). Where somebody asked for it, looks the account up by its key first (§7.3.1): the URL has to
 * be the stored one.
 */
export async function update(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call } = hold;
  const account = await accounts.signer(claim);
  const { terms_agreed: hasAgreed } = claim;
  const { meta } = await remote('account.directory', () =>
    account.server.directory({ ...call, refresh: hasAgreed }),
  );
  if (claim.is_verification) {
    const end = await verify(claim, account, hold);
    if (end !== undefined) return end;
  }
  const details = {
    contact: claim.contact,
    ...(hasAgreed ? { termsOfServiceAgreed: true } : {}),
  };
  const resource = await remote('account.tell', () =>
    updateAccount(account, details, call).catch((error: unknown) => {
      if (isUnauthorized(error)) return error;
      throw error;
    }),
  );
  if (resource instanceof AcmeProblem) {
    // What it means does not stand in the server's words.
    const end = claim.is_verification ? undefined : await verify(claim, account, hold);
    if (end === undefined) throw resource;
    return end;
  }
  const { status, contact } = resource;
  await hold.seen.tell(account.live.record.server, seenInAccount(resource, claim.contact));
  await steps.accountUpdated(claim, {
    status,
    contact,
    ...(hasAgreed ? { terms_url: meta.termsOfService, agreed_terms_url: meta.termsOfService } : {}),
  });
  return [];
}

/** Whether the server has the account by its key as it is stored here; undefined: it does. */
async function verify(
  claim: AccountClaim,
  account: Signer,
  hold: Hold,
): Promise<Claim[] | undefined> {
  let url: string | undefined;
  try {
    url = await find(account.server, account.key, hold);
  } catch (error) {
    if (!isUnauthorized(error)) throw error;
    return closed(claim, account, error, hold);
  }
  if (url === account.url) return undefined;
  if (url === undefined) return unknown(claim, account, hold);
  const failure: Failure = {
    class: 'person',
    code: 'account_url_differs',
    text: `The server has another URL for this key than the one that is stored. Do not go on with it before you know why; acme.verify_account() looks again. It has ${url}, and stored is ${account.url}`,
  };
  return hold.steps.stepFailed(claim, failure, hold.take);
}

/**
 * The server has an account with this key, and does not open it (RFC 8555 §7.3.6): somebody closed it. What it is
 * says its object, at servers that still show it.
 */
async function closed(
  claim: AccountClaim,
  account: Signer,
  refusal: AcmeProblem,
  hold: Hold,
): Promise<Claim[]> {
  const object = await probe(account, hold);
  const status = object instanceof AcmeProblem ? 'deactivated' : object.status;
  if (status === 'valid') throw refusal;
  await hold.steps.accountUpdated(claim, { status, contact: [] });
  return [];
}

/**
 * The server does not know the key. Without the account it has lost both; else the account has another key: one of
 * ours that it took after it had seemed to refuse it, or one that somebody gave it elsewhere. Registering again would
 * then make a second account.
 */
async function unknown(claim: AccountClaim, account: Signer, hold: Hold): Promise<Claim[]> {
  for await (const { id, key } of hold.accounts.kept(account.live)) {
    if ((await find(account.server, key, hold)) !== account.url) continue;
    await hold.steps.accountKeyFound(claim, id);
    return [];
  }
  const object = await probe(account, hold);
  const isLost = object instanceof AcmeProblem && object.is('accountDoesNotExist');
  const failure: Failure = isLost
    ? {
        class: 'account_lost',
        code: 'account_lost',
        text: 'The server has no account for this key.',
      }
    : {
        class: 'person',
        code: 'account_key_unknown',
        text: `The server still has this account, but knows no account with this key: ${KEY_REPLACED}`,
      };
  return hold.steps.stepFailed(claim, failure, hold.take);
}

/** The account's object, or how the server refuses a look at it (POST-as-GET, RFC 8555 §6.3). */
async function probe(account: Signer, { call }: Hold): Promise<AccountResource | AcmeProblem> {
  return remote('account.probe_stored', () =>
    getAccount(account, call).catch((error: unknown) => {
      if (error instanceof AcmeProblem && error.isRefusal) return error;
      throw error;
    }),
  );
}

function isUnauthorized(error: unknown): error is AcmeProblem {
  return error instanceof AcmeProblem && error.is('unauthorized');
}

/** The URL of the account that has this key; undefined: none has. */
async function find(server: Server, key: AccountKey, { call }: Hold): Promise<string | undefined> {
  try {
    const { url } = await remote('account.find', () =>
      newAccount(server, key, { onlyReturnExisting: true }, call),
    );
    return url;
  } catch (error) {
    if (error instanceof AcmeProblem && error.is('accountDoesNotExist')) return undefined;
    throw error;
  }
}
