import { FlattenedSign } from 'jose';
import type { AccountKey } from './key.ts';

/** Who signs a request: a key, and the account URL once there is an account. */
export interface Signer {
  key: AccountKey;
  /** The account URL, sent as `kid`; without it the public key itself is sent as `jwk`. */
  url?: string;
}

const encoder = new TextEncoder();

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
  const { alg, privateKey, publicJwk } = signer.key;
  // RFC 8555 §6.2: exactly one of jwk and kid; jwk is for requests before there is an account.
  const header =
    signer.url === undefined
      ? { alg, nonce, url, jwk: publicJwk }
      : { alg, nonce, url, kid: signer.url };
  return JSON.stringify(
    await new FlattenedSign(encoder.encode(payload)).setProtectedHeader(header).sign(privateKey),
  );
}
