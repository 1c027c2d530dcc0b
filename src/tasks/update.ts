import {
  type AccountKey,
  AcmeProblem,
  getAccount,
  newAccount,
  type Server,
  updateAccount,
} from '../acme/index.ts';
import type { AccountClaim, Claim, Failure } from '../db/steps.ts';
import type { Signer } from './accounts.ts';
import type { Hold } from './context.ts';
import { remote } from './remote.ts';
import { seenInAccount } from './seen.ts';
import { KEY_REPLACED } from './sentence.ts';

/**
 * Tells the server what changed of an account: contacts, and that a person agreed to the terms, if one did
 * since it was told last (RFC 8555 §7.3.2, §7.3.3). Where somebody asked for it, looks the account up by its key first (§7.3.1): the URL has to
 * be the stored one.
 */
export async function update(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call, take } = hold;
  const account = await accounts.signer(claim);
  const { terms_agreed: hasAgreed } = claim;
  const { meta } = await remote('account.directory', () =>
    account.server.directory({ ...call, refresh: hasAgreed }),
  );
  if (claim.is_verification) {
    const url = await find(account.server, account.key, hold);
    if (url === undefined) return unknown(claim, account, hold);
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
        ...(hasAgreed ? { termsOfServiceAgreed: true } : {}),
      },
      call,
    ),
  );
  const { status, contact } = resource;
  await hold.seen.tell(account.live.record.server, seenInAccount(resource, claim.contact));
  await steps.accountUpdated(claim, {
    status,
    contact,
    ...(hasAgreed ? { terms_url: meta.termsOfService, agreed_terms_url: meta.termsOfService } : {}),
  });
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
  const failure: Failure = (await isLost(account, hold))
    ? {
        class: 'account_lost',
        code: 'account_lost',
        text: 'The server has no account for this key.',
      }
    : {
        class: 'person',
        code: 'account_key_unknown',
        text: `The server knows no account with this key, and has the account ${account.url} still: ${KEY_REPLACED}`,
      };
  return hold.steps.stepFailed(claim, failure, hold.take);
}

/** Whether the server says that the account does not exist (a look, POST-as-GET, RFC 8555 §6.3). */
async function isLost(account: Signer, { call }: Hold): Promise<boolean> {
  const problem = await remote('account.probe_stored', () =>
    getAccount(account, call).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof AcmeProblem && error.status !== 429 && error.status < 500) {
          return error;
        }
        throw error;
      },
    ),
  );
  return problem?.type === 'accountDoesNotExist';
}

/** The URL of the account that has this key; undefined: none has. */
async function find(server: Server, key: AccountKey, { call }: Hold): Promise<string | undefined> {
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
