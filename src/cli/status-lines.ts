import { printable } from '../acme/text.ts';
import { attentionLines } from './attention.ts';
import { ACCOUNTS_SHOWN, type Status, WAITING_SHOWN } from './status-query.ts';
import { table } from './table.ts';

/** The tables, with blank lines between. */
export function statusLines(status: Status): string[] {
  const { attention, counts, waiting, accounts, workers, stoppedWorkers } = status;
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  const waits = waiting[0]?.total ?? 0;
  const known = accounts[0]?.total ?? 0;
  const lines = ['', ...attentionLines(attention), '', `CSRs: ${total}`];
  lines.push(
    ...table(
      counts.map(({ state, count }) => [state, String(count)]),
      [1],
    ),
  );
  if (counts.some(({ state }) => state === 'failed' || state === 'rejected')) {
    lines.push(
      "  why: select id, reason from acme.csr_status where state in ('failed', 'rejected')",
    );
  }
  if (waits > 0) {
    lines.push(
      '',
      `Waiting: ${waits}${waits > WAITING_SHOWN ? `, the first ${WAITING_SHOWN} of them` : ''}`,
    );
    const rows = waiting.map((row) => [
      row.id,
      printable(row.names, 60),
      row.state,
      row.nextTry ?? '-',
      printable(row.reason ?? '', 1000),
    ]);
    lines.push(...table([['CSR', 'NAMES', 'STATE', 'NEXT TRY (UTC)', 'REASON'], ...rows], [0]));
  }
  lines.push(
    '',
    `Accounts: ${known}${known > ACCOUNTS_SHOWN ? `, the first ${ACCOUNTS_SHOWN} of them` : ''}`,
  );
  if (accounts.length === 0) {
    lines.push('  none: csrs wait until one is inserted into acme.account');
  } else {
    const rows = accounts.map((row) => [
      row.isDefault ? `${row.name} (default)` : row.name,
      row.server,
      row.state,
      printable(row.reason ?? '', 1000),
    ]);
    lines.push(...table([['NAME', 'SERVER', 'STATE', 'REASON'], ...rows]));
  }
  lines.push(
    '',
    `Workers: ${workers.length}${stoppedWorkers > 0 ? ` (${stoppedWorkers} stopped within a day)` : ''}`,
  );
  if (workers.length === 0) {
    lines.push('  none: nothing is done until one runs (pgacme worker)');
  } else {
    const rows = workers.map((row) => [
      row.id,
      printable(row.host, 60),
      String(row.pid),
      printable(row.version, 30),
      row.state,
      `${row.seenSeconds} s ago`,
    ]);
    lines.push(...table([['ID', 'HOST', 'PID', 'VERSION', 'STATE', 'SEEN'], ...rows], [0, 2]));
  }
  return lines;
}
