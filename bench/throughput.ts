import type { Cluster, Database } from './cluster.ts';
import {
  type Counters,
  perCertificate,
  readCounters,
  resetStatements,
  type Statement,
  topStatements,
} from './counters.ts';
import { peakMemoryMb } from './cpu.ts';
import { makeCsrs } from './csrs.ts';
import { setStage } from './stage.ts';

/** What one run of pgacme did. */
export interface Throughput {
  workers: number;
  inFlight: number;
  certificates: number;
  perSecond: number;
  /** For each certificate. */
  costs: Counters;
  /** Of the biggest worker process. */
  peakMemoryMb: number;
  statements: Statement[];
}

/** Issues so many certificates from one INSERT, by workers that are warm. */
export async function measureThroughput(
  cluster: Cluster,
  options: {
    workers: number;
    inFlight: number;
    certificates: number;
    database?: Database;
    profileDir?: string | undefined;
  },
): Promise<Throughput> {
  const { workers, inFlight, certificates } = options;
  const csrs = await makeCsrs(certificates);
  const stage = await setStage(cluster, options);
  try {
    const { pids } = stage.workers;
    await resetStatements(stage.database.sql);
    const before = await readCounters(stage, pids, stage.heard.notifies);
    const startedAt = performance.now();
    await stage.issue(csrs);
    const seconds = (performance.now() - startedAt) / 1000;
    const after = await readCounters(stage, pids, stage.heard.notifies);
    return {
      workers,
      inFlight,
      certificates,
      perSecond: certificates / seconds,
      costs: perCertificate(before, after, certificates),
      peakMemoryMb: Math.max(...(await Promise.all(pids.map(peakMemoryMb)))),
      statements: await topStatements(stage.database.sql),
    };
  } finally {
    await stage.strike();
  }
}
