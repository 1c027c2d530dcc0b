import { parseJws, protectedHeader, type Signed, thumbprintOf, verifyWith } from './jws.ts';
import { type JsonObject, Refusal } from './problem.ts';
import type { Ca } from './store.ts';

const ALGORITHMS = ['HS256', 'HS384', 'HS512'];

/** The binding of a new account, verified by RFC 8555 §7.3.4; undefined where none is wanted. */
export async function externalBinding(ca: Ca, signed: Signed): Promise<JsonObject | undefined> {
  const { externalAccounts, externalAccountsOnce } = ca.options;
  if (!externalAccounts) return undefined;
  const given = signed.payload?.['externalAccountBinding'];
  if (given === undefined) {
    throw new Refusal('externalAccountRequired', 'Accounts are bound to external ones here.', 403);
  }
  const jws = parseJws(JSON.stringify(given));
  const { alg, kid, url, nonce } = protectedHeader(jws);
  if (typeof alg !== 'string' || !ALGORITHMS.includes(alg)) {
    throw new Refusal('malformed', 'The binding is not made with a MAC.');
  }
  if (url !== signed.url) throw new Refusal('malformed', 'The url of the binding is another.');
  if (nonce !== undefined) throw new Refusal('malformed', 'The binding has a nonce.');
  const key = typeof kid === 'string' ? externalAccounts[kid] : undefined;
  if (typeof kid !== 'string' || key === undefined) {
    throw new Refusal('unauthorized', 'There is no such external account.', 403);
  }
  if (externalAccountsOnce && ca.store.boundKids.has(kid)) {
    throw new Refusal('unauthorized', 'This key id has bound an account already.', 403);
  }
  const jwk = await verified(jws, Buffer.from(key, 'base64url'), alg);
  if ((await thumbprintOf(jwk)) !== (await thumbprintOf(signed.jwk))) {
    throw new Refusal('badPublicKey', "The binding is for another key than the request's.");
  }
  ca.store.boundKids.add(kid);
  return { ...jws };
}

async function verified(jws: Parameters<typeof verifyWith>[0], key: Uint8Array, alg: string) {
  try {
    const payload: unknown = JSON.parse(await verifyWith(jws, key, alg));
    return { ...(payload as JsonObject) };
  } catch {
    throw new Refusal('unauthorized', 'The MAC of the binding does not verify.', 403);
  }
}
