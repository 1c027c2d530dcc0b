import type { Sql } from './connect.ts';

/** Signs a worker in and returns its id. */
export async function workerStarted(
  sql: Sql,
  worker: { host: string; pid: number; version: string; concurrency: number },
): Promise<number> {
  const [row] = await sql<{ id: string }[]>`
    select acme_private.worker_started(
      ${worker.host}, ${worker.pid}, ${worker.version}, ${worker.concurrency}) as id`;
  return Number(row?.id);
}

/** A sign of life, or the good-bye. */
export async function workerSeen(sql: Sql, worker: number, stopped: boolean): Promise<void> {
  await sql`select acme_private.worker_seen(${worker}, ${stopped})`;
}
