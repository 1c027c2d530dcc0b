import { createHash } from 'node:crypto';
import type { Identifier } from './guards.ts';
import { reverseName } from './ip.ts';
import { assertToken } from './key.ts';

/** Where the key authorization of http-01 is fetched (RFC 8555 §8.3): a path of the identifier's port 80. */
export function http01Path(token: string): string {
  assertToken(token);
  return `/.well-known/acme-challenge/${token}`;
}

/** The name of the TXT record of dns-01 (RFC 8555 §8.4); a wildcard is proved by the name under it. */
export function dns01Name(domain: string): string {
  return `_acme-challenge.${baseOf(domain)}`;
}

/** The value of the TXT record of dns-01 (RFC 8555 §8.4), from the key authorization (§8.1). */
export function dns01Value(keyAuthorization: string): string {
  return digest(keyAuthorization).toString('base64url');
}

/**
 * The name of the TXT record of dns-account-01 (draft-ietf-acme-dns-account-label-02 §3): one for each
 * account, so that several may be delegated. Its value is that of dns-01.
 */
export function dnsAccount01Name(domain: string, accountUrl: string): string {
  const label = base32(digest(accountUrl).subarray(0, 10));
  return `_${label}._acme-challenge.${baseOf(domain)}`;
}

/** What a TLS server answers tls-alpn-01 with (RFC 8737 §3). */
export interface TlsAlpn01Response {
  /** The protocol that the CA asks for by ALPN, and the server agrees to. */
  protocol: 'acme-tls/1';
  /** The server name (SNI) that the CA sends: the name itself, or the reverse name of an address. */
  serverName: string;
  /** The one subject alternative name of the self-signed certificate. */
  identifier: Identifier;
  /** The extension `id-pe-acmeIdentifier`, which is critical; `value` is the DER inside of extnValue. */
  extension: { oid: '1.3.6.1.5.5.7.1.31'; critical: true; value: Uint8Array };
}

/**
 * How to answer tls-alpn-01 for a name (RFC 8737 §3) or an address (RFC 8738 §6): what the certificate
 * and the handshake have to show.
 */
export function tlsAlpn01(
  { type, value }: Identifier,
  keyAuthorization: string,
): TlsAlpn01Response {
  const sha256 = digest(keyAuthorization);
  return {
    protocol: 'acme-tls/1',
    serverName: (type === 'ip' ? reverseName(value) : undefined) ?? value,
    identifier: { type, value },
    // An OCTET STRING of 32 bytes.
    extension: {
      oid: '1.3.6.1.5.5.7.1.31',
      critical: true,
      value: Uint8Array.from([0x04, sha256.length, ...sha256]),
    },
  };
}

function baseOf(domain: string): string {
  return domain.replace(/^\*\./, '');
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** RFC 4648 §6, in lower case; the ten bytes of a label need no padding. */
function base32(bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const digits = bits.match(/.{5}/g) ?? [];
  return digits.map((five) => 'abcdefghijklmnopqrstuvwxyz234567'[parseInt(five, 2)]).join('');
}
