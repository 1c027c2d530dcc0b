import {
  type Account,
  AcmeError,
  AcmeProblem,
  certificateId,
  getRenewalInfo,
} from '../../acme/index.ts';
import type { Claim, OrderClaim } from '../../db/steps/steps.ts';
import { certificateDer } from '../../x509/index.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';

/** Problems of newOrder (RFC 8555 §6.7) that are about something else, with `replaces` or without. */
const ABOUT_OTHER_THINGS = [
  'accountDoesNotExist',
  'agreementRequired',
  'badNonce',
  'badPublicKey',
  'badSignatureAlgorithm',
  'externalAccountRequired',
  'invalidProfile',
  'rejectedIdentifier',
  'unsupportedIdentifier',
  'userActionRequired',
];

/**
 * The id of the certificate that this order is to replace (RFC 9773 §5), where its account ordered that one
 * and the directory has `renewalInfo`.
 */
export async function replacedBy(
  { replaces_pem: pem }: OrderClaim,
  { server }: Account,
  { call }: Hold,
): Promise<string | undefined> {
  if (pem === null) return undefined;
  const { renewalInfo } = await remote('account.directory', () => server.directory(call));
  return renewalInfo === undefined ? undefined : idOf(pem);
}

/** A renewal waits for this answer no longer than this: it goes on without. */
const RENEWAL_INFO_MS = 10_000;

/**
 * What is next where a renewal comes before the server's window (RFC 9773 §4.2), in which alone Let's Encrypt
 * exempts it from limits; undefined: it is time, it was asked for, or the server does not say.
 */
export async function waitForWindow(
  claim: OrderClaim,
  { server }: Account,
  id: string,
  { steps, call, takeOther, log }: Hold,
): Promise<Claim[] | undefined> {
  if (!claim.may_wait) return undefined;
  try {
    const { value } = await remote('order.renewal_info', () =>
      getRenewalInfo(server, id, { ...call, timeoutMs: RENEWAL_INFO_MS }),
    );
    return (await steps.renewalWindow(claim, value.suggestedWindow, takeOther)) ?? undefined;
  } catch (error) {
    if (!(error instanceof AcmeError)) throw error;
    log.info(
      { kind: claim.kind, id: claim.id, csr: claim.csr_id, reason: error.message },
      'the server does not say when to renew; the renewal goes on',
    );
    return undefined;
  }
}

/** Whether the same order may be had without `replaces`. */
export function mayBeAboutReplaces(error: unknown): error is AcmeProblem {
  return error instanceof AcmeProblem && error.isRefusal && !error.is(...ABOUT_OTHER_THINGS);
}

/** A CA of somebody's own may issue certificates that have no id, since they do not name its key. */
function idOf(pem: string): string | undefined {
  try {
    return certificateId(certificateDer(pem));
  } catch (error) {
    if (error instanceof AcmeError) return undefined;
    throw error;
  }
}
