import { getDomain } from 'tldts';
import type { ReceivedCsr, Verdict } from '../db/steps.ts';
import { judgeCsr } from '../x509/index.ts';

/**
 * Judges a received csr as far as it can be without the database: everything that its CSR says. What
 * the database adds (solvers, other tenants' names) joins the same list of reasons.
 */
export async function judge(row: ReceivedCsr): Promise<Verdict> {
  const verdict = await judgeCsr(row.pem, { keyTypes: row.key_types, maxNames: row.max_names });
  const { identifiers, spkiSha256 } = verdict.ok ? verdict.csr : verdict;
  return {
    csr_id: row.csr_id,
    // Past the server's number of names, one reason is enough: the names are not judged further.
    identifiers: identifiers.length > row.max_names ? [] : identifiers,
    domains: identifiers.map(registeredDomain),
    spki: spkiSha256?.toString('hex') ?? '',
    reasons: verdict.ok ? [] : verdict.reasons,
  };
}

/**
 * The registered domain of a name: claims of different tenants can overlap only within one. Names
 * outside the public suffix list (an internal PKI's) are their last two labels.
 */
function registeredDomain(identifier: string): string {
  const name = identifier.replace(/^\*\./, '');
  return (
    getDomain(name, { allowPrivateDomains: false, validateHostname: false }) ??
    name.split('.').slice(-2).join('.')
  );
}
