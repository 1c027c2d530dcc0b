import { version } from '../version.ts';
import { readDatabaseConfig } from './cli-config.ts';
import type { Command } from './command.ts';
import { databaseSentence } from './database-error.ts';
import { statusLines } from './status-lines.ts';
import { readStatus } from './status-query.ts';
import { watch } from './watch.ts';

const EVERY_MS = 2000;

/** `pgacme status`. */
export const statusCommand: Command = {
  name: 'status',
  summary: 'show where csrs, accounts and workers stand, and what is stuck',
  help: `Counts the csrs by state and lists what is stuck, and the csrs that wait, with the reason and the
time of the next try, then the accounts and the workers of the database that DATABASE_URL (or the PG*
variables) names. It only reads; the login is a member of acme_reader or acme_admin. The same is in
acme.csr_status, acme.stuck, acme.account_status and acme.worker_status.

With --watch it looks again every 2 seconds: on a terminal in place, until q or Ctrl-C; into a pipe one
block after the other.

Examples:
  DATABASE_URL=postgres://ops@db.internal/shop pgacme status
  DATABASE_URL=postgres://ops@db.internal/shop pgacme status --watch
  psql -c 'select acme.explain(7)'              more about one csr`,
  flags: { watch: 'show it again every 2 seconds, until q or Ctrl-C' },
  role: 'acme_reader',
  async run({ flags, env, output }) {
    const { target, databaseUrl } = readDatabaseConfig(env);
    const { connect } = await import('../db/connect.ts');
    const sql = connect({ databaseUrl, name: 'pgacme status', max: 1 });
    const isWatching = flags.has('watch');
    const read = async () => {
      const status = await readStatus(sql);
      const head = `pgacme ${version}, database ${target.database} at ${target.host}:${target.port}`;
      return [isWatching ? `${head}, ${status.at} UTC` : head, ...statusLines(status)];
    };
    try {
      if (isWatching) {
        const excuse = (error: unknown) => databaseSentence(error, 'acme_reader', env);
        await watch({ output, read, excuse, everyMs: EVERY_MS });
      } else {
        for (const line of await read()) output.line(line);
      }
    } finally {
      await sql.end({ timeout: 5 });
    }
    return 0;
  },
};
