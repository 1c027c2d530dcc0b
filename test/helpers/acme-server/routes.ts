import { account, newAccount, orders } from './account.ts';
import { authorization, challenge, newAuthz } from './authorization.ts';
import { certificate } from './certificate.ts';
import type { KeyHeader, Signed } from './jws.ts';
import { keyChange } from './key-change.ts';
import { finalize, newOrder, order } from './order.ts';
import type { Answer, JsonObject } from './problem.ts';
import { revokeCert } from './revocation.ts';
import { type Ca, newId, type Resource } from './store.ts';

/** A resource that wants a signed POST: which key header, and what it does. */
export interface Route {
  readonly key: KeyHeader;
  /** POST-as-GET is no request here, or is the only one; unset: the resource decides. */
  readonly payload?: 'wanted' | 'none';
  readonly handle: (
    ca: Ca,
    signed: Signed,
    id: string,
    detail: string | undefined,
  ) => Answer | Promise<Answer>;
}

// Odd on purpose: a client must take every URL from the server (RFC 8555 §7.1).
const paths: Record<Resource, string> = {
  directory: 'start-here',
  newNonce: 'one-more',
  newAccount: 'join',
  account: 'member',
  orders: 'wish-list',
  keyChange: 'new-lock',
  newAuthz: 'ahead',
  newOrder: 'wish',
  order: 'wishes',
  authorization: 'proofs',
  challenge: 'riddles',
  finalize: 'seal',
  certificate: 'papers',
  revokeCert: 'regret',
  renewalInfo: 'best-before',
};

/** The resources that are read by a plain GET, without a signature. */
export type Unsigned = 'directory' | 'newNonce' | 'renewalInfo';

/** All others. */
export const routes: Record<Exclude<Resource, Unsigned>, Route> = {
  newAccount: { key: 'jwk', payload: 'wanted', handle: newAccount },
  account: { key: 'kid', handle: account },
  orders: { key: 'kid', payload: 'none', handle: orders },
  keyChange: { key: 'kid', payload: 'wanted', handle: keyChange },
  newAuthz: { key: 'kid', payload: 'wanted', handle: newAuthz },
  newOrder: { key: 'kid', payload: 'wanted', handle: newOrder },
  order: { key: 'kid', payload: 'none', handle: order },
  authorization: { key: 'kid', handle: authorization },
  challenge: { key: 'kid', handle: challenge },
  finalize: { key: 'kid', payload: 'wanted', handle: finalize },
  certificate: { key: 'kid', payload: 'none', handle: certificate },
  revokeCert: { key: 'either', payload: 'wanted', handle: revokeCert },
};

/** The path of a resource. */
export function pathOf(resource: Resource, ...rest: string[]): string {
  return `/${[paths[resource], ...rest].join('/')}`;
}

/** The resource that a path leads to, with what follows its name. */
export function resourceAt(path: string): { resource: Resource | undefined; rest: string[] } {
  const [, first, ...rest] = path.split('/');
  const resource = (Object.keys(paths) as Resource[]).find((name) => paths[name] === first);
  return { resource, rest };
}

/** The directory (RFC 8555 §7.1.1), with a key that clients must ignore. */
export function directory(ca: Ca): JsonObject {
  const { termsOfService, profiles, externalAccounts } = ca.options;
  const meta: JsonObject = { website: 'https://ca.example/', caaIdentities: ['ca.example'] };
  if (termsOfService !== undefined) meta['termsOfService'] = termsOfService;
  if (Object.keys(profiles).length > 0) meta['profiles'] = profiles;
  if (externalAccounts) meta['externalAccountRequired'] = true;
  return {
    newNonce: ca.link('newNonce'),
    newAccount: ca.link('newAccount'),
    newOrder: ca.link('newOrder'),
    revokeCert: ca.link('revokeCert'),
    keyChange: ca.link('keyChange'),
    ...(ca.options.preAuthorization ? { newAuthz: ca.link('newAuthz') } : {}),
    ...(ca.options.renewalInfo ? { renewalInfo: ca.link('renewalInfo') } : {}),
    meta,
    [newId()]: 'https://ca.example/why-is-this-here',
  };
}
