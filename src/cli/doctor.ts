import { version } from '../version.ts';
import type { Command } from './command.ts';
import type { Examined } from './doctor/examine.ts';
import type { Level } from './doctor/finding.ts';

const MARKS: Readonly<Record<Level, string>> = { ok: 'ok', warning: 'warning', problem: 'PROBLEM' };

/** `pgacme doctor`. */
export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'look whether this installation is well, and say what to do where it is not',
  help: `Looks, as a worker with this environment would meet it, at the database and its settings, poolers,
migrations, roles, the queue, the secret key and the keys it has to open, the ACME servers and their TLS,
clocks, accounts, workers and the address for http-01. It changes nothing and prints no secrets. The login
is that of a worker, a member of acme_worker.

Each line is ok, a warning or a PROBLEM, with what to do. It ends with 0 when there is no problem, else
with 1. Run it on a machine of a worker, with the worker's environment. With --json it prints one JSON object.

Examples:
  DATABASE_URL=postgres://issuer@db.internal/shop PGACME_SECRET_KEY_FILE=secret-key pgacme doctor`,
  flags: { json: 'print one JSON object' },
  role: 'acme_worker',
  async run({ flags, env, output }) {
    const { examine } = await import('./doctor/examine.ts');
    if (flags.has('json')) {
      const checks: Examined[] = [];
      for await (const check of examine(env)) checks.push(check);
      const isWell = checks.every(({ findings }) =>
        findings.every(({ level }) => level !== 'problem'),
      );
      output.line(JSON.stringify({ version, is_well: isWell, checks }, null, 2));
      return isWell ? 0 : 1;
    }
    const counts: Record<Level, number> = { ok: 0, warning: 0, problem: 0 };
    output.line(`pgacme ${version}`);
    for await (const { name, findings } of examine(env)) {
      output.line();
      output.line(name);
      for (const { level, text } of findings) {
        counts[level] += 1;
        output.line(`  ${MARKS[level].padEnd(7)}  ${text}`);
      }
    }
    output.line();
    output.line(
      counts.problem + counts.warning === 0
        ? 'All is well.'
        : `${counted(counts.problem, 'problem')}, ${counted(counts.warning, 'warning')}.`,
    );
    return counts.problem === 0 ? 0 : 1;
  },
};

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
