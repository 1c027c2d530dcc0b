import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrate } from '#src/db/migrate/migrate';
import { connect, type Sql } from '#src/db/steps/connect';
import { startPostgres } from '#src/local/postgres';
import { familyCpuMs } from './cpu.ts';

/** A PostgreSQL as it comes (fsync and synchronous_commit on), and migrated databases in it. */
export interface Cluster {
  version: string;
  /** A clone of a migrated one. */
  database(): Promise<Database>;
  /** CPU time of all its processes so far. */
  cpuMs(): Promise<number>;
  stop(): Promise<void>;
}

/** One database with a login for each part. */
export interface Database {
  name: string;
  /** Superuser. */
  sql: Sql;
  /** A member of acme_app, on one connection. */
  app: Sql;
  workerUrl: string;
  drop(): Promise<void>;
}

const TEMPLATE = 'bench_template';

/** Starts it in a folder that goes with it. `inner`: also count statements inside of functions. */
export async function startCluster(options: {
  bin: string | undefined;
  inner: boolean;
}): Promise<Cluster> {
  const server = await startPostgres({
    dir: await mkdtemp(join(tmpdir(), 'pgacme-bench-postgres-')),
    persistent: false,
    settings: {
      max_connections: '200',
      shared_preload_libraries: 'pg_stat_statements',
      'pg_stat_statements.track': options.inner ? 'all' : 'top',
    },
    ...(options.bin === undefined ? {} : { postgresBin: options.bin }),
  });
  const urlOf = (name: string, login?: { role: string; password: string }) => {
    const url = new URL(server.url);
    url.pathname = name;
    if (login !== undefined) Object.assign(url, { username: login.role, password: login.password });
    return url.href;
  };
  const admin = connect({ databaseUrl: server.url, name: 'bench', max: 1 });
  await admin`create database ${admin(TEMPLATE)}`;
  await migrate({ databaseUrl: urlOf(TEMPLATE) });
  const template = connect({ databaseUrl: urlOf(TEMPLATE), name: 'bench', max: 1 });
  await template`create extension pg_stat_statements`;
  await template.end();
  const login = async (role: string, group: string) => {
    const password = randomBytes(8).toString('hex');
    await admin`create role ${admin(role)} login password ${admin.unsafe(`'${password}'`)} in role ${admin(group)}`;
    return { role, password };
  };
  const worker = await login('bench_worker', 'acme_worker');
  const app = await login('bench_app', 'acme_app');
  return {
    version: server.version,
    cpuMs: () => familyCpuMs(server.pid),
    async database() {
      const name = `bench_${randomBytes(4).toString('hex')}`;
      await admin`create database ${admin(name)} template ${admin(TEMPLATE)}`;
      const sql = connect({ databaseUrl: urlOf(name), name: 'bench', max: 2 });
      // Else it would be held as a copy of the template.
      await sql`update acme_private.installation set database_name = ${name}`;
      const asApp = connect({ databaseUrl: urlOf(name, app), name: 'bench', max: 1 });
      return {
        name,
        sql,
        app: asApp,
        workerUrl: urlOf(name, worker),
        async drop() {
          await Promise.all([sql.end({ timeout: 1 }), asApp.end({ timeout: 1 })]);
          await admin`drop database ${admin(name)} with (force)`;
        },
      };
    },
    async stop() {
      await admin.end();
      await server.stop();
    },
  };
}
