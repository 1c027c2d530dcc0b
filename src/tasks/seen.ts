import type { Logger } from 'pino';
import type { AccountResource, AcmeProblem, Authorization, Order } from '../acme/index.ts';
import type { Failure, ServerFact, Steps } from '../db/steps/steps.ts';

const DAY_MS = 86_400_000;
/** The challenge types that are features (acme_private.feature); a server may offer others. */
const TYPES = ['http-01', 'dns-01', 'tls-alpn-01', 'dns-account-01', 'dns-persist-01'];

/**
 * What this worker has told the database of what answers showed about servers (acme.server_feature, seen).
 * It tells only what it has not told in the last day, so that certificates cost no statement more.
 */
export class Seen {
  readonly #steps: Pick<Steps, 'serverFactsStored'>;
  readonly #log: Logger;
  readonly #told = new Map<string, { support: string; value: string; until: number }>();

  constructor(steps: Pick<Steps, 'serverFactsStored'>, log: Logger) {
    this.#steps = steps;
    this.#log = log;
  }

  /** Tells what is new about a server. Never throws: no step fails for this. */
  async tell({ id }: { id: number }, facts: readonly ServerFact[]): Promise<void> {
    const news = facts.filter((fact) => this.#isNews(id, fact));
    if (news.length === 0) return;
    const until = performance.now() + DAY_MS;
    // Before it is stored, or steps side by side would tell the same.
    for (const { feature, support, value } of news) {
      this.#told.set(`${id} ${feature}`, { support, value: textOf(value), until });
    }
    try {
      await this.#steps.serverFactsStored(id, 'seen', news);
    } catch (error) {
      for (const { feature } of news) this.#told.delete(`${id} ${feature}`);
      this.#log.debug({ err: error }, 'what a server showed could not be stored; it is told again');
    }
  }

  /** A no after a yes is none: one account or name may be offered what another one is not. */
  #isNews(id: number, { feature, support, value }: ServerFact): boolean {
    const told = this.#told.get(`${id} ${feature}`);
    if (told === undefined || told.until < performance.now()) return true;
    return support === 'yes' && (told.support === 'no' || told.value !== textOf(value));
  }
}

const textOf = (value: unknown): string => JSON.stringify(value ?? null);

/** What a pending authorization shows: the challenges that the server offers (RFC 8555 §7.1.4). */
export function seenInAuthorization(authorization: Authorization): ServerFact[] {
  const { status, identifier, wildcard, challenges } = authorization;
  if (status !== 'pending') return [];
  const facts: ServerFact[] = [];
  const offered = new Set(challenges.map(({ type }) => type));
  const isWildcard = wildcard === true;
  // Wildcards and addresses have fewer ways of proof: there, what is missing tells nothing.
  const isPlainName = identifier.type === 'dns' && !isWildcard;
  for (const feature of TYPES) {
    if (offered.has(feature)) {
      facts.push({ feature, support: 'yes', source: 'offered by an authorization' });
    } else if (isPlainName) {
      facts.push({ feature, support: 'no', source: 'not offered by an authorization for a name' });
    }
  }
  if (isWildcard) facts.push(yes('wildcard', 'an authorization for a wildcard'));
  if (identifier.type === 'ip') {
    facts.push(yes('ip_identifiers', 'an authorization for an address'));
  }
  return facts;
}

/** Whether an answer that says "not yet" also says when to look again. */
export function seenWhileWaiting(
  feature: 'retry_after_authorization' | 'retry_after_order',
  retryAfterMs: number | undefined,
): ServerFact[] {
  return retryAfterMs === undefined
    ? [{ feature, support: 'no', source: 'an answer without Retry-After' }]
    : [yes(feature, 'an answer with Retry-After')];
}

/** What an account shows: contacts only where some were sent (RFC 8555 §7.1.2). */
export function seenInAccount(
  account: AccountResource,
  sentContact: readonly string[],
): ServerFact[] {
  const facts: ServerFact[] = [
    account.orders === undefined
      ? { feature: 'orders_list', support: 'no', source: 'an account without orders' }
      : yes('orders_list', 'an account with orders'),
  ];
  if (sentContact.length > 0) {
    facts.push(
      account.contact.length > 0
        ? yes('contact_kept', 'an account with the contacts that were sent')
        : {
            feature: 'contact_kept',
            support: 'no',
            source: 'an account without the contacts sent',
          },
    );
  }
  return facts;
}

/**
 * What an order shows (RFC 8555 §7.1.3; profile: draft-ietf-acme-profiles), that was said to replace a
 * certificate or not.
 */
export function seenInOrder(
  { status, profile, notBefore, notAfter, replaces }: Order,
  isReplacing: boolean,
): ServerFact[] {
  const facts: ServerFact[] = [];
  if (status === 'ready') {
    facts.push(yes('authorization_reuse', 'an order whose names were proved before'));
  }
  if (profile !== undefined) facts.push(yes('profiles', 'an order with a profile'));
  // The server gives back what it was asked for, and only where it minds it.
  if (notBefore !== undefined || notAfter !== undefined) {
    facts.push(yes('not_before_not_after', 'an order with the validity that was asked for'));
  }
  // RFC 9773 §5: a server that takes it gives it back.
  if (replaces !== undefined) {
    facts.push(yes('replaces', 'an order with the certificate that it replaces'));
  } else if (isReplacing) {
    facts.push({
      feature: 'replaces',
      support: 'no',
      source: 'an order without the certificate that it replaces',
    });
  }
  return facts;
}

/** What the outcome of a step that did not succeed shows. */
export function seenInFailure({ code, terms_url: value, problem }: Failure): ServerFact[] {
  if (code === 'validity_refused') {
    const source = 'an order that asked for a validity of its own was refused';
    return [{ feature: 'not_before_not_after', support: 'no', source }];
  }
  // RFC 8555 §7.3.3: the terms have changed. (The problem's instance is a page for this account alone.)
  const { instance } = (problem ?? {}) as { instance?: unknown };
  return value === undefined || value === instance
    ? []
    : [{ ...yes('terms_of_service', 'an answer that asks to agree to terms'), value }];
}

/** What a refused `replaces` shows (RFC 9773 §5): only who minds it knows what was replaced before. */
export function seenOfRefusedReplaces(refusal: AcmeProblem): ServerFact[] {
  return refusal.is('alreadyReplaced')
    ? [yes('replaces', 'a refusal to replace a certificate twice')]
    : [];
}

/**
 * What a revocation shows (RFC 8555 §7.6). That the account which ordered may not revoke tells more about
 * the account than about the server; that another one may not, although it proved the names, is a no.
 */
export function seenOfRevocation(isDone: boolean, isOwn: boolean): ServerFact[] {
  if (isOwn) return isDone ? [yes('revocation_by_account', 'a certificate that was revoked')] : [];
  const feature = 'revocation_by_other_account';
  return isDone
    ? [yes(feature, 'a certificate that an account revoked which had not ordered it')]
    : [{ feature, support: 'no', source: 'refused to an account that had proved all names' }];
}

/** What a download shows (RFC 8555 §7.4.2). */
export function seenInDownload(alternates: readonly string[]): ServerFact[] {
  return [
    alternates.length > 0
      ? yes('alternate_chains', 'a certificate with alternate chains')
      : {
          feature: 'alternate_chains',
          support: 'no',
          source: 'a certificate without alternate chains',
        },
  ];
}

/** A feature that an answer showed. */
export function yes(feature: string, source: string): ServerFact {
  return { feature, support: 'yes', source };
}
