import { accountOf } from './account.ts';
import { authorizationStatus, owned } from './authorization.ts';
import { type Signed, spkiOf } from './jws.ts';
import { type Answer, Refusal } from './problem.ts';
import type { Ca, Certificate } from './store.ts';

/** Download (RFC 8555 §7.4.2); `n` above 0 is an alternate chain. */
export function certificate(ca: Ca, signed: Signed, id: string, n = '0'): Answer {
  const known = ca.store.certificates.get(id);
  const found = owned(signed, known, known?.account);
  const pem = found.chains[Number(n)];
  if (pem === undefined) throw new Refusal('malformed', 'There is no such chain.', 404);
  const link = found.chains.flatMap((_, index) => {
    const url = ca.link('certificate', id, ...(index > 0 ? [String(index)] : []));
    return String(index) === n ? [] : [`<${url}>;rel="alternate"`];
  });
  return {
    status: 200,
    headers: { link },
    body: ca.options.certificate.pem?.(pem) ?? pem,
    contentType: 'application/pem-certificate-chain',
  };
}

/** Revocation (§7.6): by the issuing account, by one that holds all names, or by the key. */
export function revokeCert(ca: Ca, signed: Signed): Answer {
  const { certificate: der, reason = 0 } = signed.payload ?? {};
  const wanted = typeof der === 'string' ? Buffer.from(der, 'base64url').toString('base64') : '';
  const found = [...ca.store.certificates.values()].find((each) => each.der === wanted);
  if (!found) throw new Refusal('malformed', 'This certificate was not issued here.', 404);
  if (!mayRevoke(ca, signed, found)) {
    throw new Refusal('unauthorized', 'The signer may not revoke this certificate.', 403);
  }
  // RFC 5280 §5.3.1: 7 is not used.
  if (
    typeof reason !== 'number' ||
    !Number.isInteger(reason) ||
    reason < 0 ||
    reason > 10 ||
    reason === 7
  ) {
    throw new Refusal('badRevocationReason', 'There is no such reason.');
  }
  if (found.revokedReason !== undefined) {
    throw new Refusal('alreadyRevoked', 'The certificate is revoked already.');
  }
  found.revokedReason = reason;
  return { status: 200 };
}

function mayRevoke(ca: Ca, signed: Signed, certificate: Certificate): boolean {
  if (!signed.account) return spkiOf(signed.jwk) === certificate.spki;
  const account = accountOf(signed);
  if (account === certificate.account) return true;
  const held = [...ca.store.authorizations.values()]
    .filter((each) => each.account === account && authorizationStatus(ca, each) === 'valid')
    .map(({ wildcard, identifier }) => (wildcard ? '*.' : '') + identifier.value);
  return certificate.identifiers.every(({ value }) => held.includes(value));
}
