import { createHash } from 'node:crypto';

/** The name of the TXT record of dns-01 (RFC 8555 §8.4); a wildcard is proved by the name under it. */
export function dns01Name(domain: string): string {
  return `_acme-challenge.${domain.replace(/^\*\./, '')}`;
}

/** The value of the TXT record of dns-01 (RFC 8555 §8.4), from the key authorization (§8.1). */
export function dns01Value(keyAuthorization: string): string {
  return createHash('sha256').update(keyAuthorization).digest('base64url');
}
