import { type AcmeProblem, printable } from '../acme/index.ts';
import type { Claim, Failure, Limit } from '../db/steps/steps.ts';

/**
 * What a server limits (RFC 8555 §6.6), by the narrowest scope that its answer names: the identifiers of its
 * subproblems (§6.7.1), or the limit that the documentation's URL in Let's Encrypt's detail ends in. No limits:
 * it did not say which.
 */
export function limitsOf(
  error: AcmeProblem,
  claim: Claim,
): Pick<Failure, 'limits' | 'words' | 'shared_words'> {
  const { detail } = error;
  const own = namesOf(claim);
  const words = detail === '' ? undefined : printable(detail, 500);
  const shared = shareable(detail, []);
  const limit = (found: Omit<Limit, 'words'>, text: string | undefined): Limit => ({
    ...found,
    ...(text === undefined ? {} : { words: text }),
  });
  const named = error.subproblems.flatMap(({ type, identifier }) => {
    const value = identifier?.value.toLowerCase().replace(/^\*\./, '') ?? '';
    return type === 'rateLimited' && own.includes(value) ? [value] : [];
  });
  if (named.length > 0) {
    const limits = [...new Set(named)].map((value) =>
      limit({ scope: 'identifier', value, name: 'subproblem' }, words),
    );
    return { limits, words, shared_words: shared };
  }
  const found = limitOfUrl(detail, own);
  if (found === undefined) return { limits: [], words, shared_words: shared };
  const isShared = SHARED.has(found.scope);
  const text = isShared ? shareable(detail, found.value === undefined ? [] : [found.value]) : words;
  return { limits: [limit(found, text)], words, shared_words: shared };
}

/** Those who wait for one of these may not learn names and addresses of others. */
const SHARED: ReadonlySet<Limit['scope']> = new Set(['orders', 'domain', 'registrations']);

/**
 * Boulder's ratelimits and errors packages: `too many … for "name" in the last …, retry after …: see
 * https://letsencrypt.org/docs/rate-limits/#new-certificates-per-registered-domain`. The fragments said hostname or
 * domain for identifier before, and some limits had a page of their own.
 */
function limitOfUrl(detail: string, own: readonly string[]): Omit<Limit, 'words'> | undefined {
  const name =
    /https:\/\/[^\s"]+\/docs\/(?:rate-limits\/?#([a-z0-9-]+)|([a-z-]+-limit|too-many-registrations-[a-z-]+)\b)/i
      .exec(detail)
      ?.slice(1)
      .find((part) => part !== undefined)
      ?.toLowerCase();
  if (name === undefined) return undefined;
  const quoted = (/"([^"\s]+)"/.exec(detail)?.[1] ?? '').toLowerCase();
  if (/-per-exact-set-of-\w+$|^duplicate-certificate-limit$/.test(name)) {
    return { scope: 'set', name };
  }
  // By the address that they come from.
  if (/^new-registrations-per-|^too-many-registrations-/.test(name)) {
    return { scope: 'registrations', name };
  }
  if (/^new-orders-per-account$/.test(name)) return { scope: 'orders', name };
  if (
    /-per-registered-domain$/.test(name) &&
    own.some((each) => each === quoted || each.endsWith(`.${quoted}`))
  ) {
    return { scope: 'domain', value: quoted, name };
  }
  const isOfName = /authorization-failures-per-|^failed-validation-limit$/.test(name);
  return isOfName && own.includes(quoted)
    ? { scope: 'identifier', value: quoted, name }
    : undefined;
}

/** The names that this step is about, as an authorization has them. */
function namesOf(claim: Claim): string[] {
  const names =
    claim.kind === 'order'
      ? claim.identifiers
      : claim.kind === 'authorization' && claim.identifier !== null
        ? [claim.identifier]
        : [];
  return names.map((name) => name.toLowerCase().replace(/^\*\./, ''));
}

/**
 * What a server said, where all who share its limit may read it: not where it names a host or an address besides
 * these, or gives a URL that is for one reader.
 */
function shareable(detail: string, allowed: readonly string[]): string | undefined {
  if (detail === '' || /https?:\/\/[^\s"]*[?@]/.test(detail)) return undefined;
  const rest = allowed.reduce(
    (text, name) => text.replaceAll(`"${name}"`, ''),
    detail.toLowerCase().replace(/https?:\/\/[^\s"]+/g, ''),
  );
  const isNaming = /[a-z0-9_-]+\.[a-z][a-z0-9-]+|\d+\.\d+\.\d+\.\d+/.test(rest);
  return isNaming ? undefined : printable(detail, 500);
}

/**
 * A name that Let's Encrypt paused for an account, since its validation failed a thousand times: no time ends that,
 * but a person on its page. Whoever has the page's URL can do so, and the names in it; it is kept apart from what
 * applications see. undefined: it is no such answer.
 */
export function pauseOf(error: AcmeProblem, claim: Claim): Failure | undefined {
  const { type, detail, status, retryAfterMs } = error;
  if (retryAfterMs !== undefined || claim.kind !== 'order') return undefined;
  if (!/temporarily prevented from requesting certificates/i.test(detail)) return undefined;
  const page = /https:\/\/[^\s"]+/.exec(detail)?.[0];
  const words = printable(detail.replace(/(?:please visit:?\s*)?https?:\/\/[^\s"]+/gi, ''), 500);
  return {
    class: 'person',
    code: 'name_paused',
    text: `The server has paused a name of this csr for its account, since its validation failed again and again: ${words.replace(/[\s.]+$/, '')}. When the names can be validated, an administrator lifts the pause on the server's page (acme.paused_csr has its URL); then select acme.retry(${claim.csr_id}).`,
    problem: { type: `urn:ietf:params:acme:error:${type}`, status, detail: words },
    ...(page === undefined ? {} : { page_url: page }),
  };
}
