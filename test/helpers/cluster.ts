import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll } from 'vitest';
import { startPostgres } from '../../src/local/postgres.ts';
import { testFolder } from './sweep.ts';

/** A PostgreSQL that belongs to one test file, where no role of pgacme exists yet. */
export interface Cluster {
  /** Superuser. */
  sql: postgres.Sql;
  /** URL of a new database; `owner`: a role of this cluster, else the superuser's; a name of its own unless given. */
  database(owner?: string, name?: string): Promise<string>;
  /** The URL of the same database for another login, made by `login`. */
  as(url: string, login: string): string;
  /** Makes a login with these attributes, such as `createrole`. */
  login(name: string, attributes?: string): Promise<string>;
  /** A pool at this URL, ended after the test file. */
  connect(url: string): postgres.Sql;
}

const ends: (() => Promise<void>)[] = [];

// Of the file: a hook that is added in a test is never run.
afterAll(async () => {
  await Promise.all(ends.map((end) => end()));
});

/** Starts one, of the same programs as the run's unless others are given; it ends after the test file. */
export async function ownCluster({
  bin = process.env['PGACME_TEST_PG_BIN'],
  settings = { fsync: 'off', full_page_writes: 'off' },
}: { bin?: string | undefined; settings?: Record<string, string> } = {}): Promise<Cluster> {
  const server = await startPostgres({
    dir: await testFolder('cluster'),
    persistent: false,
    settings,
    ...(bin === undefined || bin === '' ? {} : { postgresBin: bin }),
  });
  const pools: postgres.Sql[] = [];
  const connect = (url: string) => {
    const pool = postgres(url, { max: 2, onnotice: () => undefined });
    pools.push(pool);
    return pool;
  };
  ends.push(async () => {
    await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })));
    await server.stop();
  });
  const sql = connect(server.url);
  const passwords = new Map<string, string>();
  return {
    sql,
    connect,
    async database(owner, name = `d_${randomBytes(4).toString('hex')}`) {
      await sql`create database ${sql(name)} ${owner === undefined ? sql`` : sql`owner ${sql(owner)}`}`;
      const url = new URL(server.url);
      url.pathname = name;
      return url.href;
    },
    as(url, login) {
      const other = new URL(url);
      other.username = login;
      other.password = passwords.get(login) ?? '';
      return other.href;
    },
    async login(name, attributes = '') {
      const password = randomBytes(8).toString('hex');
      passwords.set(name, password);
      await sql`create role ${sql(name)} login password ${sql.unsafe(`'${password}'`)} ${sql.unsafe(attributes)}`;
      return name;
    },
  };
}
