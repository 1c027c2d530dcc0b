import {
  type AccountKey,
  AcmeProblem,
  newAccount,
  type Server,
  updateAccount,
} from '../../acme/index.ts';
import type { AccountClaim, Claim, Failure } from '../../db/steps/steps.ts';
import type { LiveAccount } from '../accounts.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';
import { seenInAccount } from '../seen.ts';
import { sentence } from '../sentence.ts';
import { factsOfDirectory } from '../server/features.ts';

/**
 * Registers an account (RFC 8555 §7.3). Its key is made, sealed and stored before it is used; with a
 * key that the server knows already, newAccount answers with that account (§7.3.1), so this can be
 * entered again at any point, and also brings back an account that the server lost. What the request
 * says of contacts and terms counts only where the account is new: else they are told it after.
 */
export async function register(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call } = hold;
  const live = await accounts.live(claim);
  const directory = await remote('account.directory', () =>
    live.server.directory({ ...call, refresh: true }),
  );
  // First of all: what it asks for shows also where the account has to wait for a person.
  await steps.serverFactsStored(live.record.server.id, 'directory', factsOfDirectory(directory));
  const { meta } = directory;
  const externalAccountBinding = await accounts.binding(live);
  const isBound = externalAccountBinding !== undefined || live.record.url !== null;
  const hasAgreed = claim.terms_agreed || areAgreed(claim, meta.termsOfService);
  const needs = await whatIsMissing(claim, hold, meta, {
    isBound,
    hasAgreed,
    name: live.record.name,
  });
  if (needs !== undefined) return needs;
  const key =
    live.key ??
    (await accounts.newKey(live, claim.key_algorithm, (stored) =>
      steps.accountKeyStored(claim, stored),
    ));
  if (key === null) return [];
  const details = {
    contact: claim.contact,
    ...(hasAgreed ? { termsOfServiceAgreed: true } : {}),
  };
  const request = {
    ...details,
    ...(externalAccountBinding === undefined ? {} : { externalAccountBinding }),
  };
  const registered = await remote('account.register', () =>
    newAccount(live.server, key, request, call).catch((error: unknown) => {
      if (isUnauthorized(error)) return error;
      throw error;
    }),
  );
  if (registered instanceof AcmeProblem) {
    // A key that the server may have had before is one of an account that somebody closed.
    if (live.key !== null && (await isClosed(live.server, key, hold))) {
      await steps.accountUpdated(claim, { status: 'deactivated', contact: [] });
      return [];
    }
    if (externalAccountBinding === undefined || live.record.url !== null) throw registered;
    return steps.stepFailed(claim, refusedBinding(registered, live), hold.take);
  }
  const { url, created, account } = registered;
  let resource = account;
  if (!created && account.status === 'valid') {
    resource = await remote('account.tell', () =>
      updateAccount({ server: live.server, url, key }, details, call),
    );
  }
  const { status } = resource;
  await hold.seen.tell(live.record.server, seenInAccount(resource, claim.contact));
  await steps.accountRegistered(claim, { url, status, termsUrl: meta.termsOfService });
  return [];
}

/** RFC 8555 §7.3.1: an account with this key is there, and not open to it. */
async function isClosed(server: Server, key: AccountKey, { call }: Hold): Promise<boolean> {
  return remote('account.find', () =>
    newAccount(server, key, { onlyReturnExisting: true }, call).then(
      () => false,
      (error: unknown) => {
        if (isUnauthorized(error)) return true;
        if (error instanceof AcmeProblem && error.isRefusal) return false;
        throw error;
      },
    ),
  );
}

/** Whether these terms, and no others that the server asked for meanwhile, were agreed to before. */
function areAgreed(
  { terms_url: asked, agreed_terms_url: agreed }: AccountClaim,
  terms: string | undefined,
): boolean {
  return agreed !== null && terms === agreed && (asked ?? agreed) === agreed;
}

async function whatIsMissing(
  claim: AccountClaim,
  { steps, take }: Hold,
  meta: { termsOfService?: string; externalAccountRequired?: boolean },
  { isBound, hasAgreed, name }: { isBound: boolean; hasAgreed: boolean; name: string },
): Promise<Claim[] | undefined> {
  if (meta.externalAccountRequired === true && !isBound) {
    return steps.stepFailed(
      claim,
      {
        class: 'person',
        code: 'external_account_required',
        text: "This server takes only accounts that are bound to an account of its own (RFC 8555 §7.3.4). Get a key identifier and an HMAC key there, seal the key (pgacme seal), and set the account's eab_kid and eab_hmac.",
      },
      take,
    );
  }
  if (meta.termsOfService !== undefined && !hasAgreed) {
    const where = meta.termsOfService.slice(0, 300);
    const other = claim.agreed_terms_url?.slice(0, 300);
    return steps.stepFailed(
      claim,
      {
        class: 'person',
        code: 'terms_not_agreed',
        text: `The server asks to agree to its terms of service. If you do: select acme.agree_terms('${name}'); They are at ${where}${other === undefined ? '' : `; those that were agreed to are at ${other}`}`,
        terms_url: meta.termsOfService,
      },
      take,
    );
  }
  return undefined;
}

function isUnauthorized(error: unknown): error is AcmeProblem {
  return error instanceof AcmeProblem && error.is('unauthorized');
}

/** RFC 8555 §7.3.4: the key identifier or the HMAC is not what the CA has. */
function refusedBinding({ type, detail, document }: AcmeProblem, { record }: LiveAccount): Failure {
  return {
    class: 'person',
    code: 'account_refused',
    text: `${sentence(`The server answered ${type}: ${detail}`)} What binds it to an account of the CA's was not right: update eab_kid and eab_hmac (pgacme seal --for account:${record.name} --server ${record.server.name} prints the latter).`,
    problem: document,
  };
}
