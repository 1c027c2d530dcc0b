import { printable } from '../../acme/text.ts';
import { type Check, type Finding, ok, type Patient, problem, warning } from './finding.ts';

/** The server: its version, whether it takes writes, and settings that hurt. */
export const databaseCheck: Check = {
  name: 'PostgreSQL',
  async run({ sql, facts, config }) {
    if (sql === undefined) return [];
    const [is] = await sql<[{ number: number; version: string; isStandby: boolean }]>`
      select current_setting('server_version_num')::int as number,
             current_setting('server_version') as version,
             pg_is_in_recovery() as "isStandby"`;
    const { host, port, source } = config.target;
    return [
      version(is),
      is.isStandby
        ? problem(
            `${host}:${port} is a standby and takes no writes. Name the primary in ${source}, or all hosts: postgres://user@a:5432,b:5432/database.`,
          )
        : ok('It is a primary and takes writes.'),
      ...held(facts, config.environment),
      ...(await settings(sql)),
      ...(await connections(sql, facts)),
    ];
  },
};

/** Whether a worker with this environment would get work, or the database counts as a copy. */
function held(facts: Patient['facts'], environment: string | undefined): Finding[] {
  if (facts?.hold === undefined || facts.environment === undefined) return [];
  if (facts.hold !== null) return [problem(printable(facts.hold, 500))];
  if (facts.environment === (environment ?? null)) {
    return [ok('It is the database that was set up, no copy.')];
  }
  const is = environment === undefined ? 'not set' : printable(environment, 100);
  const was =
    facts.environment === null ? 'without one' : `with ${printable(facts.environment, 100)}`;
  return [
    problem(
      `PGACME_ENVIRONMENT is ${is} here, and the database was set up ${was}: a worker from here gets no work. Set it to that; or, if this is a copy to go on with, run pgacme adopt-database.`,
    ),
  ];
}

function version({ number, version: text }: { number: number; version: string }): Finding {
  const major = Math.floor(number / 10_000);
  if (major < 15) {
    return problem(
      `The server is PostgreSQL ${text}; pgacme needs 15 or newer. Upgrade it with pg_upgrade.`,
    );
  }
  if (major > 18) {
    return warning(
      `The server is PostgreSQL ${text}; this pgacme was tested with 15 to 18. Look for a newer pgacme.`,
    );
  }
  return ok(`PostgreSQL ${text}.`);
}

/** What a crash of the server would lose or break. */
async function settings(sql: NonNullable<Patient['sql']>): Promise<Finding[]> {
  const [is] = await sql<
    [{ fsync: string; pages: string; commit: string; standbys: string; replicas: number }]
  >`
    select current_setting('fsync') as fsync,
           current_setting('full_page_writes') as pages,
           current_setting('synchronous_commit') as commit,
           current_setting('synchronous_standby_names') as standbys,
           (select count(*)::int from pg_stat_replication where sync_state in ('sync', 'quorum')) as replicas`;
  const found: Finding[] = [];
  for (const [name, value] of [
    ['fsync', is.fsync],
    ['full_page_writes', is.pages],
  ] as const) {
    if (value === 'off') {
      found.push(
        problem(
          `${name} is off: a crash of the machine can destroy the database, account keys included. Set it: alter system set ${name} = on;`,
        ),
      );
    }
  }
  if (is.commit === 'off') {
    found.push(
      warning(
        'synchronous_commit is off: a crash of PostgreSQL loses the last commits, such as a new account key. Set it to on for the logins of workers.',
      ),
    );
  }
  if (is.standbys !== '' && is.commit !== 'off' && is.commit !== 'local' && is.replicas === 0) {
    found.push(
      warning(
        'synchronous_standby_names is set, and no synchronous standby is seen: if none is connected, every commit waits for one. Look at pg_stat_replication.',
      ),
    );
  }
  return found.length > 0 ? found : [ok('Its settings keep what is committed.')];
}

/** Whether all connections that the running workers may open at once fit. */
async function connections(
  sql: NonNullable<Patient['sql']>,
  facts: Patient['facts'],
): Promise<Finding[]> {
  if (facts === undefined) return [];
  const [is] = await sql<[{ room: number; others: number }]>`
    select current_setting('max_connections')::int
             - current_setting('superuser_reserved_connections')::int
             - coalesce(current_setting('reserved_connections', true)::int, 0) as room,
           (select count(*)::int
              from pg_stat_activity
             where backend_type = 'client backend'
               and application_name not like 'pgacme%') as others`;
  // docs/operations.md, Workers: steps, the queue, the responder, and the lock.
  const most = facts.workers
    .filter(({ state }) => state === 'running')
    .reduce((sum, { concurrency }) => sum + Math.min(concurrency, 4) + 1 + concurrency + 2 + 3, 0);
  if (most + is.others <= is.room) return [];
  return [
    warning(
      `max_connections leaves ${is.room} connections; ${is.others} are taken by others, and the running workers may open up to ${most}. Raise max_connections, or lower PGACME_CONCURRENCY.`,
    ),
  ];
}
