import { accountOf } from './account.ts';
import { authorizationStatus } from './authorization.ts';
import { type Signed, spkiOf } from './jws.ts';
import { type Answer, Refusal } from './problem.ts';
import type { Ca, Certificate } from './store.ts';

// RFC 5280 §5.3.1.
const KEY_COMPROMISE = 1;

/** Revocation (RFC 8555 §7.6): by the issuing account, by one that holds all names, or by the key. */
export function revokeCert(ca: Ca, signed: Signed): Answer {
  const { certificate: der, reason = 0 } = signed.payload ?? {};
  const wanted = typeof der === 'string' ? Buffer.from(der, 'base64url').toString('base64') : '';
  const found = [...ca.store.certificates.values()].find((each) => each.der === wanted);
  if (!found) throw new Refusal('malformed', 'This certificate was not issued here.', 404);
  const by = revoker(ca, signed, found);
  if (by === undefined) {
    throw new Refusal('unauthorized', 'The signer may not revoke this certificate.', 403);
  }
  const { revocationReasons, reasonByOtherAccount, reasonByKey } = ca.options;
  if (typeof reason !== 'number' || !revocationReasons.includes(reason)) {
    throw new Refusal('badRevocationReason', `Reasons are ${revocationReasons.join(', ')}.`);
  }
  if (found.revokedReason !== undefined) {
    throw new Refusal('alreadyRevoked', 'The certificate is revoked already.');
  }
  if (ca.now() >= found.notAfter) {
    throw new Refusal('unauthorized', 'The certificate has expired.', 403);
  }
  const forced = { owner: undefined, holder: reasonByOtherAccount, key: reasonByKey }[by];
  found.revokedReason = forced ?? reason;
  if (found.revokedReason === KEY_COMPROMISE) ca.store.blockedKeys.add(found.spki);
  return { status: 200 };
}

/** In which capacity the signer may revoke, if in any. */
function revoker(
  ca: Ca,
  signed: Signed,
  certificate: Certificate,
): 'owner' | 'holder' | 'key' | undefined {
  if (!signed.account) return spkiOf(signed.jwk) === certificate.spki ? 'key' : undefined;
  const account = accountOf(signed);
  if (account === certificate.account) return 'owner';
  const held = [...ca.store.authorizations.values()]
    .filter((each) => each.account === account && authorizationStatus(ca, each) === 'valid')
    .map(({ wildcard, identifier }) => (wildcard ? '*.' : '') + identifier.value);
  return certificate.identifiers.every(({ value }) => held.includes(value)) ? 'holder' : undefined;
}
