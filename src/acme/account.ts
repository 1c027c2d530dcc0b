import { type HttpAnswer, jsonOf, locationOf } from './answer.ts';
import { oneOf, optionalText } from './guards.ts';
import type { Call } from './http.ts';
import type { AccountKey } from './key.ts';
import type { Server } from './server.ts';
import { isPlain } from './text.ts';

/** A registered account: what signs every request but newAccount. */
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
}

/** What newAccount asks for. */
export interface AccountRequest {
  /** `mailto:` URLs. */
  contact?: readonly string[];
  /** Set it only after a person agreed (RFC 8555 §7.3). */
  termsOfServiceAgreed?: boolean;
  /** Find the account of this key, never make one (§7.3.1). */
  onlyReturnExisting?: boolean;
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
  const { contact, termsOfServiceAgreed, onlyReturnExisting } = request;
  const payload = { contact, termsOfServiceAgreed, onlyReturnExisting };
  const { newAccount: endpoint } = await server.directory(call);
  const answer = await server.post({ key }, endpoint, payload, call);
  const url = locationOf(answer);
  server.assertAllowed(url);
  return { url, created: answer.status === 201, account: accountResource(answer) };
}

function accountResource(answer: HttpAnswer): AccountResource {
  const object = jsonOf(answer);
  const { contact, termsOfServiceAgreed } = object;
  const orders = optionalText(object, 'orders');
  return {
    status: oneOf(answer.url, object, 'status', ['valid', 'deactivated', 'revoked']),
    contact: Array.isArray(contact)
      ? contact.filter((one): one is string => typeof one === 'string' && isPlain(one, 500))
      : [],
    ...(typeof termsOfServiceAgreed === 'boolean' ? { termsOfServiceAgreed } : {}),
    ...(orders === undefined ? {} : { orders }),
  };
}
