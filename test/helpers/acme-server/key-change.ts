import { accountAnswer, accountOf } from './account.ts';
import {
  checkAlgorithm,
  parseJws,
  parseObject,
  protectedHeader,
  publicJwk,
  type Signed,
  spkiOf,
  thumbprintOf,
  verifyWith,
} from './jws.ts';
import { type Answer, Refusal } from './problem.ts';
import type { Ca } from './store.ts';

/** RFC 8555 §7.3.5: the payload is a JWS of the new key that names the account and the old key. */
export async function keyChange(ca: Ca, signed: Signed): Promise<Answer> {
  const account = accountOf(signed);
  const inner = parseJws(JSON.stringify(signed.payload));
  const { alg, jwk: given, url, nonce } = protectedHeader(inner);
  checkAlgorithm(ca, alg);
  if (url !== signed.url) {
    throw new Refusal('malformed', 'The inner url is another than the outer.');
  }
  if (nonce !== undefined) throw new Refusal('malformed', 'The inner JWS has a nonce.');
  const jwk = publicJwk(given);
  const request = parseObject(await verifyWith(inner, jwk, String(alg)));
  if (request['account'] !== account.url) {
    throw new Refusal('malformed', 'The inner account is not the one that asks.');
  }
  if ((await thumbprintOf(publicJwk(request['oldKey']))) !== account.thumbprint) {
    throw new Refusal('malformed', "oldKey is not the account's key.");
  }
  const thumbprint = await thumbprintOf(jwk);
  const owner = ca.store.accountByThumbprint(thumbprint);
  if (owner && !ca.options.keyChangeDoesNothing) {
    const location = { location: owner.url };
    throw new Refusal('malformed', 'The key belongs to an account.', 409, {}, location);
  }
  if (!ca.options.keyChangeDoesNothing) {
    Object.assign(account, { jwk, thumbprint, spki: spkiOf(jwk) });
  }
  return accountAnswer(ca, account, 200);
}
