import type postgres from 'postgres';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { readMigrations } from '../../src/db/migrate/migration-files.ts';
import { roles } from '../../src/db/migrate/roles.ts';
import type { PgacmeError } from '../../src/errors.ts';
import { type Cluster, ownCluster } from '../helpers/cluster.ts';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { pgacmeRefusal } from '../helpers/refusal.ts';
import { roleMatrix } from '../helpers/role-matrix.ts';

let cluster: Cluster;
/** Superuser in the database of the test. */
let sql: postgres.Sql;
let logins = 0;

/** What a first migrate reports: every migration, then the api. */
const ALL = [...(await readMigrations()).map(({ name }) => name), 'api'];

beforeAll(async () => {
  cluster = await ownCluster();
});

// Each test begins without pgacme's roles, which belong to the whole cluster.
beforeEach(async () => {
  const databases = await cluster.sql<
    { datname: string }[]
  >`select datname from pg_database where datname like 'd\_%'`;
  for (const { datname } of databases) {
    await cluster.sql`drop database ${cluster.sql(datname)} with (force)`;
  }
  const members = await cluster.sql<{ rolname: string }[]>`
    select rolname from pg_roles where rolname like 'acme\_%' or rolname like 'dba%' order by rolname like 'dba%'`;
  for (const { rolname } of members) await cluster.sql`drop role ${cluster.sql(rolname)}`;
});

const newLogin = (attributes = '') => cluster.login(`dba${++logins}`, attributes);

/** Everything of the first path: twice, rights, an application's INSERT, nothing left lent. */
async function expectMigrated(url: string): Promise<void> {
  expect((await migrate({ databaseUrl: url })).applied).toEqual([]);
  const [left] = await sql<[{ creators: number; queue: string; owner: string }]>`
    select (select count(*)::int from unnest(${[...roles]}::text[]) r where has_database_privilege(r, current_database(), 'create')) as creators,
           (select nspowner::regrole::text from pg_namespace where nspname = 'acme_worker') as queue,
           (select nspowner::regrole::text from pg_namespace where nspname = 'acme') as owner`;
  expect(left).toEqual({ creators: 0, queue: 'acme_owner', owner: 'acme_owner' });
  const shop = await newLogin('in role acme_app');
  const app = cluster.connect(cluster.as(url, shop));
  await app`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
  expect(await sql`select task_identifier from acme_worker.jobs`).toEqual([
    { task_identifier: 'dispatch' },
  ]);
  const worker = cluster.connect(cluster.as(url, await newLogin('in role acme_worker')));
  expect(await worker`select acme_private.worker_schema() as schema`).toEqual([
    { schema: 'acme_worker' },
  ]);
}

test('a superuser makes the roles, and no other role gets their rights', async () => {
  const url = await cluster.database();
  sql = cluster.connect(url);
  await migrate({ databaseUrl: url });
  await expectMigrated(url);
  const able = await cluster.sql<{ rolname: string; rolcanlogin: boolean; rolsuper: boolean }[]>`
    select rolname from pg_roles
     where rolname like 'acme\_%' and (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication)`;
  expect(able).toEqual([]);
});

test('a login with CREATEROLE that owns the database needs no superuser', async () => {
  const dba = await newLogin('createrole');
  const url = cluster.as(await cluster.database(dba), dba);
  sql = cluster.connect(await superuserOf(url));
  expect((await migrate({ databaseUrl: url })).applied).toEqual(ALL);
  await expectMigrated(url);
});

test('two databases of one cluster may be migrated at once, by the same rights as one', async () => {
  const urls = await Promise.all([cluster.database(), cluster.database(), cluster.database()]);
  const done = await Promise.all(urls.map((databaseUrl) => migrate({ databaseUrl })));
  expect(done.map(({ applied }) => applied)).toEqual([ALL, ALL, ALL]);
  const matrices = await Promise.all(urls.map((url) => roleMatrix(cluster.connect(url))));
  expect(matrices[1]).toEqual(matrices[0]);
  expect(matrices[2]).toEqual(matrices[0]);
});

describe('a login without CREATEROLE', () => {
  test('is told what a DBA must run, and goes on after exactly that', async () => {
    const dba = await newLogin();
    const url = cluster.as(await cluster.database(dba), dba);
    sql = cluster.connect(await superuserOf(url));
    const error = await pgacmeRefusal(migrate({ databaseUrl: url }));
    expect(error.code).toBe('ERR_ROLES');
    expect(await sql`select to_regnamespace('acme') as acme`).toEqual([{ acme: null }]);
    await sql.unsafe(statementsOf(error));
    expect((await migrate({ databaseUrl: url })).applied).toEqual(ALL);
    await expectMigrated(url);
  });

  test('is told only what is missing', async () => {
    const dba = await newLogin();
    const url = cluster.as(await cluster.database(dba), dba);
    sql = cluster.connect(await superuserOf(url));
    for (const role of roles.slice(0, 3)) await sql`create role ${sql(role)}`;
    const error = await pgacmeRefusal(migrate({ databaseUrl: url }));
    expect(statementsOf(error)).not.toMatch(/create role acme_(owner|worker|app)\b/);
    await sql.unsafe(statementsOf(error));
    await migrate({ databaseUrl: url });
    await expectMigrated(url);
  });

  test('nor CREATE on the database needs neither: a DBA makes roles and schemas for it, once', async () => {
    const dba = await newLogin();
    const url = cluster.as(await cluster.database(), dba);
    sql = cluster.connect(await superuserOf(url));
    const statements = statementsOf(await pgacmeRefusal(migrate({ databaseUrl: url })));
    expect(statements).toContain('create schema acme authorization acme_owner;');
    expect(statements).toContain('create schema acme_worker authorization acme_owner;');
    expect(statements).not.toContain('on database');
    await sql.unsafe(statements);
    expect((await migrate({ databaseUrl: url })).applied).toEqual(ALL);
    await expectMigrated(url);
    expect(await creatorsOf(dba)).toEqual([]);
  });

  test('that inherits nothing acts as acme_owner all the same', async () => {
    const dba = await newLogin('noinherit');
    const url = cluster.as(await cluster.database(), dba);
    sql = cluster.connect(await superuserOf(url));
    await sql.unsafe(statementsOf(await pgacmeRefusal(migrate({ databaseUrl: url }))));
    await migrate({ databaseUrl: url });
    await expectMigrated(url);
  });

  test('that is no member migrates a database that someone else has set up, once it is made one', async () => {
    const dba = await newLogin();
    const url = cluster.as(await cluster.database(), dba);
    sql = cluster.connect(await superuserOf(url));
    await migrate({ databaseUrl: await superuserOf(url), workerSchema: 'my_queue' });
    const statements = statementsOf(await pgacmeRefusal(migrate({ databaseUrl: url })));
    expect(statements).toMatch(
      /^grant acme_owner to dba\d+[^;]*; grant acme_worker to dba\d+[^;]*;$/,
    );
    await sql.unsafe(statements);
    expect((await migrate({ databaseUrl: url })).applied).toEqual([]);
  });
});

test('a schema that belongs to someone else is not taken over', async () => {
  const url = await cluster.database(await newLogin());
  sql = cluster.connect(url);
  for (const [schema, owner] of [
    ['acme', 'acme_owner'],
    ['acme_worker', 'acme_owner'],
  ] as const) {
    await sql`create schema ${sql(schema)}`;
    const error = await pgacmeRefusal(migrate({ databaseUrl: url }));
    expect(error).toMatchObject({ code: 'ERR_ROLES' });
    expect(error.message).toContain(`alter schema ${schema} owner to ${owner};`);
    await sql`drop schema ${sql(schema)}`;
  }
  await migrate({ databaseUrl: url });
});

/** The SQL in the sentence of an error. */
function statementsOf(error: PgacmeError): string {
  const found = /Have a superuser run: (.*;) then migrate again\./.exec(error.message)?.[1];
  if (found === undefined) throw new Error(`No statements in: ${error.message}`);
  return found;
}

/** The databases in which this login may create schemas, its own and those of its groups' rights included. */
async function creatorsOf(login: string): Promise<string[]> {
  const rows = await cluster.sql<{ datname: string }[]>`
    select datname from pg_database where has_database_privilege(${login}, oid, 'create')`;
  return rows.map(({ datname }) => datname);
}

async function superuserOf(url: string): Promise<string> {
  const other = new URL(url);
  const [row] = await cluster.sql<[{ name: string }]>`select current_user as name`;
  other.username = row.name;
  other.password = String(cluster.sql.options.pass ?? '');
  return other.href;
}
