import type { AcmeServer, Fault, JsonObject, Problem } from '../../helpers/acme-server/index.ts';

/** Until the script has the CA behave in another way. */
const ALWAYS = { times: Infinity };

/**
 * Names that one order asks for together. Authorizations of one order are worked on side by side, so that which of two
 * ends the order would be chance: those of these names do not fail.
 */
export const isSturdy = (name: string): boolean => name.includes('pair');

type Resource = Parameters<AcmeServer['on']>[0];

const problem =
  (resource: Resource, type: string, more: Omit<Problem, 'type'> & { retryAfter?: number } = {}) =>
  (ca: AcmeServer): void => {
    const { retryAfter, ...rest } = more;
    ca.on(resource, {
      ...ALWAYS,
      problem: { type, ...rest },
      ...(retryAfter === undefined ? {} : { headers: { 'retry-after': String(retryAfter) } }),
    });
  };

const fault =
  (resource: Resource, of: Fault) =>
  (ca: AcmeServer): void =>
    void ca.on(resource, { ...ALWAYS, ...of });

const invalid =
  (failure: Problem) =>
  (ca: AcmeServer): void => {
    ca.options.validation = ({ identifier }) =>
      Promise.resolve(isSturdy(identifier.value) ? undefined : failure);
  };

/** A Let's Encrypt limit, by the page that its answer names. */
const limit = (name: string, text = 'too many certificates') =>
  problem('newOrder', 'rateLimited', {
    status: 429,
    retryAfter: 3600,
    detail: `${text}: see https://letsencrypt.org/docs/rate-limits/#${name}`,
  });

/** An authorization whose challenge was answered, and that is not decided yet. */
const validating = (json: JsonObject): JsonObject =>
  json['status'] !== 'valid'
    ? json
    : {
        ...json,
        status: 'pending',
        challenges: ((json['challenges'] ?? []) as JsonObject[]).map((challenge) => ({
          ...challenge,
          status: 'processing',
        })),
      };

const LATER = { headers: { 'retry-after': '5' } };

/** How the CA behaves, one at a time. */
export const MODES = {
  'is well': () => undefined,
  'answers 500': problem('*', 'serverInternal', { status: 500 }),
  'is overloaded': problem('*', 'serverInternal', { status: 503, retryAfter: 120 }),
  'is down': fault('*', { cut: 'before-headers' }),
  'answers new orders with a page': fault('newOrder', { html: true }),
  'cannot validate': invalid({ type: 'dns', detail: 'no address' }),
  'fails while validating': invalid({ type: 'serverInternal', detail: 'oops' }),
  'refuses CSRs': problem('finalize', 'badCSR'),
  'refuses CSRs for CAA': problem('finalize', 'caa', { status: 403 }),
  'refuses names': problem('newOrder', 'rejectedIdentifier'),
  'refuses new orders': problem('newOrder', 'malformed', { status: 409 }),
  'finds new orders malformed': problem('newOrder', 'malformed'),
  'lets no account order': problem('newOrder', 'unauthorized', { status: 403 }),
  'wants a person to act': problem('newOrder', 'userActionRequired', {
    status: 403,
    instance: 'https://ca.example/act',
  }),
  'does not offer the profile': problem('newOrder', 'invalidProfile'),
  'has paused names': problem('newOrder', 'rateLimited', {
    status: 429,
    detail:
      'Your account is temporarily prevented from requesting certificates for a.example. Please visit: https://ca.example/unpause?jwt=secret',
  }),
  'limits everything': problem('*', 'rateLimited', { status: 429, retryAfter: 3600 }),
  'limits new orders': problem('newOrder', 'rateLimited', { status: 429, retryAfter: 3600 }),
  'limits orders of the account': limit('new-orders-per-account'),
  'limits sets of names': limit('new-certificates-per-exact-set-of-identifiers'),
  'limits domain one.example': limit(
    'new-certificates-per-registered-domain',
    'too many certificates (50) already issued for "one.example"',
  ),
  'limits failures of a.one.example': limit(
    'authorization-failures-per-identifier-per-account',
    'too many failed authorizations (5) for "a.one.example"',
  ),
  'limits registrations': problem('newAccount', 'rateLimited', {
    status: 429,
    retryAfter: 3600,
    detail:
      'too many: see https://letsencrypt.org/docs/rate-limits/#new-registrations-per-ip-address',
  }),
  'takes long to validate': fault('authorization', { rewrite: validating, ...LATER }),
  'takes long to issue': (ca) => {
    const rewrite = ({ certificate: _, ...json }: JsonObject): JsonObject =>
      json['status'] === 'valid' ? { ...json, status: 'processing' } : json;
    ca.on('order', { ...ALWAYS, rewrite, ...LATER });
    ca.on('finalize', { ...ALWAYS, rewrite, ...LATER });
  },
  'lags behind: orders stay pending': fault('order', {
    rewrite: (json) => (json['status'] === 'ready' ? { ...json, status: 'pending' } : json),
    ...LATER,
  }),
  'does not find authorizations': problem('authorization', 'malformed', { status: 404 }),
  'does not find orders': (ca) => {
    problem('order', 'malformed', { status: 404 })(ca);
    problem('finalize', 'malformed', { status: 404 })(ca);
  },
  'cannot hand out certificates': problem('certificate', 'serverInternal', { status: 500 }),
  'issues for another key': (ca) => void (ca.options.certificate = { wrongKey: true }),
  'issues for more names': (ca) =>
    void (ca.options.certificate = { extraNames: ['extra.example'] }),
  'fails while issuing': (ca) =>
    void (ca.options.issuanceProblem = { type: 'serverInternal', detail: 'oops' }),
  'refuses to issue': (ca) => void (ca.options.issuanceProblem = { type: 'badCSR', detail: 'no' }),
  'refuses reasons of revocation': problem('revokeCert', 'badRevocationReason'),
  'lets nobody revoke': problem('revokeCert', 'unauthorized', { status: 403 }),
  'has revoked already': problem('revokeCert', 'alreadyRevoked'),
  'fails to revoke': problem('revokeCert', 'serverInternal', { status: 500 }),
  'keeps proofs': (ca) => void (ca.options.authzReuse = 'valid'),
  'refuses key changes': problem('keyChange', 'malformed'),
  'fails at key changes': problem('keyChange', 'serverInternal', { status: 500 }),
} as const satisfies Record<string, (ca: AcmeServer) => void>;

export type Mode = keyof typeof MODES;
