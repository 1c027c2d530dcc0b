import { printable } from '../acme/text.ts';
import { version } from '../version.ts';
import { readCliConfig } from './cli-config.ts';
import type { Command } from './command.ts';
import { readStatus, type Status, WAITING_SHOWN } from './status-query.ts';
import { table } from './table.ts';

/** `pgacme status`. */
export const statusCommand: Command = {
  name: 'status',
  summary: 'show where csrs, accounts and workers stand',
  help: `Counts the csrs by state and lists those that wait, with the reason and the time of the next try,
then the accounts and the workers of the database that DATABASE_URL (or the PG* variables) names. It
only reads; the login is a member of acme_reader or acme_admin. The same is in acme.csr_status,
acme.account_status and acme.worker_status.

Examples:
  DATABASE_URL=postgres://ops@db.internal/shop pgacme status
  psql -c 'select acme.explain(7)'              more about one csr`,
  flags: {},
  role: 'acme_reader',
  async run({ env, output }) {
    const { target, databaseUrl } = readCliConfig(env);
    const { connect } = await import('../db/connect.ts');
    const sql = connect({ databaseUrl, name: 'pgacme status', max: 1 });
    try {
      const status = await readStatus(sql);
      output.line(
        `pgacme ${version}, database ${target.database} at ${target.host}:${target.port}`,
      );
      for (const line of statusLines(status)) output.line(line);
    } finally {
      await sql.end({ timeout: 5 });
    }
    return 0;
  },
};

/** The tables, with blank lines between. */
function statusLines({ counts, waiting, accounts, workers, stoppedWorkers }: Status): string[] {
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  const waits = waiting[0]?.total ?? 0;
  const lines = ['', `CSRs: ${total}`];
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
      printable(row.reason ?? '', 200),
    ]);
    lines.push(...table([['CSR', 'NAMES', 'STATE', 'NEXT TRY (UTC)', 'REASON'], ...rows], [0]));
  }
  lines.push('', `Accounts: ${accounts.length}`);
  if (accounts.length === 0) {
    lines.push('  none: csrs wait until one is inserted into acme.account');
  } else {
    const rows = accounts.map((row) => [
      row.isDefault ? `${row.name} (default)` : row.name,
      row.server,
      row.state,
      printable(row.reason ?? '', 200),
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
