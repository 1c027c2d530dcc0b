import { readCliConfig } from './cli-config.ts';
import type { Command } from './command.ts';

/** `pgacme migrate`. */
export const migrateCommand: Command = {
  name: 'migrate',
  summary: 'set up a database for pgacme, or bring it to this version',
  help: `Makes the roles, schemas, tables and functions of pgacme, and the schema of its queue, in the
database that DATABASE_URL (or PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE) names. Twice is as good
as once, and two at once wait for each other. The login is a superuser, the owner of the database who
may create roles, or a member of acme_owner.

PGACME_WORKER_SCHEMA names the schema of the queue (acme_worker); only the first migrate decides it.

Examples:
  DATABASE_URL=postgres://postgres@localhost/shop pgacme migrate
  PGHOST=/var/run/postgresql PGDATABASE=shop pgacme migrate`,
  flags: {},
  role: 'acme_owner',
  async run({ env, output }) {
    const { target, databaseUrl, workerSchema, environment } = readCliConfig(env);
    const { migrate } = await import('../db/migrate.ts');
    output.line(
      `Database ${target.database} at ${target.host}:${target.port}, as user ${target.user}`,
    );
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
