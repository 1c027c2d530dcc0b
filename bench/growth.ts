import type { Sql } from '#src/db/steps/connect';
import type { Cluster } from './cluster.ts';
import { fill } from './fill.ts';
import { quantile } from './latency.ts';
import { measureThroughput } from './throughput.ts';

/** What becomes of it with many rows there. */
export interface Growth {
  rows: number;
  fillSeconds: number;
  /** Certificates a second at 8 in flight. */
  emptyPerSecond: number;
  filledPerSecond: number;
  /** CPU of PostgreSQL for each certificate. */
  emptyPostgresCpuMs: number;
  filledPostgresCpuMs: number;
  /** csr_status of one id, as an application hears it that has asked before on this connection. */
  statusMedianMs: number;
  /** A whole turn of reconcile, which moves what is due. */
  reconcileMs: number;
  plans: Record<string, string>;
}

/** Measures at 8 in flight in an empty database and in a filled one, then looks at single statements. */
export async function measureGrowth(
  cluster: Cluster,
  { rows, certificates }: { rows: number; certificates: number },
): Promise<Growth> {
  const run = { workers: 1, inFlight: 8, certificates };
  const empty = await measureThroughput(cluster, run);
  const database = await cluster.database();
  try {
    const { sql, app } = database;
    const startedAt = performance.now();
    await fill(sql, 'bench_app', rows);
    const fillSeconds = (performance.now() - startedAt) / 1000;
    const ids = Array.from({ length: 200 }, (_, i) => 1 + ((i * 7919) % rows));
    const times = [];
    const one = await app.reserve();
    for (const id of ids) {
      const asked = performance.now();
      await one`select * from acme.csr_status where id = ${id}`;
      times.push(performance.now() - asked);
    }
    one.release();
    const plans = {
      'csr_status by id': await explain(
        app,
        `select * from acme.csr_status where id = ${rows / 2}`,
      ),
      'due renewals': await explain(sql, sweepOf('issued', 'renew_at')),
      'due retries': await explain(sql, sweepOf('retrying', 'next_attempt_at')),
    };
    const reconcileMs = await reconcile(sql);
    const filled = await measureThroughput(cluster, { ...run, database });
    return {
      rows,
      fillSeconds,
      emptyPerSecond: empty.perSecond,
      filledPerSecond: filled.perSecond,
      emptyPostgresCpuMs: empty.costs.postgresCpuMs,
      filledPostgresCpuMs: filled.costs.postgresCpuMs,
      statusMedianMs: quantile(times, 0.5),
      reconcileMs,
      plans,
    };
  } finally {
    await database.drop();
  }
}

/** The sweep's look for what is due, as sql/api/operation/reconcile.sql has it. */
function sweepOf(state: string, column: string): string {
  return `select s.csr_id from acme_private.csr_state s
           where s.state = '${state}' and s.${column} <= now()
           order by s.${column} limit 10000
             for update skip locked`;
}

async function explain(sql: Sql, statement: string): Promise<string> {
  const text = `explain (analyze, buffers) ${statement}`;
  // The first one reads what is not in memory yet, the second tells what it costs.
  await sql.unsafe(text);
  const rows = await sql.unsafe<{ 'QUERY PLAN': string }[]>(text);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

/**
 * Rolled back: the renewals that are due would be orders at a CA that does not exist. The second turn of a
 * connection, as a worker's is, nearly always: the first one also plans all of its statements.
 */
async function reconcile(sql: Sql): Promise<number> {
  const one = await sql.reserve();
  let ms = NaN;
  try {
    for (let turn = 1; turn <= 2; turn++) {
      await one`begin`;
      const asked = performance.now();
      await one`select acme_private.reconcile()`;
      ms = performance.now() - asked;
      await one`rollback`;
    }
  } finally {
    one.release();
  }
  await sql`update acme_private.csr_state set renew_at = now() + interval '1 day' where renew_at < now()`;
  return ms;
}
