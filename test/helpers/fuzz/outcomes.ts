import type { Claim, Failure, Limit, OrderFacts } from '../../../src/db/steps/steps.ts';

/** Two small numbers that fast-check draws, from which everything about an action follows. */
export interface Draw {
  /** 0 to 99. */
  b: number;
  /** 0 to 7. */
  c: number;
}

/** The classes that each step can end with when it does not succeed (src/tasks/outcome.ts). */
const CLASSES: Record<string, Failure['class'][]> = {
  register: ['waiting', 'trouble', 'limited', 'refused', 'person'],
  create: ['trouble', 'limited', 'refused', 'account_lost', 'person', 'permanent', 'gone'],
  prove: [
    'waiting',
    'trouble',
    'limited',
    'validation',
    'refused',
    'gone',
    'account_lost',
    'person',
    'permanent',
  ],
  finalize: [
    'waiting',
    'trouble',
    'limited',
    'refused',
    'gone',
    'account_lost',
    'person',
    'permanent',
  ],
  download: ['trouble', 'limited', 'refused', 'gone', 'account_lost'],
  cancel: ['trouble', 'limited', 'gone', 'account_lost'],
  revoke: ['trouble', 'limited', 'refused', 'account_lost', 'reason_refused'],
};

const RETRY_AFTER = [undefined, 0, 1000, 3000, 60_000, 600_000, 86_400_000];

/** What a server may say that it limits; none: it does not say. */
const LIMITS: Limit[][] = [
  [],
  [{ scope: 'server' }],
  [{ scope: 'orders' }],
  [{ scope: 'domain', value: 'example.org' }],
  [{ scope: 'set' }],
  [{ scope: 'identifier', value: 'a.example.org' }],
];

/** A failure of this step, of one class after the other as `b` counts. */
export function failureOf(claim: Claim, { b, c }: Draw): Failure {
  const classes = CLASSES[claim.step ?? ''] ?? ['trouble'];
  const kind = classes[b % classes.length] ?? 'trouble';
  const states = ['invalid', 'expired', 'deactivated', 'revoked'];
  return {
    class: kind,
    code: kind,
    text: `It came to ${kind}.`,
    retry_after_ms: RETRY_AFTER[(b + c) % RETRY_AFTER.length],
    limits: LIMITS[c % LIMITS.length] ?? [],
    ...(claim.kind === 'authorization' && kind !== 'permanent'
      ? {
          authorization_state:
            kind === 'validation' ? 'invalid' : (states[c % states.length] ?? 'expired'),
          identifier: nameOf(claim.url),
        }
      : {}),
  };
}

/**
 * What a server says of a new order. It names the same authorization for the same name and account
 * again and again, or begins a new one: so orders come to share them.
 */
export function orderFacts(
  claim: Claim & { kind: 'order' },
  now: Date,
  { b, c }: Draw,
): OrderFacts {
  const url = `https://ca.example.org/order/${String(claim.id)}`;
  const status =
    b % 10 < 7 ? 'pending' : (['ready', 'processing', 'valid'][(b % 10) - 7] ?? 'ready');
  return {
    url,
    status,
    finalize_url: `${url}/finalize`,
    ...(status === 'valid' ? { certificate_url: `${url}/certificate` } : {}),
    expires_at: new Date(now.getTime() + (c === 0 ? 1 : 7 * 24) * 3_600_000).toISOString(),
    authorizations: claim.identifiers.map(
      (name) =>
        `https://ca.example.org/authorization/${String(claim.account_id)}/${String(c % 2)}/${name}`,
    ),
  };
}

/** What a server says of an authorization. */
export function authorizationFacts(url: string, now: Date) {
  return {
    identifier: nameOf(url),
    is_wildcard: false,
    expires_at: new Date(now.getTime() + 30 * 86_400_000).toISOString(),
  };
}

/** The challenges that it offers; the same ones as long as the authorization is the same. */
export function offered(url: string) {
  return ['http-01', 'dns-01'].map((type) => ({
    url: `${url}/${type}`,
    type,
    token: `token-${type}`,
    key_authorization: `token-${type}.key`,
  }));
}

/** A certificate for this order that is good for 90 days. */
export function certificateFacts(claim: Claim & { kind: 'order' }, now: Date) {
  return {
    url: claim.certificate_url,
    identifiers: claim.identifiers,
    leaf_pem: 'leaf',
    chain_pem: 'leaf and chain',
    subject: '',
    issuer: 'CN=Test CA',
    serial: String(claim.id),
    not_before: now.toISOString(),
    not_after: new Date(now.getTime() + 90 * 86_400_000).toISOString(),
    ends_with_issuer: false,
    spki_sha256: '00',
    fingerprint_sha256: '00',
  };
}

/** When the server would like a renewal: some before now, some behind. */
export function windowFrom(now: Date, b: number): { start: string; end: string } {
  const at = (hours: number) => new Date(now.getTime() + hours * 3_600_000).toISOString();
  return { start: at(b - 40), end: at(b) };
}

function nameOf(url: string): string {
  return url.split('/').at(-1) ?? '';
}
