import { newAuthorization } from '../../acme/index.ts';
import type { AuthorizationClaim, Claim } from '../../db/steps/steps.ts';
import { judgeDnsName, registeredDomain } from '../../x509/index.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';
import { yes } from '../seen.ts';

/**
 * Asks for an authorization before there is an order (RFC 8555 §7.4.1). Killed between the answer and
 * the commit it is asked for again: the first one expires unused, or the server hands it back.
 */
export async function preauthorize(claim: AuthorizationClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call, take } = hold;
  const account = await accounts.signer(claim);
  const { name, fault } = judgeDnsName(Buffer.from(claim.identifier ?? ''));
  if (fault !== undefined) return steps.stepFailed(claim, { class: 'permanent', ...fault }, take);
  const named = await steps.authorizationNamed(claim, registeredDomain(name));
  if (named === null) return [];
  if (named.refused !== undefined) {
    return steps.stepFailed(claim, { class: 'person', ...named.refused }, take);
  }
  const { url } = await remote('authorization.create', () =>
    newAuthorization(account, { type: 'dns', value: name }, call),
  );
  const claims = await steps.authorizationCreated(claim, url, take);
  await hold.seen.tell(account.live.record.server, [
    yes('new_authz', 'an authorization before an order'),
  ]);
  return claims;
}
