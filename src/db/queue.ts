import { runMigrations } from 'graphile-worker';
import pg from 'pg';
import type postgres from 'postgres';
import { SEARCH_PATH } from './connect.ts';
import { type QueueMigration, readQueueMigrations } from './migration-files.ts';
import type { Standing } from './standing.ts';
import { taskIdentifiers } from './task-identifiers.ts';

/** What of the queue is missing: migrations of graphile-worker, and tasks that it does not know yet. */
export interface QueuePlan {
  isInstalled: boolean;
  migrations: QueueMigration[];
  tasks: string[];
}

/** Reads it without changing anything. */
export async function planQueue(
  tx: postgres.TransactionSql,
  { workerSchema: schema }: Standing,
): Promise<QueuePlan> {
  const migrations = await readQueueMigrations(schema);
  const [found] = await tx<[{ isInstalled: boolean }]>`
    select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = ${schema} and c.relname = '_private_tasks') as "isInstalled"`;
  if (!found.isInstalled) return { ...found, migrations, tasks: [...taskIdentifiers] };
  await tx`set local role acme_worker`;
  const [latest] = await tx<[{ id: number }]>`
    select coalesce(max(id), 0) as id
      from ${tx(schema)}.migrations`;
  const known = await tx<{ identifier: string }[]>`
    select identifier
      from ${tx(schema)}._private_tasks`;
  await tx`reset role`;
  return {
    ...found,
    migrations: migrations.filter(({ number }) => number > latest.id),
    tasks: taskIdentifiers.filter((task) => !known.some(({ identifier }) => identifier === task)),
  };
}

/**
 * graphile-worker makes its schema and this table itself, in one statement that needs CREATE on the
 * database even where both are there; it leaves them alone where it finds the table.
 */
export function bootstrapSql(schema: string): string {
  return `
create table if not exists "${schema}".migrations (
  id int primary key,
  ts timestamptz not null default now(),
  breaking boolean not null default false
);`;
}

/**
 * Makes a task known beforehand: a first add_job of an unknown one would lock it for as long as an
 * application's transaction lasts.
 */
export function taskSql(schema: string, task: string): string {
  const key = `pgacme:known:${task}`;
  return `
select from "${schema}".add_job('${task}', run_at := now() + interval '1 day', job_key := '${key}');
select from "${schema}".remove_job('${key}');`;
}

/** Installs graphile-worker's schema, which belongs to acme_worker, and as whom its migrations run. */
export async function installQueue(databaseUrl: string | undefined, schema: string): Promise<void> {
  const pool = new pg.Pool({
    ...(databaseUrl === undefined ? {} : { connectionString: databaseUrl }),
    max: 2,
    options: `-c role=acme_worker -c search_path=${SEARCH_PATH.replace(' ', '')}`,
    application_name: 'pgacme migrate',
  });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  try {
    await pool.query(bootstrapSql(schema));
    await runMigrations({ pgPool: pool, schema });
    const { rows: known } = await pool.query<{ identifier: string }>(
      `select identifier from "${schema}"._private_tasks`,
    );
    for (const task of taskIdentifiers) {
      if (!known.some(({ identifier }) => identifier === task)) {
        await pool.query(taskSql(schema, task));
      }
    }
  } finally {
    await pool.end();
  }
}
