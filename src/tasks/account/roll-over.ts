import {
  type Account,
  type AccountKey,
  AcmeProblem,
  type Call,
  changeKey,
  getAccount,
  printable,
  updateAccount,
} from '../../acme/index.ts';
import type { AccountClaim, Claim } from '../../db/steps/steps.ts';
import type { LiveAccount } from '../accounts.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';
import { yes } from '../seen.ts';
import { KEY_REPLACED, sentence } from '../sentence.ts';

/**
 * Gives an account a new key (RFC 8555 §7.3.5). The new key is stored, and on the disk of every standby,
 * before the server hears of it: it is the one thing that nobody could make again. What the server
 * answers is not believed: only a look with the new key tells that it has it, also when this is entered
 * again after a crash.
 */
export async function rollOver(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call, take } = hold;
  const account = await accounts.signer(claim);
  const { live } = account;
  const { keyChange } = await remote('account.directory', () => live.server.directory(call));
  if (keyChange === undefined) {
    await steps.accountRollOverRefused(claim, {
      code: 'key_change_unsupported',
      text: 'The server offers no key roll-over (its directory has no keyChange). The account goes on with its key.',
    });
    return [];
  }
  const done = async (): Promise<Claim[]> => {
    await steps.accountRolledOver(claim);
    await hold.seen.tell(live.record.server, [
      yes('key_change', 'an account key that was replaced'),
    ]);
    return [];
  };
  if (claim.has_news) await tell(claim, account, call);
  if (live.pending !== null && (await isKnown(account, live.pending, 'account.probe_new', call))) {
    return done();
  }
  const pending =
    live.pending ??
    (await accounts.newKey(live, claim.key_algorithm, (stored) =>
      steps.accountPendingKey(claim, stored),
    ));
  if (pending === null) return [];
  const behind = await steps.accountKeyReady(claim);
  if (behind !== null) {
    return steps.stepFailed(
      claim,
      {
        class: 'waiting',
        code: 'waiting_for_standby',
        text: `The new key has to be on the disk of every standby before it is sent. Waiting for ${behind}.`,
        retry_after_ms: 2000,
      },
      take,
    );
  }
  const refusal = await send(account, pending, call);
  if (await isKnown(account, pending, 'account.probe_new', call)) return done();
  const isOpen = await isKnown(account, account.key, 'account.probe_old', call);
  if (isDoubtful(claim, account, refusal)) {
    return steps.stepFailed(
      claim,
      {
        class: 'waiting',
        code: 'key_change_unconfirmed',
        text: 'The server was sent the new key and does not know it yet. It is looked at again for five minutes.',
        retry_after_ms: 5000,
      },
      take,
    );
  }
  if (isOpen) {
    await steps.accountRollOverRefused(claim, refused(refusal));
  } else {
    return steps.stepFailed(
      claim,
      {
        class: 'person',
        code: 'account_key_unknown',
        text: `The server takes neither the old nor the new key of this account${refusal === undefined ? '' : ` (${printable(`${refusal.type}: ${refusal.detail}`, 500)})`}: ${KEY_REPLACED}`,
        problem: refusal?.document,
      },
      take,
    );
  }
  return [];
}

/**
 * New terms may have to be agreed to before the server does anything else (RFC 8555 §7.3.3). It may have
 * either key. What it does not take here is told anew after the roll-over.
 */
async function tell(
  { contact, terms_agreed: hasAgreed }: AccountClaim,
  { server, url, key, live }: Account & { live: LiveAccount },
  call: Call,
): Promise<void> {
  const details = { contact, ...(hasAgreed ? { termsOfServiceAgreed: true } : {}) };
  for (const each of [live.pending, key]) {
    if (each === null) continue;
    try {
      await remote('account.tell', () => updateAccount({ server, url, key: each }, details, call));
      return;
    } catch (error) {
      if (!(error instanceof AcmeProblem && isRefusal(error))) throw error;
    }
  }
}

/** How long a server may go on as if it had the old key: frontends remember accounts for a while. */
const DOUBT_MS = 300_000;

/**
 * Whether the server may have the new key although it does not open the account: it said yes, or says that
 * this account has it, or was sent it before and the old key is what it now refuses.
 */
function isDoubtful(
  { sent_ms: sentMs }: AccountClaim,
  { url }: Account,
  refusal: AcmeProblem | undefined,
): boolean {
  if ((sentMs ?? 0) >= DOUBT_MS) return false;
  const isOwn = refusal?.status === 409 && refusal.location === url;
  return refusal === undefined || isOwn || sentMs !== null;
}

/** The refusal of the server, if it was one; what it did is looked at in any case. */
async function send(
  account: Account,
  pending: AccountKey,
  call: Call,
): Promise<AcmeProblem | undefined> {
  try {
    await remote('account.key_change', () => changeKey(account, pending, call));
    return undefined;
  } catch (error) {
    // A limit, or trouble of the server: the same again later; 501 says that it never will.
    if (error instanceof AcmeProblem && (isRefusal(error) || error.status === 501)) return error;
    throw error;
  }
}

/** Whether the account opens with a key: a look at it (POST-as-GET, RFC 8555 §6.3) changes nothing. */
async function isKnown(
  { server, url }: Account,
  key: AccountKey,
  name: 'account.probe_new' | 'account.probe_old',
  call: Call,
): Promise<boolean> {
  try {
    await (name === 'account.probe_new'
      ? remote('account.probe_new', () => getAccount({ server, url, key }, call))
      : remote('account.probe_old', () => getAccount({ server, url, key }, call)));
    return true;
  } catch (error) {
    if (!(error instanceof AcmeProblem && isRefusal(error))) throw error;
    if (name === 'account.probe_old' && error.is('accountDoesNotExist')) throw error;
    return false;
  }
}

/** An account that is lost or held is so whatever the key: what then follows is not a roll-over's to say. */
function isRefusal(error: AcmeProblem): boolean {
  return error.isRefusal && !error.is('userActionRequired');
}

function refused(problem: AcmeProblem | undefined): {
  code: string;
  text: string;
  problem?: unknown;
} {
  const goesOn = 'The account goes on with its old key.';
  if (problem === undefined) {
    return {
      code: 'key_not_changed',
      text: `The server said that the key was changed, and does not know the new one. ${goesOn}`,
    };
  }
  // RFC 8555 §7.3.5: the new key is another account's, whose URL comes with the answer.
  if (problem.status === 409) {
    return {
      code: 'key_in_use',
      text: `The server has the new key already, as that of ${problem.location ?? 'another account'}. ${goesOn} acme.roll_over_key() tries another one.`,
      problem: problem.document,
    };
  }
  return {
    code: 'key_change_refused',
    text: `${sentence(`The server refused the new key: ${problem.type}: ${problem.detail}`)} ${goesOn}`,
    problem: problem.document,
  };
}
