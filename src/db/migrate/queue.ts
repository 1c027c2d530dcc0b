import { runMigrations } from 'graphile-worker';
import pg from 'pg';
import type postgres from 'postgres';
import { type AwaitedPoolConfig, SEARCH_PATH, SESSION, settingsSql } from '../steps/settings.ts';
import { taskIdentifiers } from '../steps/task-identifiers.ts';
import { type QueueMigration, readQueueMigrations } from './migration-files.ts';
import type { Standing } from './standing.ts';

/** Lets one migrate at a time go on; also in what a dry run prints. */
export const MIGRATE_LOCK = 'lock table acme_private.migration in share row exclusive mode;';

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
  await tx`set local role acme_owner`;
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

/**
 * What workers may do with the queue, which belongs to acme_owner: a worker that owned it could put code of its own
 * where migrate reads with a superuser's rights, or where triggers add jobs as acme_owner.
 */
export function accessSql(schema: string): string {
  return `
do $pgacme$
declare
  v_grant text;
begin
  -- Of two migrates one waits, and finds it done: both at once cannot write the same row of the catalogue.
  ${MIGRATE_LOCK}
  -- What is there already is not written again.
  for v_grant in
    select format('grant usage on schema %I to acme_worker', n.nspname)
      from pg_namespace n
     where n.nspname = '${schema}' and not has_schema_privilege('acme_worker', n.oid, 'usage')
    union all
    select format('grant %s on %s to acme_worker',
                  case when c.relkind = 'S' then 'usage, select'
                       when c.relname = 'migrations' then 'select'
                       else 'select, insert, update, delete' end,
                  case c.relkind when 'S' then 'sequence ' else '' end || c.oid::regclass)
      from pg_class c
     where c.relnamespace = to_regnamespace('"${schema}"')
       and case when c.relkind = 'S' then not has_sequence_privilege('acme_worker', c.oid, 'usage')
                when c.relkind in ('r', 'v') then not has_table_privilege('acme_worker', c.oid, 'select') end
    union all
    select format('grant execute on function %s to acme_worker', p.oid::regprocedure)
      from pg_proc p
     where p.pronamespace = to_regnamespace('"${schema}"') and not has_function_privilege('acme_worker', p.oid, 'execute')
    union all
    -- graphile-worker turns row-level security on, which lets nobody in but the owner.
    select format('create policy every_worker on %s to acme_worker using (true) with check (true)', c.oid::regclass)
      from pg_class c
     where c.relnamespace = to_regnamespace('"${schema}"') and c.relrowsecurity
       and not exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'every_worker')
  loop
    execute v_grant;
  end loop;
end
$pgacme$;`;
}

/** Installs graphile-worker's schema, which belongs to acme_owner, and as whom its migrations run. */
export async function installQueue(databaseUrl: string | undefined, schema: string): Promise<void> {
  const config: AwaitedPoolConfig = {
    ...(databaseUrl === undefined ? {} : { connectionString: databaseUrl }),
    max: 2,
    options: `-c role=acme_owner -c search_path=${SEARCH_PATH.replace(' ', '')}`,
    application_name: 'pgacme migrate',
    onConnect: async (client) => {
      await client.query(settingsSql(SESSION));
    },
  };
  const pool = new pg.Pool(config);
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
    await pool.query(accessSql(schema));
  } finally {
    await pool.end();
  }
}
