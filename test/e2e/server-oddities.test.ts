import { expect, test } from 'vitest';
import type { AcmeServer, AcmeServerOptions, Fault } from '../helpers/acme-server/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type Status } from '../helpers/world.ts';

/** What an odd server does, and what comes of it all the same. A new behaviour is a line. */
interface Row {
  name: string;
  options?: Partial<AcmeServerOptions>;
  faults?: (ca: AcmeServer) => void;
  /** The csr in the end (issued unless said), and how often the CA was asked for what. */
  outcome: {
    state?: string;
    reason?: RegExp;
    code?: string;
    newOrders?: number;
    issued?: number;
    /** Failed validations that count against the name. */
    failures?: number;
    /** How often its authorization was read. */
    looks?: number;
  };
}

type Json = Record<string, unknown>;
type Rewrite = (json: Json) => Json;

const without =
  (...members: string[]): Rewrite =>
  (json) =>
    Object.fromEntries(Object.entries(json).filter(([name]) => !members.includes(name)));
const having =
  (more: Json): Rewrite =>
  (json) => ({ ...json, ...more });
/** Every answer with an order but that to newOrder. */
const laterOrders = (rewrite: Rewrite) => (ca: AcmeServer) => {
  for (const resource of ['order', 'finalize'] as const) always(ca, resource, { rewrite });
};
const always = (ca: AcmeServer, resource: Parameters<AcmeServer['on']>[0], fault: Fault) =>
  ca.on(resource, { ...fault, times: Infinity });
const challenges =
  (edit: Rewrite): Rewrite =>
  (json) => ({
    ...json,
    challenges: (json['challenges'] as Json[]).map(edit),
  });
const ofDns = (edit: Rewrite) => challenges((one) => (one['type'] === 'http-01' ? one : edit(one)));
const inCapitals: Rewrite = (json) => {
  const { type, value } = json['identifier'] as { type: string; value: string };
  return { ...json, identifier: { type, value: value.toUpperCase() } };
};
const slow = { finalizeDelayMs: 100 };
const internal = { type: 'serverInternal', detail: 'The dog ate it.', status: 500 };
const problem = { type: 'dns', detail: 'No such name.' };

const rows: readonly Row[] = [
  // Members of an order that say nothing new.
  {
    name: 'later orders have null authorizations',
    options: slow,
    faults: laterOrders(having({ authorizations: null })),
    outcome: {},
  },
  {
    name: 'later orders have no identifiers, no authorizations and no finalize',
    options: slow,
    faults: laterOrders(without('identifiers', 'authorizations', 'finalize')),
    outcome: {},
  },
  {
    name: 'orders have odd members that nobody needs',
    options: slow,
    faults: (ca) => {
      const rewrite = having({ expires: 'soon', notBefore: 7, error: 'none', profile: null });
      for (const resource of ['newOrder', 'order', 'finalize'] as const) {
        always(ca, resource, { rewrite });
      }
    },
    outcome: {},
  },
  ...[null, '', 'not yet'].map((certificate) => ({
    name: `an order's certificate is ${JSON.stringify(certificate)} before it is valid`,
    options: slow,
    faults: (ca: AcmeServer) => {
      for (const resource of ['newOrder', 'order', 'finalize'] as const) {
        always(ca, resource, {
          rewrite: (json) => (json['status'] === 'valid' ? json : { ...json, certificate }),
        });
      }
    },
    outcome: {},
  })),
  {
    name: 'newOrder answers without identifiers',
    faults: (ca) => always(ca, 'newOrder', { rewrite: without('identifiers') }),
    outcome: {},
  },
  {
    name: 'newOrder answers without finalize',
    faults: (ca) => always(ca, 'newOrder', { rewrite: without('finalize') }),
    outcome: {},
  },
  {
    name: 'newOrder answers without authorizations, which the order has',
    faults: (ca) => always(ca, 'newOrder', { rewrite: without('authorizations') }),
    outcome: {},
  },
  {
    name: 'newOrder answers with a Location and no body',
    faults: (ca) => always(ca, 'newOrder', { phase: 'after', noBody: true }),
    outcome: {},
  },
  {
    name: 'newOrder answers with a Location and no status, and the order is away for a moment',
    faults: (ca) => {
      always(ca, 'newOrder', { rewrite: without('status') });
      ca.on('order', { problem: internal });
    },
    outcome: {},
  },
  ...[undefined, '', 'https://elsewhere.example.net/order/1'].map((location) => ({
    name: `newOrder answers with the Location ${JSON.stringify(location) ?? 'undefined'}`,
    faults: (ca: AcmeServer) => always(ca, 'newOrder', { headers: { location }, phase: 'after' }),
    outcome: { state: 'retrying', code: 'server_refused' },
  })),
  {
    name: 'a valid order has no certificate for a moment',
    options: slow,
    faults: (ca) =>
      void ca.on('order', {
        rewrite: without('certificate'),
        after: 1,
      }),
    outcome: {},
  },

  // An order that lags.
  {
    name: 'an order is pending for a while after its last authorization',
    options: { orderLagMs: 1500 },
    outcome: {},
  },
  {
    name: 'an order is pending for longer than a step polls',
    options: { orderLagMs: 4500 },
    outcome: {},
  },
  {
    name: 'an order that lags shows no authorizations',
    options: { orderLagMs: 1500 },
    faults: laterOrders(having({ authorizations: null })),
    outcome: {},
  },
  {
    name: 'an order is ready for a while after finalize was accepted',
    options: { finalizedLagMs: 1500 },
    outcome: {},
  },
  {
    name: 'an order is ready for longer than a step polls after finalize was accepted',
    options: { finalizedLagMs: 4500, finalizeDelayMs: 100 },
    outcome: {},
  },

  // URLs that a replica does not know yet.
  ...(['authorization', 'order', 'certificate', 'challenge'] as const).map((resource) => ({
    name: `a new ${resource} is not found for a moment`,
    options: { ...slow, unknownForMs: { [resource]: 2500 } },
    outcome: {},
  })),
  {
    name: 'an order that lags is not found either',
    options: { orderLagMs: 2000, unknownForMs: { order: 1000 } },
    outcome: {},
  },
  {
    name: '404 without a problem document for a moment',
    options: slow,
    faults: (ca) => {
      for (const resource of ['authorization', 'order', 'certificate'] as const) {
        ca.on(resource, { status: 404, html: true });
      }
    },
    outcome: {},
  },

  // Challenges.
  {
    name: 'challenges have no status',
    faults: (ca) =>
      always(ca, 'authorization', {
        rewrite: (json) =>
          json['status'] === 'pending' ? challenges(without('status'))(json) : json,
      }),
    outcome: {},
  },
  ...[undefined, null, '', 'no token!', '../../etc', 7].map((token) => ({
    name: `a challenge of another type has the token ${JSON.stringify(token) ?? 'undefined'}`,
    faults: (ca: AcmeServer) => always(ca, 'authorization', { rewrite: ofDns(having({ token })) }),
    outcome: {},
  })),
  {
    name: 'challenges of other types have no URL, an unknown status, no type',
    options: { offeredChallenges: ['http-01', 'dns-01', 'tls-alpn-01', 'dns-account-01'] },
    faults: (ca) =>
      always(ca, 'authorization', {
        rewrite: ofDns((one) => {
          if (one['type'] === 'dns-01') return { ...one, url: null };
          return one['type'] === 'tls-alpn-01' ? { ...one, status: 'asleep' } : { ...one, type: 7 };
        }),
      }),
    outcome: {},
  },
  ...[[], null, undefined, 'gone'].map((list) => ({
    name: `a valid authorization has the challenges ${JSON.stringify(list) ?? 'undefined'}`,
    faults: (ca: AcmeServer) =>
      always(ca, 'authorization', {
        rewrite: (json) => (json['status'] === 'valid' ? { ...json, challenges: list } : json),
      }),
    outcome: {},
  })),
  {
    name: 'a valid authorization has challenges without tokens',
    faults: (ca) =>
      always(ca, 'authorization', {
        rewrite: (json) => (json['status'] === 'valid' ? challenges(without('token'))(json) : json),
      }),
    outcome: {},
  },
  {
    name: "a challenge's answer has no body",
    faults: (ca) => always(ca, 'challenge', { phase: 'after', noBody: true }),
    outcome: {},
  },

  // Smallstep's library, and what the challenge says.
  {
    name: 'a failed challenge leaves its authorization pending',
    options: { validation: problem, invalidChallengeOnly: true },
    outcome: { state: 'retrying', reason: /No such name/, failures: 1 },
  },
  {
    name: 'a challenge stays pending with an error until it succeeds',
    options: { validation: 'valid', validationRetries: { times: 2, error: problem } },
    outcome: {},
  },
  {
    name: 'a challenge stays pending with an error',
    options: { validation: 'valid', validationRetries: { times: Infinity, error: problem } },
    outcome: { state: 'ordering', reason: /No such name/ },
  },

  {
    name: "the Retry-After of a challenge's answer counts",
    options: { validation: 'valid', validationDelayMs: 500, retryAfter: 2 },
    outcome: { looks: 2 },
  },
  {
    name: 'an order has more authorizations than names',
    faults: (ca) =>
      always(ca, 'newOrder', {
        rewrite: (json) => ({
          ...json,
          authorizations: Array.from({ length: 1000 }, (_, n) => ca.link('authorization', `${n}`)),
        }),
      }),
    outcome: { state: 'retrying', reason: /1000 authorizations for 1 name/ },
  },
  {
    name: 'an order names its authorization twice',
    faults: (ca) =>
      always(ca, 'newOrder', {
        rewrite: (json) => {
          const [one] = json['authorizations'] as string[];
          return { ...json, authorizations: [one, one] };
        },
      }),
    outcome: {},
  },
  {
    name: 'an authorization is for another name than was ordered',
    faults: (ca) =>
      always(ca, 'authorization', {
        rewrite: having({ identifier: { type: 'dns', value: 'other.example.org' } }),
      }),
    outcome: { state: 'retrying', reason: /another name/ },
  },
  {
    name: 'an authorization has its name in capitals',
    faults: (ca) => always(ca, 'authorization', { rewrite: inCapitals }),
    outcome: {},
  },

  // The CA's own trouble.
  {
    name: 'serverInternal inside an authorization is no failed validation',
    options: { validation: internal },
    outcome: { state: 'retrying', reason: /The dog ate it/, failures: 0 },
  },
  {
    name: 'serverInternal inside an order counts nowhere',
    options: { issuanceProblem: internal },
    outcome: { state: 'retrying', reason: /The dog ate it/, failures: 0 },
  },

  // Accounts and problems.
  {
    name: 'newAccount answers with a Location and no body',
    faults: (ca) => always(ca, 'newAccount', { phase: 'after', noBody: true }),
    outcome: {},
  },
  {
    name: 'newAccount answers without a status',
    faults: (ca) => always(ca, 'newAccount', { rewrite: () => ({ id: 7 }) }),
    outcome: {},
  },
  {
    name: 'a problem document is sent as application/json',
    faults: (ca) =>
      always(ca, 'newOrder', {
        problem: { type: 'rejectedIdentifier', detail: 'Not this one.', status: 400 },
        contentType: 'application/json; charset=utf-8',
      }),
    outcome: { state: 'failed', reason: /Not this one/ },
  },
];

for (const { name, options, faults, outcome } of rows) {
  test.concurrent(
    name,
    async ({ onTestFinished }) => {
      const { ca, ...world } = await faultyWorld(options, onTestFinished);
      faults?.(ca);
      await world.worker();
      const host = freshName();
      const id = await world.insert({ names: [host] });
      const {
        state = 'issued',
        reason,
        newOrders = 1,
        issued = state === 'issued' ? 1 : 0,
      } = outcome;
      const row = await settled(world, id, { state, reason });
      expect(row.state, String(row.reason)).toBe(state);
      if (reason !== undefined) expect(row.reason).toMatch(reason);
      if (outcome.code !== undefined) expect(row.reason_code).toBe(outcome.code);
      if (state !== 'issued' && state !== 'failed') {
        expect(row.next_attempt_at).toBeInstanceOf(Date);
      }
      expect(ca.count('newOrder')).toBe(newOrders);
      expect(ca.store.certificates.size).toBe(issued);
      // The tenant that proved a name owns it.
      if (state === 'issued') {
        expect(await world.sql`select name from acme.name_owner`).toEqual([{ name: host }]);
      }
      const [counted] = await world.sql<[{ failures: number }]>`
        select coalesce(sum(failures), 0)::int as failures from acme_private.identifier_failure`;
      expect(counted.failures).toBe(outcome.failures ?? 0);
      if (outcome.looks !== undefined) expect(ca.count('authorization')).toBe(outcome.looks);
      if (outcome.failures === 0) expect(row.attempts).toBe(0);
    },
    60_000,
  );
}

/** The csr once it is in this state for this reason. */
async function settled(
  world: { status: (id: string) => Promise<Status> },
  id: string,
  { state, reason }: { state: string; reason: RegExp | undefined },
): Promise<Status> {
  return until(
    async () => {
      const row = await world.status(id);
      const isThere = row.state === state && (reason?.test(row.reason ?? '') ?? true);
      if (isThere) return row;
      throw new Error(`csr ${id} is ${row.state}: ${row.reason_code} ${row.reason}`);
    },
    { what: `csr ${id} is ${state}`, timeoutMs: 30_000 },
  );
}
