import type { AcmeServer, Seen } from '../../helpers/acme-server/index.ts';

/** Which request this is, in a word; undefined: it is of no matter how often it is asked. */
const WORDS: Readonly<Record<string, string | undefined>> = {
  directory: undefined,
  newNonce: undefined,
  authorization: 'authz',
  certificate: 'download',
};

/**
 * What the CA was asked since the last call, from its own log: the sequence for each order (by its names), for each
 * authorization (by its name) and for each account (by its number), with the status where that is an error's.
 */
export function asked(ca: AcmeServer): () => string[] {
  const about = new Map<string, string>();
  const accounts = new Map<string, string>();
  let from = 0;
  return () => {
    remember(ca, about, accounts);
    const groups = new Map<string, string[]>();
    for (const seen of ca.seen.slice(from)) {
      if (
        seen.resource === undefined ||
        (seen.resource in WORDS && WORDS[seen.resource] === undefined)
      ) {
        continue;
      }
      const key = subject(seen, about, accounts);
      groups.set(key, [...(groups.get(key) ?? []), word(seen)]);
    }
    from = ca.seen.length;
    return [...groups].map(([key, list]) => `CA, ${key}: ${inShort(list)}`).sort();
  };
}

function word({ resource, status, payload }: Seen): string {
  const plain = WORDS[resource ?? ''] ?? resource ?? '';
  const isChange = typeof payload === 'object' && payload !== null && 'status' in payload;
  const verb = isChange ? `${plain} (deactivate)` : plain;
  if (status === undefined) return `${verb}, no answer`;
  return status >= 400 ? `${verb} ${String(status)}` : verb;
}

/** Repetitions are counted. */
function inShort(list: string[]): string {
  const runs: { text: string; count: number }[] = [];
  for (const text of list) {
    const last = runs.at(-1);
    if (last?.text === text) last.count++;
    else runs.push({ text, count: 1 });
  }
  return runs
    .map(({ text, count }) => (count === 1 ? text : `${text} ×${String(count)}`))
    .join(', ');
}

function subject(
  { resource, path, payload, kid }: Seen,
  about: Map<string, string>,
  accounts: Map<string, string>,
): string {
  if (resource === 'newOrder' || resource === 'newAuthz') {
    const { identifiers, identifier } = payload as {
      identifiers?: { value: string }[];
      identifier?: { value: string };
    };
    if (identifier !== undefined) return `authorization of ${identifier.value}`;
    return `order of ${namesOf(identifiers ?? [])}`;
  }
  const known = about.get(idOf(path));
  if (known !== undefined) return known;
  if (resource === 'revokeCert') return revoked(payload, about);
  return `account ${accounts.get(kid ?? '') ?? accounts.get(path) ?? 'new'}`;
}

function revoked(payload: unknown, about: Map<string, string>): string {
  const { certificate } = payload as { certificate?: string };
  return about.get(certificate ?? '') ?? 'certificate';
}

/** What the CA has, also for when it has forgotten. */
function remember(
  { store }: AcmeServer,
  about: Map<string, string>,
  accounts: Map<string, string>,
): void {
  for (const { url } of store.accounts.values()) {
    if (!accounts.has(url)) accounts.set(url, String(accounts.size + 1));
  }
  for (const { id, identifiers } of store.orders.values()) {
    about.set(id, `order of ${namesOf(identifiers)}`);
  }
  for (const { id, identifier, challenges } of store.authorizations.values()) {
    about.set(id, `authorization of ${identifier.value}`);
    for (const challenge of challenges) {
      about.set(challenge.id, `authorization of ${identifier.value}`);
    }
  }
  for (const { id, identifiers, renewalId, der } of store.certificates.values()) {
    about.set(id, `order of ${namesOf(identifiers)}`);
    about.set(renewalId, `order of ${namesOf(identifiers)}`);
    about.set(
      Buffer.from(der, 'base64').toString('base64url'),
      `certificate of ${namesOf(identifiers)}`,
    );
  }
}

const namesOf = (identifiers: readonly { value: string }[]): string =>
  identifiers
    .map(({ value }) => value)
    .sort()
    .join('+');

/** The last part of a path that names something. */
function idOf(path: string): string {
  const parts = path.split('/');
  return parts[2] ?? '';
}
