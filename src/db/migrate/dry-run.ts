import { connect } from '../steps/connect.ts';
import { primaryOf } from '../steps/hosts.ts';
import { SEARCH_PATH } from '../steps/settings.ts';
import { LOCK_TIMEOUT, type MigrateOptions } from './migrate.ts';
import { type Part, plan } from './plan.ts';
import {
  accessSql,
  bootstrapSql,
  MIGRATE_LOCK,
  planQueue,
  type QueuePlan,
  taskSql,
} from './queue.ts';
import { mayNot, preparation } from './roles.ts';
import { readStanding, type Standing } from './standing.ts';

/** What a migrate would run: SQL for psql, remarks as comments; undefined: there is nothing to run. */
export async function dryRun(options: MigrateOptions = {}): Promise<string | undefined> {
  const databaseUrl = await primaryOf(options.databaseUrl);
  const sql = connect({ databaseUrl, name: 'pgacme migrate', max: 1 });
  try {
    // PostgreSQL itself sees to it that nothing is changed.
    return await sql.begin('isolation level repeatable read read only', async (tx) => {
      const standing = await readStanding(tx, options);
      const before = preparation(standing);
      // What ran here is acme_owner's to read.
      if (standing.isInstalled && !standing.mayAct) throw mayNot(before);
      const parts = await plan(tx, standing, options.environment);
      const queue = await planQueue(tx, standing);
      if (before.length + parts.length + queue.migrations.length + queue.tasks.length === 0) {
        return undefined;
      }
      return [ownSql(standing, before, parts), queueSql(standing.workerSchema, queue)].join('\n');
    });
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** One transaction, as `migrate` makes it. */
function ownSql(
  { isInstalled }: Standing,
  before: readonly string[],
  parts: readonly Part[],
): string {
  if (before.length + parts.length === 0) return "-- All of pgacme's own files have run.\n";
  return [
    'begin;',
    `set local lock_timeout = '${LOCK_TIMEOUT}';`,
    'set local check_function_bodies = off;',
    `set local search_path = ${SEARCH_PATH};`,
    '',
    '-- Roles and schemas: the statements that a DBA runs for a login that may not.',
    ...(before.length === 0 ? ['-- All are there.'] : before),
    '',
    'set local role acme_owner;',
    ...(isInstalled ? ['-- No other migrate meanwhile.', MIGRATE_LOCK] : []),
    ...parts.map(({ name, log, sql }) => `\n-- ${name ?? log}\n${sql}`),
    '',
    'reset role;',
    'commit;',
    '',
  ].join('\n');
}

/** Each migration of graphile-worker is a transaction of its own, as graphile-worker makes it. */
function queueSql(schema: string, { migrations, tasks }: QueuePlan): string {
  if (migrations.length + tasks.length === 0) return '-- The queue is up to date.';
  return [
    `-- The queue: graphile-worker's own schema ${schema}. The next pgacme migrate has graphile-worker do`,
    '-- this by itself, in the same transactions, as a member of acme_owner; it needs no other right. So',
    '-- you may as well leave out everything from here on.',
    'set role acme_owner;',
    `set search_path = ${SEARCH_PATH};`,
    bootstrapSql(schema).trim(),
    ...migrations.map(
      ({ number, isBreaking, text }) => `
-- graphile-worker, migration ${String(number)}
begin;
insert into "${schema}".migrations (id, breaking) values (${String(number)}, ${String(isBreaking)});
${text.trim()}
select pg_notify('worker:migrate', '{"migrationNumber":${String(number)},"breaking":${String(isBreaking)}}');
commit;`,
    ),
    ...(tasks.length === 0
      ? []
      : ['', "-- The names of pgacme's tasks are made known beforehand."]),
    ...tasks.map((task) => taskSql(schema, task).trim()),
    '',
    '-- What workers may do with it.',
    accessSql(schema).trim(),
    'reset role;',
    'reset search_path;',
    '',
  ].join('\n');
}
