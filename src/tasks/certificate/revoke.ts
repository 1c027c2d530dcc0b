import { AcmeProblem, printable, revokeCertificate } from '../../acme/index.ts';
import type { AccountRef, CertificateClaim, Claim, Failure } from '../../db/steps/steps.ts';
import { PgacmeError } from '../../errors.ts';
import { certificateDer, reasonCode } from '../../x509/index.ts';
import type { Hold } from '../context.ts';
import { failureOf, ofAccount } from '../outcome.ts';
import { remote } from '../remote.ts';
import { seenOfRevocation } from '../seen.ts';
import { sentence } from '../sentence.ts';

/**
 * Has a certificate revoked (RFC 8555 §7.6): by the account that ordered it, else by another of ours that
 * holds authorizations for all of its names. There is nothing to look at first: entered again after a kill,
 * the server answers `alreadyRevoked`, which is success.
 */
export async function revoke(claim: CertificateClaim, hold: Hold): Promise<Claim[]> {
  const { steps } = hold;
  let refusal: AcmeProblem | PgacmeError | undefined;
  for await (const account of signers(claim, hold)) {
    const asked = await ask(claim, account, hold);
    if (!(asked instanceof Error)) {
      await steps.certificateRevoked(claim, { account: account.account_id, ...asked });
      return [];
    }
    refusal ??= asked;
  }
  return steps.stepFailed(claim, nobodyMay(claim, refusal), 0);
}

/** The others are looked up only when the first one is refused. */
async function* signers(claim: CertificateClaim, { steps }: Hold): AsyncGenerator<AccountRef> {
  yield claim;
  yield* await steps.accountsForRevocation(claim);
}

/**
 * An account may not revoke it: to some servers the key of an account that has another one by now is malformed,
 * and an account that was lost does not exist.
 */
const REFUSALS = ['unauthorized', 'malformed', 'accountDoesNotExist'];

/** The problem of an account that may not revoke it; another account may. */
async function ask(
  claim: CertificateClaim,
  ref: AccountRef,
  { accounts, seen, call }: Hold,
): Promise<{ wasRevoked: boolean } | AcmeProblem | PgacmeError> {
  const der = certificateDer(claim.leaf_pem);
  const signer = await accounts.signerOrReason(ref);
  if (signer instanceof PgacmeError) return signer;
  const tell = (isDone: boolean) => {
    const facts = seenOfRevocation(isDone, ref.account_id === claim.account_id);
    return seen.tell(signer.live.record.server, facts);
  };
  try {
    await remote('certificate.revoke', () =>
      revokeCertificate(signer, der, reasonCode(claim.reason), call),
    );
  } catch (error) {
    if (!(error instanceof AcmeProblem)) throw error;
    if (error.is('alreadyRevoked')) return { wasRevoked: true };
    if (!error.is(...REFUSALS)) throw error;
    // The others tell of this account's key, and nothing of the server.
    if (error.is('unauthorized')) await tell(false);
    return error;
  }
  await tell(true);
  return { wasRevoked: false };
}

/** None of our accounts was let; what the one said that ordered it tells why. */
function nobodyMay(
  claim: CertificateClaim,
  refusal: AcmeProblem | PgacmeError | undefined,
): Failure {
  const cure = `Whoever has its private key can: pgacme revoke --id ${claim.id} --key-file KEY.`;
  if (refusal instanceof AcmeProblem && !refusal.is('unauthorized')) {
    const failure = failureOf(refusal, claim);
    if (failure !== undefined) return { ...failure, text: `${failure.text} ${cure}` };
  }
  const problem = refusal instanceof AcmeProblem ? refusal : undefined;
  const said =
    refusal === undefined ? '' : `: ${printable(problem?.detail ?? refusal.message, 300)}`;
  return {
    class: 'refused',
    code: 'revocation_unauthorized',
    text: `${sentence(`The server lets none of our accounts revoke certificate ${claim.id}${said}`)} ${cure}`,
    problem: problem?.document,
    of_account: problem && ofAccount(problem),
  };
}
