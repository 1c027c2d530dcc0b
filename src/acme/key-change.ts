import type { Account } from './account.ts';
import type { Call } from './http.ts';
import { flattened } from './jws.ts';
import type { AccountKey } from './key.ts';

/**
 * Gives the account another key (RFC 8555 §7.3.5); the URL stays. Store the new key before this is sent,
 * and let go of the old one only once `getAccount` has worked with the new: an answer may be lost, and a
 * CA may say 200 without doing it. AcmeProblem with status 409: the key has an account, at `location`.
 */
export async function changeKey(
  account: Account,
  newKey: AccountKey,
  call: Call = {},
): Promise<void> {
  const { server, key, url } = account;
  const endpoint = await server.resource('keyChange', call);
  // Signed by both: the new key inside, with the same URL and without a nonce; the old one outside.
  const inner = await flattened(
    { alg: newKey.alg, jwk: newKey.publicJwk, url: endpoint },
    JSON.stringify({ account: url, oldKey: key.publicJwk }),
    (bytes) => newKey.sign(bytes),
  );
  await server.post(account, endpoint, inner, call);
}
