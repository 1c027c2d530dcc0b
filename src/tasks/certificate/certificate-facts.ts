import type { CertificateFacts } from '../../db/steps/steps.ts';
import type { IssuedCertificate } from '../../x509/index.ts';

/** A verified certificate as the database takes it; `url`: where it was downloaded, if it was. */
export function certificateFacts(
  certificate: IssuedCertificate,
  url: string | null,
): CertificateFacts {
  return {
    url,
    identifiers: certificate.identifiers,
    leaf_pem: certificate.leafPem,
    chain_pem: certificate.chainPem,
    subject: certificate.subject,
    issuer: certificate.issuer,
    serial: certificate.serial,
    not_before: certificate.notBefore.toISOString(),
    not_after: certificate.notAfter.toISOString(),
    ends_with_issuer: certificate.endsWithIssuer,
    spki_sha256: certificate.spkiSha256.toString('hex'),
    fingerprint_sha256: certificate.fingerprintSha256.toString('hex'),
  };
}
