import { X509Certificate } from 'node:crypto';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { AcmeTrouble } from './problem.ts';

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/**
 * A TLS context that trusts Node's roots and, for this one server, the certificates of a bundle (PEM).
 * Node takes a broken bundle without a word and then trusts nothing in it, so it is looked at here.
 */
export function secureContext(caBundle: string): SecureContext {
  const own = caBundle.match(BLOCK) ?? [];
  try {
    for (const pem of own) new X509Certificate(pem);
  } catch (error) {
    throw unreadable(error);
  }
  if (own.length === 0) throw unreadable(undefined);
  return createSecureContext({ ca: [...rootCertificates, ...own] });
}

function unreadable(cause: unknown): AcmeTrouble {
  return new AcmeTrouble(
    'ERR_ACME_NETWORK',
    "The server's CA bundle cannot be read; give it as PEM certificates.",
    { cause },
  );
}
