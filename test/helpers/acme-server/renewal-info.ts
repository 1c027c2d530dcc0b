import { type Answer, Refusal } from './problem.ts';
import { type Account, type Ca, type Certificate, type Identifier, timestamp } from './store.ts';

const HOUR = 3_600_000;

/** RFC 9773 §4.2: when to renew; a revoked certificate at once. */
export function renewalInfo(ca: Ca, id: string): Answer {
  const { renewalWindow, explanationURL, renewalRetryAfter } = ca.options;
  const found = ca.options.renewalInfo ? byRenewalId(ca, id) : undefined;
  if (!found) throw new Refusal('malformed', 'There is no such certificate.', 404);
  const ideal = found.notAfter - (found.notAfter - found.notBefore) / 3;
  const middle = found.revokedReason === undefined ? ideal : ca.now() - 2 * HOUR;
  const window = { start: timestamp(middle - HOUR), end: timestamp(middle + HOUR) };
  return {
    status: 200,
    headers: renewalRetryAfter === undefined ? {} : { 'retry-after': String(renewalRetryAfter) },
    json: { suggestedWindow: renewalWindow ?? window, explanationURL },
  };
}

/** RFC 9773 §5: the replaced certificate is the account's, shares a name, and is not replaced yet. */
export function checkReplaces(
  ca: Ca,
  account: Account,
  identifiers: readonly Identifier[],
  replaces: string | undefined,
): void {
  if (replaces === undefined) return;
  const found = byRenewalId(ca, replaces);
  if (!found) throw new Refusal('malformed', 'The replaced certificate was not issued here.', 404);
  if (found.account !== account) {
    throw new Refusal('unauthorized', "The replaced certificate is another account's.", 403);
  }
  const names = new Set(found.identifiers.map(({ value }) => value));
  if (!identifiers.some(({ value }) => names.has(value))) {
    throw new Refusal('malformed', 'The replaced certificate has none of these names.');
  }
  if (found.replaced) {
    throw new Refusal('alreadyReplaced', 'The certificate has been replaced.', 409);
  }
}

/** An order that replaces a certificate was finalized. */
export function markReplaced(ca: Ca, replaces: string | undefined): void {
  const found = replaces === undefined ? undefined : byRenewalId(ca, replaces);
  if (found) found.replaced = true;
}

function byRenewalId(ca: Ca, id: string): Certificate | undefined {
  return [...ca.store.certificates.values()].find((each) => each.renewalId === id);
}
