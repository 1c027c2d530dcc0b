import type { Identity } from '../db/owner/copies.ts';
import { readDatabaseConfig } from './cli-config.ts';
import type { Command } from './command.ts';
import { restoredLines } from './restored-lines.ts';
import { table } from './table.ts';

/** `pgacme adopt-database`. */
export const adoptDatabaseCommand: Command = {
  name: 'adopt-database',
  summary:
    'let workers go on in a copy of a database: a clone, a restored backup, another environment',
  help: `A copy has the accounts and the orders of its original. Nothing goes to a CA from it until this
command makes the database that DATABASE_URL (or the PG* variables) names one of its own, for workers
with the same PGACME_ENVIRONMENT as this command. It says what differs; where nothing does, it does
nothing. The login is a member of acme_owner.

With --restored, for a database that was restored from a backup and takes the place of its original: before
its workers start. It does its work also where nothing differs (a restore in place, to a point in time). Ids
that the lost rows may have had are not given again, what is due is spread, and the accounts get no new
orders before their servers were asked what came since. It says what it cannot know.

Before you adopt a copy whose original goes on: docs/operations.md, "Backup and copies".

Examples:
  DATABASE_URL=postgres://postgres@localhost/shop_copy pgacme adopt-database
  DATABASE_URL=postgres://postgres@localhost/shop pgacme adopt-database --restored
  PGACME_ENVIRONMENT=staging DATABASE_URL=postgres://postgres@staging/shop pgacme adopt-database`,
  flags: { restored: 'it was restored from a backup, and takes the place of what was lost' },
  role: 'acme_owner',
  async run({ flags, env, output }) {
    const { target, databaseUrl, environment } = readDatabaseConfig(env);
    const { adoptDatabase, adoptRestored } = await import('../db/owner/copies.ts');
    output.line(
      `Database ${target.database} at ${target.host}:${target.port}, as user ${target.user}`,
    );
    const restored = flags.has('restored')
      ? await adoptRestored({ databaseUrl, environment })
      : undefined;
    const adopted =
      restored === undefined ? await adoptDatabase({ databaseUrl, environment }) : restored.adopted;
    if (adopted !== undefined) {
      for (const line of differences(adopted.was, adopted.is)) output.line(line);
    }
    if (restored !== undefined) {
      for (const line of restoredLines(restored)) output.line(line);
      return 0;
    }
    output.line(
      adopted === undefined
        ? 'Nothing to do: it is the database that was set up, and not held.'
        : 'Adopted: workers with this PGACME_ENVIRONMENT go on here, with what was under way.',
    );
    return 0;
  },
};

const NAMES = {
  system_identifier: 'PostgreSQL cluster',
  database_name: 'database',
  environment: 'PGACME_ENVIRONMENT',
} as const satisfies Record<keyof Identity, string>;

function differences(was: Identity, is: Identity): string[] {
  const keys = ['system_identifier', 'database_name', 'environment'] as const;
  const rows = keys
    .filter((key) => was[key] !== is[key])
    .map((key) => [NAMES[key], was[key] ?? '(none)', is[key] ?? '(none)']);
  return table([['', 'SET UP AS', 'IS NOW'], ...rows]);
}
