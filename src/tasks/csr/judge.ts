import type { ReceivedCsr, Verdict } from '../../db/steps/steps.ts';
import { type Csr, judgeCsr, registeredDomain, verifyIssued } from '../../x509/index.ts';
import { certificateFacts } from '../certificate/certificate-facts.ts';

/**
 * Judges a received csr as far as it can be without the database: everything that its CSR says. What
 * the database adds (solvers, other tenants' names) joins the same list of reasons.
 */
export async function judge(row: ReceivedCsr): Promise<Verdict> {
  const verdict = await judgeCsr(row.pem, {
    keyTypes: row.key_types,
    maxNames: row.max_names,
    // What has its certificate is kept: whoever issued it was not in the way.
    refusedFeatures: row.chain_pem === null ? row.refused_csr_features : [],
  });
  const { identifiers, spkiSha256 } = verdict.ok ? verdict.csr : verdict;
  const adopted =
    verdict.ok && typeof row.chain_pem === 'string'
      ? await adopt(row.chain_pem, verdict.csr)
      : undefined;
  return {
    csr_id: row.csr_id,
    // Past the server's number of names, one reason is enough: the names are not judged further.
    identifiers: identifiers.length > row.max_names ? [] : identifiers,
    domains: identifiers.map(registeredDomain),
    spki: spkiSha256?.toString('hex') ?? '',
    reasons: verdict.ok ? [] : verdict.reasons,
    ...adopted,
  };
}

/** The certificate that another client ordered for a CSR, or why it is not the CSR's. */
async function adopt(
  chainPem: string,
  { der, identifiers }: Csr,
): Promise<Pick<Verdict, 'certificate'> | Pick<Verdict, 'reasons'>> {
  const verdict = await verifyIssued({ chainPem, csrDer: der, identifiers });
  if (verdict.ok) return { certificate: certificateFacts(verdict.certificate, null) };
  return {
    reasons: [
      {
        code: 'adoption_mismatch',
        text: `The certificate to adopt is not this CSR's: ${verdict.reason} Adopt it with the CSR that it was ordered with, or insert the CSR alone.`,
      },
    ],
  };
}
