import { printable } from '../acme/text.ts';
import type { Sql } from '../db/steps/connect.ts';
import { PgacmeError } from '../errors.ts';
import { version } from '../version.ts';
import { checkLine, readAttention } from './attention.ts';
import { readDatabaseConfig } from './cli-config.ts';
import { type Command, UsageError } from './command.ts';
import { databaseSentence } from './database-error.ts';
import { statusLines } from './status-lines.ts';
import { readStatus } from './status-query.ts';
import type { Target } from './target.ts';
import { usageLine } from './usage.ts';
import { watch } from './watch.ts';

const EVERY_MS = 2000;
const WAYS = ['check', 'json', 'watch'] as const;

/** `pgacme status`. */
export const statusCommand: Command = {
  name: 'status',
  summary: 'show what needs attention, and where csrs, accounts and workers stand',
  help: `Begins with what a person should act on (acme.attention), most urgent first. Then it counts the csrs by
state and lists those that wait, with the reason and the time of the next try, then the accounts and the
workers of the database that DATABASE_URL (or the PG* variables) names. It only reads; the login is a member
of acme_reader or acme_admin. The same is in acme.attention, acme.csr_status, acme.account_status and
acme.worker_status.

With --check it prints one line for cron, systemd or Nagios, and ends with 0 when nothing needs attention,
1 for a warning, 2 when something is critical, and 3 when it cannot tell: no connection, no rights, used
wrongly. With --json it prints one JSON object. With --watch it looks again every 2 seconds: on a terminal
in place, until q or Ctrl-C; into a pipe one block after the other.

Examples:
  DATABASE_URL=postgres://ops@db.internal/shop pgacme status
  DATABASE_URL=postgres://ops@db.internal/shop pgacme status --check
  DATABASE_URL=postgres://ops@db.internal/shop pgacme status --watch
  psql -c 'select acme.explain(7)'              more about one csr`,
  flags: {
    check: 'print one line, and end with 0 (well), 1 (warning), 2 (critical) or 3 (it cannot tell)',
    json: 'print one JSON object',
    watch: 'show it again every 2 seconds, until q or Ctrl-C',
  },
  role: 'acme_reader',
  async run({ flags, env, output }) {
    const ways = WAYS.filter((way) => flags.has(way));
    if (ways.length > 1) {
      throw new UsageError(
        `pgacme status takes one of --check, --json and --watch.`,
        usageLine(statusCommand),
      );
    }
    const { target, databaseUrl } = readDatabaseConfig(env);
    const { connectAnyhow } = await import('../db/steps/connect-anyhow.ts');
    const sql = await connectAnyhow({ databaseUrl, name: 'pgacme status', max: 1 });
    const read = async () => {
      const status = await readStatus(sql);
      const head = `pgacme ${version}, database ${target.database} at ${target.host}:${target.port}`;
      return [ways[0] === 'watch' ? `${head}, ${status.at} UTC` : head, ...statusLines(status)];
    };
    try {
      await mustBeReader(sql, target);
      switch (ways[0]) {
        case 'check': {
          const { line, code } = checkLine(await readAttention(sql, 1));
          output.line(line);
          return code;
        }
        case 'json': {
          const { host, port, database } = target;
          const status = await readStatus(sql);
          output.line(JSON.stringify({ version, host, port, database, ...status }, null, 2));
          break;
        }
        case 'watch': {
          const excuse = (error: unknown) => databaseSentence(error, 'acme_reader', env);
          await watch({ output, read, excuse, everyMs: EVERY_MS });
          break;
        }
        case undefined:
          for (const line of await read()) output.line(line);
      }
    } finally {
      await sql.end({ timeout: 5 });
    }
    return 0;
  },
  failed(args, sentence) {
    if (!args.includes('--check')) return undefined;
    return { line: `PGACME UNKNOWN - ${printable(sentence, 500).replaceAll('|', '/')}`, code: 3 };
  },
};

/**
 * An application's login sees its own requests only, and is not to be given every tenant's for this command.
 *
 * @throws PgacmeError ERR_RIGHTS
 */
async function mustBeReader(sql: Sql, { user, database }: Target): Promise<void> {
  const [role] = await sql<{ isReader: boolean; isApplication: boolean }[]>`
    select coalesce(bool_or(pg_has_role(current_user, r.oid, 'usage')) filter (where r.rolname in ('acme_reader', 'acme_admin')), false) as "isReader",
           coalesce(bool_or(pg_has_role(current_user, r.oid, 'usage')) filter (where r.rolname = 'acme_app'), false) as "isApplication"
      from pg_roles r
     where r.rolname in ('acme_reader', 'acme_admin', 'acme_app')`;
  if (role?.isReader === false && role.isApplication) {
    throw new PgacmeError(
      'ERR_RIGHTS',
      `User ${user} is the login of an application in database ${database}, and pgacme status shows every tenant's requests. Use the login of an operator; an application reads its own: select * from acme.attention; select * from acme.csr_status;`,
    );
  }
}
