import pg from 'pg';
import { primaryOf } from './hosts.ts';
import { endClient, limitQueries } from './limited-client.ts';

const ANSWER_MS = 10_000;

/**
 * Whether this URL leads through a pooler in transaction mode, where a connection has a backend of its
 * own only as long as a transaction lasts: another one then takes the backend that this one used last,
 * and keeps it. (By pg: a connection that breaks in a transaction of the other driver ends the process.)
 */
export async function isTransactionPooler(databaseUrl: string | undefined): Promise<boolean> {
  const url = await primaryOf(databaseUrl);
  const [one, other] = [clientOf(url), clientOf(url)];
  try {
    await one.connect();
    const before = await backendOf(one);
    // Both are connected before the transaction begins, so that it gets what is free then.
    await other.connect();
    await backendOf(other);
    await other.query('begin');
    const held = await backendOf(other);
    return held === before || (await backendOf(one)) !== before;
  } finally {
    await Promise.all([one, other].map(endClient));
  }
}

function clientOf(url: string | undefined): pg.Client {
  const client = new pg.Client({
    ...(url === undefined ? {} : { connectionString: url }),
    application_name: 'pgacme',
    connectionTimeoutMillis: ANSWER_MS,
  });
  limitQueries(client, ANSWER_MS);
  // What broke is told by the query under way or by the next one.
  client.on('error', () => undefined);
  return client;
}

async function backendOf(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]?.pid;
}
