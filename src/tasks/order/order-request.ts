import type { Directory } from '../../acme/index.ts';
import type { Failure, OrderClaim } from '../../db/steps/steps.ts';

/** What newOrder is asked for (RFC 8555 §7.4; `profile` draft-ietf-acme-profiles). */
export function orderRequest(claim: OrderClaim) {
  return {
    identifiers: claim.identifiers.map((value) => ({ type: 'dns', value })),
    ...(claim.profile === null ? {} : { profile: claim.profile }),
    ...(claim.not_before === null ? {} : { notBefore: rfc3339(claim.not_before) }),
    ...(claim.not_after === null ? {} : { notAfter: rfc3339(claim.not_after) }),
  };
}

/**
 * draft-ietf-acme-profiles §3: a client does not order a profile that the directory does not list. A server that lists
 * none would pass over it without a word, and issue something else.
 */
export function unknownProfile(
  profile: string,
  profiles: Directory['meta']['profiles'] = {},
): Failure | undefined {
  const offered = Object.entries(profiles);
  if (offered.some(([name]) => name === profile)) return undefined;
  if (offered.length === 0) {
    return {
      class: 'person',
      code: 'invalid_profile',
      text: `The server has no profiles, and the csr asks for the profile ${profile}. Cancel this csr, and insert the CSR anew without a profile.`,
    };
  }
  const list = offered.map(([name, about]) => (about === '' ? name : `${name} (${about})`));
  return {
    class: 'person',
    code: 'invalid_profile',
    text: `The server has no profile ${profile}. It offers: ${list.join('; ').slice(0, 1000)}. Cancel this csr, and insert the CSR anew with one of these, or with none.`,
  };
}

/**
 * What to do where a server does not let its clients choose times (RFC 8555 §7.4), as many do not.
 * undefined: none were asked for.
 */
export function validityCure(claim: OrderClaim): string | undefined {
  const unset = [
    ...(claim.not_after === null ? [] : ['validity = null']),
    ...(claim.not_before === null ? [] : ['validity_start = null']),
  ];
  if (unset.length === 0) return undefined;
  return `The csr asks for a validity of its own, which not every server takes: update acme.csr set ${unset.join(', ')} where id = ${claim.csr_id}; then select acme.retry(${claim.csr_id}).`;
}

/** Whole seconds, as certificates have them. */
function rfc3339(time: string): string {
  return new Date(time).toISOString().replace(/\.\d+/, '');
}
