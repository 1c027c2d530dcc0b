import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from '#src/db/steps/connect';
import type { Cluster } from './cluster.ts';
import { makeCsrs } from './csrs.ts';
import { setStage } from './stage.ts';

/** How long one certificate takes while nothing else happens. */
export interface Latency {
  certificates: number;
  /** From the end of the INSERT's commit until the certificate was read. */
  medianMs: number;
  p99Ms: number;
  /** The INSERT itself, its commit included. */
  insertMedianMs: number;
  /** Statements a second, and notifications, at rest. */
  rest: { seconds: number; queriesPerSecond: number };
}

/** Inserts one CSR at a time, waits for the notification, and reads the certificate. Then only looks on. */
export async function measureLatency(
  cluster: Cluster,
  { certificates, restSeconds }: { certificates: number; restSeconds: number },
): Promise<Latency> {
  const csrs = await makeCsrs(certificates);
  const stage = await setStage(cluster, { inFlight: 1, workers: 1 });
  const { app, sql } = stage.database;
  const [account = ''] = stage.accounts;
  const times: number[] = [];
  const inserts: number[] = [];
  try {
    for (const { pem } of csrs) {
      const issued = new Promise<void>((resolve) => stage.onIssued(resolve));
      const asked = performance.now();
      const [row] = await app<{ id: string }[]>`
        insert into acme.csr (pem, account) values (${pem}, ${account}) returning id`;
      const committed = performance.now();
      await issued;
      const [read] = await app`
        select chain_pem from acme.current_certificate where csr_id = ${row?.id ?? ''}`;
      if (read === undefined) throw new Error('It was said to be issued and is not to be seen.');
      times.push(performance.now() - committed);
      inserts.push(committed - asked);
    }
    return {
      certificates,
      medianMs: quantile(times, 0.5),
      p99Ms: quantile(times, 0.99),
      insertMedianMs: quantile(inserts, 0.5),
      rest: await rest(sql, restSeconds),
    };
  } finally {
    await stage.strike();
  }
}

async function rest(sql: Sql, seconds: number): Promise<Latency['rest']> {
  const calls = async () => {
    const [row] = await sql<{ calls: string }[]>`
      select sum(s.calls) as calls from pg_stat_statements(false) s
       where s.dbid = (select oid from pg_database where datname = current_database())
         and s.userid = 'bench_worker'::regrole and s.toplevel`;
    return Number(row?.calls);
  };
  const before = await calls();
  await delay(seconds * 1000);
  return { seconds, queriesPerSecond: ((await calls()) - before) / seconds };
}

/** The value that this share of them does not pass. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}
