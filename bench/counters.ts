import type { Sql } from '#src/db/steps/connect';
import type { Cas } from './ca.ts';
import type { Cluster, Database } from './cluster.ts';
import { cpuMs } from './cpu.ts';

/** What is counted before and after a run; all of it only grows. */
export interface Counters {
  workerCpuMs: number;
  postgresCpuMs: number;
  caCpuMs: number;
  /** Statements that workers sent, BEGIN and COMMIT included: each is a round trip. */
  roundTrips: number;
  walBytes: number;
  /** Notifications that reach a listener: `acme` and the queue's `jobs:insert`. */
  notifies: number;
  acmeRequests: number;
}

/** One statement as pg_stat_statements counts it. */
export interface Statement {
  query: string;
  calls: number;
  /** Waiting included. */
  ms: number;
  /** The fastest call: near to what it costs while nothing is in its way. */
  leastMs: number;
}

/** Reads the counters of PostgreSQL, the workers with these pids, and the CAs. */
export async function readCounters(
  { cluster, database, cas }: { cluster: Cluster; database: Database; cas: Cas },
  pids: readonly number[],
  notifies: number,
): Promise<Counters> {
  const [row] = await database.sql<{ wal: string; calls: string }[]>`
    select pg_current_wal_insert_lsn() - '0/0' as wal,
           (select coalesce(sum(s.calls), 0)
              from pg_stat_statements(false) s
             where s.dbid = (select oid from pg_database where datname = current_database())
               and s.userid = 'bench_worker'::regrole and s.toplevel) as calls`;
  return {
    workerCpuMs: await cpuMs(pids),
    postgresCpuMs: await cluster.cpuMs(),
    caCpuMs: await cas.cpuMs(),
    roundTrips: Number(row?.calls),
    walBytes: Number(row?.wal),
    notifies,
    acmeRequests: cas.requests(),
  };
}

/** What was counted between two readings, for each certificate. */
export function perCertificate(before: Counters, after: Counters, certificates: number): Counters {
  const each = (name: keyof Counters) => (after[name] - before[name]) / certificates;
  return {
    workerCpuMs: each('workerCpuMs'),
    postgresCpuMs: each('postgresCpuMs'),
    caCpuMs: each('caCpuMs'),
    roundTrips: each('roundTrips'),
    walBytes: each('walBytes'),
    notifies: each('notifies'),
    acmeRequests: each('acmeRequests'),
  };
}

/** Forgets what was counted so far, for {@link topStatements} of what follows. */
export async function resetStatements(sql: Sql): Promise<void> {
  await sql`select pg_stat_statements_reset()`;
}

/** The statements of the workers, and inside of functions where these are counted, that cost most. */
export async function topStatements(sql: Sql, limit = 40): Promise<Statement[]> {
  const rows = await sql<{ query: string; calls: string; ms: number; least: number }[]>`
    select regexp_replace(s.query, '\\s+', ' ', 'g') as query, sum(s.calls) as calls,
           sum(s.total_exec_time + s.total_plan_time) as ms,
           min(s.min_exec_time) as least
      from pg_stat_statements s
     where s.dbid = (select oid from pg_database where datname = current_database())
       and (s.userid <> 'postgres'::regrole or not s.toplevel)
     group by 1
     order by 3 desc
     limit ${limit}`;
  return rows.map(({ query, calls, ms, least }) => ({
    query,
    calls: Number(calls),
    ms,
    leastMs: least,
  }));
}
