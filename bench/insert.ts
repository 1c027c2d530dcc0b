import type { Cluster } from './cluster.ts';
import { shapedLikeCsr } from './csrs.ts';

/** How fast one INSERT of many CSRs is. */
export interface Insert {
  rows: number;
  rowsPerSecond: number;
}

/**
 * Inserts so many by one statement as acme_app, out of a table of the application's own, commit
 * included. No worker runs; the rows are like CSRs to SQL only.
 */
export async function measureInsert(cluster: Cluster, rows: number): Promise<Insert> {
  const database = await cluster.database();
  const { app } = database;
  try {
    await app`create temporary table batch (pem text not null)`;
    for (let left = rows; left > 0; left -= 10_000) {
      const pems = Array.from({ length: Math.min(left, 10_000) }, () => shapedLikeCsr());
      await app`insert into batch select unnest(${pems}::text[])`;
    }
    const startedAt = performance.now();
    await app`insert into acme.csr (pem) select pem from batch`;
    return { rows, rowsPerSecond: (rows / (performance.now() - startedAt)) * 1000 };
  } finally {
    await database.drop();
  }
}
