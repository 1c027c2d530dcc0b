import { readQueueMigrations } from '../../db/migrate/migration-files.ts';
import type { Sql } from '../../db/steps/connect.ts';
import { taskIdentifiers } from '../../db/steps/task-identifiers.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';

/** The largest value of an int4 sequence. */
const INT4_END = 2 ** 31 - 1;

/** graphile-worker's own schema: whether it is there and complete, and how much is left of its sequence. */
export const queueCheck: Check = {
  name: 'Queue',
  async run({ sql, facts }) {
    if (sql === undefined || facts === undefined) return [];
    const [{ schema }] = await sql<[{ schema: string }]>`
      select acme_private.worker_schema() as schema`;
    const [there] = await sql<[{ isThere: boolean }]>`
      select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                      where n.nspname = ${schema} and c.relname = '_private_tasks') as "isThere"`;
    if (!there.isThere) {
      return [problem(`The queue's schema ${schema} is missing or empty. Run pgacme migrate.`)];
    }
    const found: Finding[] = [];
    const [latest] = await sql<[{ id: number }]>`
      select coalesce(max(id), 0) as id
        from ${sql(schema)}.migrations`;
    const wanted = Math.max(...(await readQueueMigrations(schema)).map(({ number }) => number));
    if (latest.id < wanted) {
      found.push(
        problem(`The queue's schema ${schema} is of an older version. Run pgacme migrate.`),
      );
    }
    const known = await sql<{ identifier: string }[]>`
      select identifier
        from ${sql(schema)}._private_tasks`;
    const unknown = taskIdentifiers.filter(
      (task) => !known.some(({ identifier }) => identifier === task),
    );
    if (unknown.length > 0) {
      found.push(
        problem(
          `The queue does not know the task ${unknown.join(', ')}: a first one can block inserts for a while. Run pgacme migrate.`,
        ),
      );
    }
    found.push(...(await sequence(sql, schema)));
    return found.length > 0 ? found : [ok(`${schema} is complete.`)];
  },
};

/**
 * Each wake-up uses up one value of the sequence of tasks, which is an int4 one, though it adds no task.
 * A higher number of a task means nothing, so that the sequence may go back to where tasks end.
 */
async function sequence(sql: Sql, schema: string): Promise<Finding[]> {
  const table = `"${schema}"._private_tasks`;
  const [is] = await sql<[{ used: string; next: number }]>`
    select coalesce(s.last_value, 0)::text as used,
           (select max(id) + 1 from ${sql(schema)}._private_tasks) as next
      from pg_sequences s
     where format('%I.%I', s.schemaname, s.sequencename)::regclass = pg_get_serial_sequence(${table}, 'id')::regclass`;
  const share = Number(is.used) / INT4_END;
  if (share < 0.5) return [];
  const text =
    `The queue has used ${Math.floor(share * 100)} % of the numbers of ${table}; at the end nothing can be enqueued. ` +
    `As a member of acme_owner run: alter table ${table} alter column id restart with ${is.next};`;
  return [share < 0.9 ? warning(text) : problem(text)];
}
