import { connect, type Sql } from '../../db/steps/connect.ts';
import { isTransactionPooler } from '../../db/steps/pooler.ts';
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
