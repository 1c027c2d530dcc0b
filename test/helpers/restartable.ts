import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import { type LocalPostgres, startPostgres } from '../../src/local/postgres.ts';
import type { FreshDatabase, Login } from './postgres.ts';
import { testFolder } from './sweep.ts';
import { until } from './until.ts';

/** A migrated database on a PostgreSQL of its own, which can be made to crash. */
export interface Restartable {
  database: FreshDatabase;
  /** Ends PostgreSQL without a checkpoint, as `pg_ctl stop -m immediate` does, and starts it again. */
  crash(): Promise<void>;
}

/** Starts one for this test file, of the same programs as the run's; `settings`: PostgreSQL's. */
export async function restartablePostgres(
  settings: Record<string, string> = {},
): Promise<Restartable> {
  const bin = process.env['PGACME_TEST_PG_BIN'];
  const options = {
    dir: await testFolder('restartable'),
    persistent: true,
    settings: { max_connections: '200', ...settings },
    ...(bin === undefined || bin === '' ? {} : { postgresBin: bin }),
  };
  let server: LocalPostgres = await startPostgres(options);
  const pools: postgres.Sql[] = [];
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })));
    await server.stop();
  });
  const { url } = server;
  await migrate({ databaseUrl: url });
  const connect = (to: string, max: number) => {
    const pool = postgres(to, { max, onnotice: () => undefined });
    pools.push(pool);
    return pool;
  };
  const sql = connect(url, 4);
  const logins = new Map<string, Promise<Login>>();
  const makeLogin = async (role: string, name: string): Promise<Login> => {
    const password = randomBytes(8).toString('hex');
    await sql`create role ${sql(name)} login password ${sql.unsafe(`'${password}'`)} in role ${sql(role)}`;
    const own = new URL(url);
    own.username = name;
    own.password = password;
    return { role: name, url: own.href };
  };
  const database: FreshDatabase = {
    name: 'postgres',
    url,
    sql,
    login(role, { login = role } = {}) {
      const name = `login_${login}`;
      const made = logins.get(name) ?? makeLogin(role, name);
      logins.set(name, made);
      return made;
    },
    async as(role, given = {}) {
      return connect((await database.login(role, given)).url, given.max ?? 2);
    },
    drop: () => Promise.resolve(),
  };
  return {
    database,
    async crash() {
      process.kill(server.pid, 'SIGQUIT');
      await until(() => server.exit() !== undefined, { what: 'PostgreSQL has ended' });
      await server.stop();
      server = await startPostgres({ ...options, port: server.port });
    },
  };
}
