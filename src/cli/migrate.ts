import { printable } from '../acme/text.ts';
import { readDatabaseConfig } from './cli-config.ts';
import type { Command } from './command.ts';

/** `pgacme migrate`. */
export const migrateCommand: Command = {
  name: 'migrate',
  summary: 'set up a database for pgacme, or bring it to this version',
  help: `Makes the roles, schemas, tables and functions of pgacme, and the schema of its queue, in the
database that DATABASE_URL (or PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE) names. Twice is as good
as once, and two at once wait for each other. The login is a superuser, the owner of the database who
may create roles, or a member of acme_owner and acme_worker for whom a DBA has made roles and schemas:
what the DBA runs is in the error, and in the output of --dry-run.

PGACME_WORKER_SCHEMA names the schema of the queue (acme_worker); only the first migrate decides it.

Examples:
  DATABASE_URL=postgres://postgres@localhost/shop pgacme migrate
  PGHOST=/var/run/postgresql PGDATABASE=shop pgacme migrate
  pgacme migrate --dry-run > migrate.sql        psql -v ON_ERROR_STOP=1 -f migrate.sql does the same`,
  flags: { 'dry-run': 'print the SQL and change nothing' },
  role: 'acme_owner',
  async run({ flags, env, output }) {
    const { target, databaseUrl, workerSchema, environment } = readDatabaseConfig(env);
    const where = `Database ${target.database} at ${target.host}:${target.port}, as user ${target.user}`;
    if (flags.has('dry-run')) {
      const { dryRun } = await import('../db/migrate/dry-run.ts');
      const sql = await dryRun({ databaseUrl, workerSchema, environment });
      // All of stdout is SQL, so that it can be run as it is.
      output.line(`-- ${printable(where, 300)}`);
      output.line('-- Nothing was changed: this is what pgacme migrate would run.');
      output.line(sql === undefined ? '-- Nothing to do: it is up to date.' : `\n${sql}`);
      return 0;
    }
    const { migrate } = await import('../db/migrate/migrate.ts');
    output.line(where);
    const { applied } = await migrate({
      databaseUrl,
      workerSchema,
      environment,
      log: (line) => output.line(`  ${line}`),
    });
    output.line(applied.length === 0 ? 'Nothing to do: it is up to date.' : 'Done.');
    return 0;
  },
};
