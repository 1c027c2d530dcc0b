import type { Restored } from '../db/owner/copies.ts';

/** What `pgacme adopt-database --restored` did, and what it cannot know, as far as that applies. */
export function restoredLines(restored: Restored): string[] {
  return [
    'Adopted as restored from a backup: workers with this PGACME_ENVIRONMENT go on here.',
    ...done(restored).map((line) => `  ${line}`),
    `What this database cannot know of the time after ${restored.backup_at ?? 'the backup'}, its last event:`,
    ...unknown(restored).map((line) => `  ${line}`),
  ];
}

function done(restored: Restored): string[] {
  const { ids_advanced_by: by, accounts, orders_open: open, orders_anew: anew } = restored;
  const { renewals_spread: renewals, retries_spread: retries } = restored;
  const lines = [`New rows get ids from ${by} further on; events belong to a new epoch.`];
  if (accounts > 0) {
    lines.push(
      `Accounts that a worker looks up at their servers before they order: ${accounts}${lists(restored)}`,
    );
  }
  if (open > 0) lines.push(`Orders under way that go on where the server has them: ${open}`);
  if (anew > 0) lines.push(`Orders that have no URL yet and are made anew: ${anew}`);
  if (renewals > 0) lines.push(`Renewals that were due, spread over up to 6 hours: ${renewals}`);
  if (retries > 0) lines.push(`Tries that were due, spread: ${retries}`);
  return lines;
}

function lists({ servers }: Restored): string {
  const having = servers.filter(({ has_list }) => has_list !== 'no').map(({ name }) => name);
  if (having.length === 0) return '';
  return `. Certificates issued since are taken from the list of orders, where there is one (${having.join(', ')}).`;
}

function unknown({ servers, csrs, certificates, accounts }: Restored): string[] {
  const lines = ['CSRs that were inserted since: insert them again.'];
  if (csrs > 0) {
    lines.push(
      `CSRs that were cancelled since: they are live again, ${csrs} in all. Look through acme.csr_status, and cancel them again.`,
    );
  }
  const without = servers.filter(({ has_list }) => has_list !== 'yes').map(({ name }) => name);
  if (without.length > 0 && csrs > 0) {
    lines.push(
      `Certificates issued since at ${without.join(', ')}, where no list of orders is known: they are ordered again when due, which counts against the server's limits.`,
    );
  }
  if (certificates > 0) {
    lines.push(
      'Revocations that were asked for since: those certificates are handed out as good. Revoke them again; a certificate that is revoked already counts as done.',
    );
  }
  if (accounts > 0) {
    lines.push(
      'Account keys that were rolled over since: such an account shows account_key_unknown in acme.account_status. Import a newer export of it, or insert another account, and call acme.replace_account.',
      'Contacts that were changed since: the servers are told those of the backup. Change them again.',
    );
  }
  return lines;
}
