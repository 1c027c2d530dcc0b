import { createPublicKey } from 'node:crypto';
import { calculateJwkThumbprint, decodeProtectedHeader, flattenedVerify, type JWK } from 'jose';
import { type JsonObject, Refusal } from './problem.ts';
import type { Account, Ca } from './store.ts';

/** A request whose signature, nonce and url were found good. */
export interface Signed {
  readonly url: string;
  /** The payload's JSON object; undefined for POST-as-GET (RFC 8555 §6.3). */
  readonly payload: JsonObject | undefined;
  readonly jwk: JWK;
  /** The account behind the kid; undefined when the request carries its key. */
  readonly account: Account | undefined;
}

/** Which header must name the key: `jwk` (new accounts), `kid` (nearly all else), or either. */
export type KeyHeader = 'jwk' | 'kid' | 'either';

/** Verifies a request by RFC 8555 §6.2 to §6.5; throws a Refusal that says what is wrong. */
export async function verifyRequest(
  ca: Ca,
  body: string,
  url: string,
  keyHeader: KeyHeader,
): Promise<Signed> {
  const jws = parseJws(body);
  const header = protectedHeader(jws);
  checkAlgorithm(ca, header['alg']);
  const nonce = header['nonce'];
  if (typeof nonce !== 'string' || !ca.store.nonces.delete(nonce)) {
    throw new Refusal('badNonce', 'The nonce is missing, unknown or used.');
  }
  if (header['url'] !== url) {
    // RFC 8555 §6.4
    throw new Refusal('unauthorized', `The url header is not the request's URL, ${url}.`, 403);
  }
  const { jwk, account } = signer(ca, header, keyHeader);
  const payload = await verifyWith(jws, jwk, String(header['alg']));
  if (account && account.status !== 'valid') {
    throw new Refusal('unauthorized', `The account is ${account.status}.`, 403);
  }
  return { url, payload: payload === '' ? undefined : parseObject(payload), jwk, account };
}

/** What an unverified request says of itself, for the list of what was seen. */
export function peek(body: string): { kid?: string; payload?: unknown } {
  try {
    const jws = parseJws(body);
    const kid = protectedHeader(jws)['kid'];
    const text = Buffer.from(jws.payload, 'base64url').toString();
    const payload: unknown = text === '' ? '' : JSON.parse(text);
    return typeof kid === 'string' ? { kid, payload } : { payload };
  } catch {
    return {};
  }
}

/** Base64 of the key's SubjectPublicKeyInfo, to compare keys across formats. */
export function spkiOf(jwk: JWK): string {
  const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
  return key.export({ type: 'spki', format: 'der' }).toString('base64');
}

/** The RFC 7638 thumbprint that names an account's key. */
export function thumbprintOf(jwk: JWK): Promise<string> {
  return calculateJwkThumbprint(jwk);
}

/** A JWS in Flattened JSON (RFC 7515 §7.2.2). */
export interface FlattenedJws {
  readonly protected: string;
  readonly payload: string;
  readonly signature: string;
}

/** RFC 8555 §6.2: flattened, one signature, nothing unprotected; §6.1: base64url unpadded. */
export function parseJws(body: string): FlattenedJws {
  const jws = parseObject(body);
  const names = Object.keys(jws).sort().join();
  if (names !== 'payload,protected,signature') {
    throw new Refusal('malformed', `A JWS has payload, protected and signature, not ${names}.`);
  }
  const member = (name: string) => {
    const value = jws[name];
    if (typeof value !== 'string' || !/^[\w-]*$/.test(value)) {
      throw new Refusal('malformed', `The JWS member ${name} is not base64url without padding.`);
    }
    return value;
  };
  return {
    protected: member('protected'),
    payload: member('payload'),
    signature: member('signature'),
  };
}

/** The protected header, not verified. */
export function protectedHeader(jws: FlattenedJws): JsonObject {
  try {
    return { ...decodeProtectedHeader(jws) };
  } catch {
    throw new Refusal('malformed', 'The protected header is not a JSON object.');
  }
}

/** RFC 8555 §6.2: the refusal lists what would be taken. */
export function checkAlgorithm(ca: Ca, alg: unknown): void {
  const { algorithms } = ca.options;
  if (algorithms.some((known) => known === alg)) return;
  const detail = `The algorithm is not one of ${algorithms.join(', ')}.`;
  throw new Refusal('badSignatureAlgorithm', detail, 400, { algorithms });
}

function signer(ca: Ca, header: JsonObject, keyHeader: KeyHeader) {
  const found = header['kid'] === undefined ? 'jwk' : 'kid';
  if (found === 'kid' && header['jwk'] !== undefined) {
    throw new Refusal('malformed', 'A JWS has either kid or jwk.');
  }
  if (keyHeader !== 'either' && found !== keyHeader) {
    throw new Refusal('malformed', `This resource wants the ${keyHeader} header.`);
  }
  if (found === 'jwk') return { jwk: publicJwk(header['jwk']), account: undefined };
  const kid = String(header['kid']);
  const account = ca.store.accounts.get(kid.slice(kid.lastIndexOf('/') + 1));
  if (account?.url !== kid) throw new Refusal('accountDoesNotExist', 'No account has this kid.');
  return { jwk: account.jwk, account };
}

/** A public key of a kind that is taken. */
export function publicJwk(value: unknown): JWK {
  if (typeof value !== 'object' || value === null) {
    throw new Refusal('malformed', 'The jwk header is missing.');
  }
  const jwk: JWK = { ...value };
  if (jwk.d !== undefined) throw new Refusal('malformed', 'The jwk header holds a private key.');
  try {
    const details = createPublicKey({ key: { ...jwk }, format: 'jwk' }).asymmetricKeyDetails;
    const bits = details?.modulusLength ?? 0;
    if (jwk.kty === 'EC' || (jwk.kty === 'RSA' && bits >= 2048 && bits <= 4096)) return jwk;
  } catch {
    // Refused below, like a key of a kind that is not taken.
  }
  throw new Refusal('badPublicKey', 'The key is not EC, nor RSA of 2048 to 4096 bits.');
}

/** The payload, if it is signed by this key. */
export async function verifyWith(
  jws: FlattenedJws,
  key: JWK | Uint8Array,
  alg: string,
): Promise<string> {
  try {
    const { payload } = await flattenedVerify(jws, key, { algorithms: [alg] });
    return Buffer.from(payload).toString();
  } catch {
    throw new Refusal('malformed', 'The JWS does not verify.');
  }
}

/** A JSON object, or a refusal. */
export function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal('malformed', 'This is not a JSON object.');
  }
  return { ...value };
}
