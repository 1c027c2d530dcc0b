import { connect, type Sql } from '../../db/connect.ts';
import { databaseSentence } from '../database-error.ts';
import { type Check, type Finding, ok, problem } from './finding.ts';

/** Whether connections lead where workers need them to: LISTEN and the worker's lock live in a session. */
export const poolerCheck: Check = {
  name: 'Pooler',
  async run({ sql, config }) {
    if (sql === undefined) return [];
    const { databaseUrl, listenUrl } = config;
    const isPooled = await isTransactionPooler(databaseUrl);
    if (listenUrl === undefined) {
      if (!isPooled) return [ok('Connections are direct, or a pooler in session mode.')];
      return [
        problem(
          `${config.target.source} leads through a pooler in transaction mode, where LISTEN and the lock of a worker do not last. Give workers a direct URL besides, in PGACME_LISTEN_URL.`,
        ),
      ];
    }
    return [
      ok(isPooled ? 'A transaction pooler, with PGACME_LISTEN_URL beside it.' : 'Not pooled.'),
      ...(await listenFindings(sql, listenUrl)),
    ];
  },
};

async function listenFindings(sql: Sql, listenUrl: string): Promise<Finding[]> {
  const direct = connect({ databaseUrl: listenUrl, name: 'pgacme doctor', max: 1, isPooled: true });
  try {
    const [here, there] = [await identityOf(sql), await identityOf(direct)];
    if (here !== there) {
      return [
        problem(
          'PGACME_LISTEN_URL leads to another database than DATABASE_URL. Name the same one, without the pooler.',
        ),
      ];
    }
  } catch (error) {
    const said = databaseSentence(error, 'acme_worker', { DATABASE_URL: listenUrl });
    if (said === undefined) throw error;
    return [problem(`PGACME_LISTEN_URL: ${said.replaceAll('DATABASE_URL', 'PGACME_LISTEN_URL')}`)];
  } finally {
    await direct.end({ timeout: 2 });
  }
  if (!(await isTransactionPooler(listenUrl))) return [ok('PGACME_LISTEN_URL is direct.')];
  return [
    problem(
      'PGACME_LISTEN_URL leads through a pooler in transaction mode itself. Name host and port of PostgreSQL, not of the pooler.',
    ),
  ];
}

async function identityOf(sql: Sql): Promise<string | undefined> {
  const [row] = await sql<{ identity: string }[]>`
    select concat_ws('/', s.system_identifier, d.oid) as identity
      from pg_control_system() s, pg_database d
     where d.datname = current_database()`;
  return row?.identity;
}

/**
 * In transaction mode a connection has a backend of its own only as long as a transaction lasts. So
 * another one takes the backend that this one used last, and keeps it.
 */
async function isTransactionPooler(databaseUrl: string | undefined): Promise<boolean> {
  const options = { databaseUrl, name: 'pgacme doctor', max: 1, isPooled: true };
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
