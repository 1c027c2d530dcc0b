import { randomBytes } from 'node:crypto';
import {
  type Account,
  AcmeError,
  AcmeProblem,
  type Directory,
  getAccount,
  getRenewalInfo,
  listOrders,
  type Server,
} from '../../acme/index.ts';
import type { ServerFact } from '../../db/steps/steps.ts';
import { seenInAccount, yes } from '../../tasks/seen.ts';

const TIMEOUT_MS = 15_000;
const CALL = { timeoutMs: TIMEOUT_MS };

/** One question to a server: what came of it, in words and as facts. */
export interface Asked {
  what: string;
  answer: string;
  facts: ServerFact[];
}

/**
 * What a server does when it is asked, by requests that cost no limit and change nothing: the account
 * read by POST-as-GET (RFC 8555 §6.3), its list of orders (§7.1.2.1), and renewal information of a
 * certificate that does not exist (RFC 9773 §4.1).
 */
export async function ask(
  server: Server,
  directory: Directory,
  account: { signer: Account; contact: readonly string[] } | string,
): Promise<Asked[]> {
  const asked: Asked[] = [];
  if (typeof account === 'string') {
    asked.push({ what: 'account', answer: account, facts: [] });
  } else {
    asked.push(...(await askAccount(account)));
  }
  if (directory.renewalInfo !== undefined) asked.push(await askRenewalInfo(server));
  return asked;
}

async function askAccount({
  signer,
  contact,
}: {
  signer: Account;
  contact: readonly string[];
}): Promise<Asked[]> {
  const [account, failure] = await attempt(() => getAccount(signer, CALL));
  if (account === undefined) {
    return [{ what: 'account', answer: `could not be read: ${failure.message}`, facts: [] }];
  }
  const facts = seenInAccount(account, contact);
  const kept = facts.find(({ feature }) => feature === 'contact_kept');
  const about = { yes: ', with its contacts', no: ', without its contacts' };
  const read: Asked = {
    what: 'account',
    answer: `is ${account.status}${kept === undefined ? '' : about[kept.support]}`,
    facts,
  };
  return account.orders === undefined ? [read] : [read, await askOrders(signer)];
}

async function askOrders(signer: Account): Promise<Asked> {
  const what = 'list of orders';
  const [orders, failure] = await attempt(() => listOrders(signer, { ...CALL, max: 1 }));
  if (orders !== undefined) {
    return { what, answer: 'given', facts: [yes('orders_list', 'a list of orders that was read')] };
  }
  const answer = `not given: ${failure.message}`;
  const source = `a list of orders that could not be read: ${failure.message}`;
  // What a time-out or an overload answers says nothing about the server.
  const isAnswer = failure instanceof AcmeProblem && !failure.isLimit;
  return {
    what,
    answer,
    facts: isAnswer ? [{ feature: 'orders_list', support: 'no', source }] : [],
  };
}

async function askRenewalInfo(server: Server): Promise<Asked> {
  const what = 'renewal info';
  // Random, the first bit of the serial number not set: nobody has such a certificate.
  const serial = randomBytes(16);
  serial[0] = 0x4b;
  const id = `${randomBytes(20).toString('base64url')}.${serial.toString('base64url')}`;
  const [, failure] = await attempt(() => getRenewalInfo(server, id, CALL));
  if (failure === undefined) {
    return { what, answer: 'given', facts: [yes('renewal_info', 'renewal information, given')] };
  }
  // A server that knows the question refuses the certificate with a problem document of its own.
  if (failure instanceof AcmeProblem && failure.isRefusal) {
    const source = `an unknown certificate, refused with ${failure.status}`;
    return { what, answer: source, facts: [yes('renewal_info', source)] };
  }
  return { what, answer: `not given: ${failure.message}`, facts: [] };
}

/** What came, or the error of the remote's; any other is thrown. */
async function attempt<T>(
  send: () => Promise<T>,
): Promise<[T, undefined] | [undefined, AcmeError]> {
  try {
    return [await send(), undefined];
  } catch (error) {
    if (error instanceof AcmeError) return [undefined, error];
    throw error;
  }
}
