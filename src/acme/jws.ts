import type { AccountKey } from './key.ts';

/** Who signs a request: a key, and the account URL once there is an account. */
export interface Signer {
  key: AccountKey;
  /** The account URL, sent as `kid`; without it the public key itself is sent as `jwk`. */
  url?: string;
}

/**
 * A request body in Flattened JSON (RFC 8555 §6.2), signed for exactly this URL and nonce. `payload` is
 * JSON text, or empty for POST-as-GET (§6.3).
 */
export async function signedBody(
  signer: Signer,
  url: string,
  nonce: string,
  payload: string,
): Promise<string> {
  const { alg, publicJwk } = signer.key;
  // RFC 8555 §6.2: exactly one of jwk and kid; jwk is for requests before there is an account.
  const header =
    signer.url === undefined
      ? { alg, nonce, url, jwk: publicJwk }
      : { alg, nonce, url, kid: signer.url };
  return JSON.stringify(await flattened(header, payload, (bytes) => signer.key.sign(bytes)));
}

/** A JWS in Flattened JSON (RFC 7515 §7.2.2), as bodies are and as two payloads hold one inside. */
export interface FlattenedJws {
  protected: string;
  payload: string;
  signature: string;
}

/** Signs a payload (text) under a protected header (RFC 7515 §5.1). */
export async function flattened(
  header: object,
  payload: string,
  sign: (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>,
): Promise<FlattenedJws> {
  const head = base64url(JSON.stringify(header));
  const body = base64url(payload);
  const signature = Buffer.from(await sign(Buffer.from(`${head}.${body}`, 'ascii')));
  return { protected: head, payload: body, signature: signature.toString('base64url') };
}

function base64url(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64url');
}
