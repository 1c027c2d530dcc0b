import type postgres from 'postgres';
import { add, type Columns } from './rows.ts';

/** The row of a worker that is signed in, without a process and without its lock. */
export function workerRow(
  sql: postgres.ISql,
  host = 'host',
  columns: Columns<'worker'> = {},
): Promise<string> {
  return add(sql, 'worker', { host, pid: 1, version: '0', concurrency: 1, ...columns });
}
