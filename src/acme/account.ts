import { type HttpAnswer, isEmpty, jsonOf, locationOf } from './answer.ts';
import { bindingOf, type ExternalAccount } from './external-account.ts';
import { oneOf, optionalText } from './guards.ts';
import type { Call } from './http.ts';
import type { AccountKey } from './key.ts';
import { isObject } from './problem.ts';
import type { Server } from './server.ts';
import { isPlain, jsonbSafe, type JsonObject } from './text.ts';

/** A registered account: what signs every request but newAccount (RFC 8555 §6.2). */
export interface Account {
  server: Server;
  /** The account URL, which is its identity. */
  url: string;
  key: AccountKey;
}

/** The account as the CA has it (RFC 8555 §7.1.2). */
export interface AccountResource {
  status: 'valid' | 'deactivated' | 'revoked';
  /** Empty at CAs that do not keep contacts. */
  contact: string[];
  termsOfServiceAgreed?: boolean;
  /** The URL of the list of orders; many CAs have none. */
  orders?: string;
  /** As the CA shows it, which it does only once it has verified it (§7.3.4); fit for jsonb. */
  externalAccountBinding?: JsonObject;
}

/** What newAccount asks for (RFC 8555 §7.3). */
export interface AccountRequest {
  /** `mailto:` URLs. */
  contact?: readonly string[];
  /** Set it only after a person agreed (RFC 8555 §7.3). */
  termsOfServiceAgreed?: boolean;
  /** Find the account of this key, never make one (§7.3.1). */
  onlyReturnExisting?: boolean;
  /** Binds the account to one that the CA has of its own kind (§7.3.4). */
  externalAccountBinding?: ExternalAccount;
}

/**
 * Registers a key, or finds the account that it has (RFC 8555 §7.3, §7.3.1): `created` tells which.
 * Sending it again is harmless, since a key has one account.
 */
export async function newAccount(
  server: Server,
  key: AccountKey,
  request: AccountRequest,
  call: Call = {},
): Promise<{ url: string; created: boolean; account: AccountResource }> {
  const { contact, termsOfServiceAgreed, onlyReturnExisting, externalAccountBinding } = request;
  const { newAccount: endpoint } = await server.directory(call);
  const payload = {
    contact,
    termsOfServiceAgreed,
    onlyReturnExisting,
    externalAccountBinding:
      externalAccountBinding && (await bindingOf(externalAccountBinding, endpoint, key)),
  };
  const answer = await server.post({ key }, endpoint, payload, call);
  const url = locationOf(answer);
  server.assertAllowed(url);
  return { url, created: answer.status === 201, account: accountResource(answer, 'valid') };
}

/** Reads the account by POST-as-GET (RFC 8555 §7.3.2, §6.3): also the proof that its key is the live one. */
export async function getAccount(account: Account, call: Call = {}): Promise<AccountResource> {
  return accountResource(await account.server.fetch(account, account.url, call), 'valid');
}

/**
 * Changes the contacts (RFC 8555 §7.3.2; an empty list removes them) or agrees to changed terms (§7.3.3).
 * What is left out stays. CAs that keep no contacts answer without them.
 */
export async function updateAccount(
  account: Account,
  change: { contact?: readonly string[]; termsOfServiceAgreed?: boolean },
  call: Call = {},
): Promise<AccountResource> {
  const { contact, termsOfServiceAgreed } = change;
  return post(account, { contact, termsOfServiceAgreed }, 'valid', call);
}

/**
 * Deactivates the account for good (RFC 8555 §7.3.6): the CA refuses every later request of it. Its
 * certificates stay valid.
 */
export async function deactivateAccount(
  account: Account,
  call: Call = {},
): Promise<AccountResource> {
  return post(account, { status: 'deactivated' }, 'deactivated', call);
}

async function post(
  account: Account,
  payload: object,
  status: AccountResource['status'],
  call: Call,
): Promise<AccountResource> {
  return accountResource(await account.server.post(account, account.url, payload, call), status);
}

/**
 * What the CA shows of an account. One that answers without a body, or a status, has done what it was asked for: of a
 * closed account it refuses every request (RFC 8555 §7.3.6).
 */
function accountResource(answer: HttpAnswer, status: AccountResource['status']): AccountResource {
  if (isEmpty(answer)) return { status, contact: [] };
  const object = jsonOf(answer);
  const { contact, termsOfServiceAgreed, externalAccountBinding } = object;
  const orders = optionalText(object, 'orders');
  return {
    status:
      (object['status'] ?? null) === null
        ? status
        : oneOf(answer.url, object, 'status', ['valid', 'deactivated', 'revoked']),
    contact: Array.isArray(contact)
      ? contact.filter((one): one is string => typeof one === 'string' && isPlain(one, 500))
      : [],
    ...(typeof termsOfServiceAgreed === 'boolean' ? { termsOfServiceAgreed } : {}),
    ...(orders === undefined ? {} : { orders }),
    ...(isObject(externalAccountBinding)
      ? { externalAccountBinding: jsonbSafe(externalAccountBinding) }
      : {}),
  };
}
