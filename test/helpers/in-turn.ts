import type postgres from 'postgres';
import { until } from './until.ts';

/**
 * A first session does something; a second one comes to wait for it; the first one does more, and commits.
 * Returns what the second one got.
 */
export async function inTurn<T>(
  sql: postgres.Sql,
  first: (tx: postgres.TransactionSql) => Promise<unknown>,
  second: (sql: postgres.ReservedSql) => Promise<T>,
  then: (tx: postgres.TransactionSql) => Promise<unknown> = () => Promise.resolve(),
): Promise<T> {
  const other = await sql.reserve();
  const [{ pid }] = await other<[{ pid: number }]>`select pg_backend_pid() as pid`;
  try {
    const { waiting } = await sql.begin(async (tx) => {
      await first(tx);
      const waiting = second(other);
      // What it comes to is for whoever waits for it, below.
      waiting.catch(() => undefined);
      await until(
        async () => (await sql`select from pg_locks where pid = ${pid} and not granted`).length > 0,
        { what: 'the second session waits for the first' },
      );
      await then(tx);
      return { waiting };
    });
    return await waiting;
  } finally {
    other.release();
  }
}
