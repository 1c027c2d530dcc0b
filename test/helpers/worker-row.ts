import type postgres from 'postgres';

/** The row of a worker that is signed in, without a process and without its lock. */
export async function workerRow(sql: postgres.Sql, host = 'host'): Promise<string> {
  const [row] = await sql<[{ id: string }]>`
    insert into acme_private.worker (host, pid, version, concurrency)
    values (${host}, 1, '0', 1)
    returning id`;
  return row.id;
}
