import { externalAccountKey } from '../acme/index.ts';
import { PgacmeError } from '../errors.ts';
import { eabBinding, type KeyOwner } from './account-keys.ts';
import { seal, sealingKeys } from './seal.ts';

/** RFC 7518 §3.2: HS256, which CAs expect, takes no shorter key. */
const MIN_BYTES = 32;

/**
 * Seals the HMAC key of an external account binding (RFC 8555 §7.3.4), given as CAs show it.
 *
 * @throws AcmeError ERR_ACME_EAB, PgacmeError ERR_EAB: it cannot be one. The key is not shown.
 */
export async function sealEabKey(
  secretKey: string,
  owner: KeyOwner,
  hmac: string,
): Promise<string> {
  const bytes = externalAccountKey(hmac);
  if (bytes.length < MIN_BYTES) {
    throw new PgacmeError(
      'ERR_EAB',
      `The HMAC key has ${bytes.length} bytes and needs ${MIN_BYTES} or more: is it copied whole, and is it the key rather than its identifier?`,
    );
  }
  const text = Buffer.from(bytes).toString('base64url');
  return seal(await sealingKeys(secretKey), eabBinding(owner), text);
}
