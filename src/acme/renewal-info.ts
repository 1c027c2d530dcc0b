import { parseCertificate } from '../x509/certificate.ts';
import { readAuthorityKeyId } from '../x509/extensions.ts';
import { type Answer, answerWith, badAnswer, type HttpAnswer, jsonOf } from './answer.ts';
import { optionalText, optionalTime } from './guards.ts';
import type { Call } from './http.ts';
import { AcmeError, isObject } from './problem.ts';
import type { Server } from './server.ts';

/** When the CA suggests to renew a certificate (RFC 9773 §4.2). Times are RFC 3339. */
export interface RenewalInfo {
  suggestedWindow: { start: string; end: string };
  /** A page that says why; show it to a person. */
  explanationURL?: string;
}

/**
 * Asks when a certificate should be renewed (RFC 9773 §4.1, §4.2), unsigned. `retryAfterMs` is when to
 * ask again (§4.3). ERR_ACME_UNSUPPORTED where the directory has no `renewalInfo`.
 */
export async function getRenewalInfo(
  server: Server,
  certificateId: string,
  call: Call = {},
): Promise<Answer<RenewalInfo>> {
  // It becomes a part of a path.
  if (!/^[\w-]+\.[\w-]+$/.test(certificateId)) {
    throw new AcmeError(
      'ERR_ACME_CERTIFICATE',
      'This is not the id of a certificate; make it with certificateId of the certificate.',
    );
  }
  const base = await server.resource('renewalInfo', call);
  const answer = await server.get(`${base.replace(/\/$/, '')}/${certificateId}`, call);
  return answerWith(renewalInfoOf(answer), answer);
}

/**
 * The name of a certificate in renewal information and in `replaces` (RFC 9773 §4.1): its authority key
 * identifier and serial number. Takes the certificate as DER, or the two as the octets of their DER values
 * (a serial number whose first bit is set with its leading zero).
 */
export function certificateId(
  certificate: Uint8Array | { authorityKeyIdentifier: Uint8Array; serialNumber: Uint8Array },
): string {
  const { authorityKeyIdentifier, serialNumber } =
    certificate instanceof Uint8Array ? partsOf(certificate) : certificate;
  return [authorityKeyIdentifier, serialNumber]
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');
}

function partsOf(certificateDer: Uint8Array) {
  try {
    const { serialContent, extensions } = parseCertificate(Buffer.from(certificateDer));
    const authorityKeyIdentifier = readAuthorityKeyId(extensions);
    if (authorityKeyIdentifier !== undefined) {
      return { authorityKeyIdentifier, serialNumber: serialContent };
    }
  } catch (cause) {
    throw new AcmeError(
      'ERR_ACME_CERTIFICATE',
      'This is not a certificate in DER; give the bytes of one certificate.',
      { cause },
    );
  }
  throw new AcmeError(
    'ERR_ACME_CERTIFICATE',
    'The certificate has no authority key identifier, so renewal information has no name for it.',
  );
}

function renewalInfoOf(answer: HttpAnswer): RenewalInfo {
  const object = jsonOf(answer);
  const window = isObject(object['suggestedWindow']) ? object['suggestedWindow'] : {};
  const start = optionalTime(window, 'start');
  const end = optionalTime(window, 'end');
  // RFC 9773 §4.2: a window that does not end after it starts is no answer at all.
  if (start === undefined || end === undefined || end <= start) {
    throw badAnswer(answer.url, 'without a suggestedWindow that ends after it starts');
  }
  const explanationURL = optionalText(object, 'explanationURL');
  return {
    suggestedWindow: { start, end },
    ...(explanationURL === undefined ? {} : { explanationURL }),
  };
}
