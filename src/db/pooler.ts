import { connect, type Sql } from './connect.ts';

/**
 * Whether this URL leads through a pooler in transaction mode, where a connection has a backend of its
 * own only as long as a transaction lasts: another one then takes the backend that this one used last,
 * and keeps it.
 */
export async function isTransactionPooler(databaseUrl: string | undefined): Promise<boolean> {
  const options = { databaseUrl, name: 'pgacme', max: 1, isPooled: true, isLasting: true };
  const [one, other] = [connect(options), connect(options)];
  try {
    const before = await backendOf(one);
    // Both are connected before the transaction begins, so that it gets what is free then.
    await backendOf(other);
    return await other.begin(async (tx) => {
      const held = await backendOf(tx);
      return held === before || (await backendOf(one)) !== before;
    });
  } finally {
    await Promise.all([one.end({ timeout: 2 }), other.end({ timeout: 2 })]);
  }
}

async function backendOf(sql: Pick<Sql, 'unsafe'>): Promise<number | undefined> {
  const [row] = await sql.unsafe<{ pid: number }[]>('select pg_backend_pid() as pid');
  return row?.pid;
}
