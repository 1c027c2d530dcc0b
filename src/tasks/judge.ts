import { getDomain } from 'tldts';
import type { ReceivedCsr, Verdict } from '../db/steps.ts';
import { judgeCsr } from '../x509/index.ts';

/** Judges a received csr as far as it can be without the database: everything that its CSR says. */
export async function judge(row: ReceivedCsr): Promise<Verdict> {
  const verdict = await judgeCsr(row.pem, { keyTypes: row.key_types, maxNames: row.max_names });
  if (!verdict.ok) {
    return { csr_id: row.csr_id, identifiers: [], domains: [], spki: '', reasons: verdict.reasons };
  }
  const { identifiers, spkiSha256 } = verdict.csr;
  return {
    csr_id: row.csr_id,
    identifiers,
    domains: identifiers.map(registeredDomain),
    spki: spkiSha256.toString('hex'),
    reasons: [],
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
