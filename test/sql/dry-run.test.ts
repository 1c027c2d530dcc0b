import type postgres from 'postgres';
import { beforeAll, expect, test } from 'vitest';
import { dryRun } from '../../src/db/migrate/dry-run.ts';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { roles } from '../../src/db/migrate/roles.ts';
import { makeLogger } from '../../src/log.ts';
import { startWorker } from '../../src/worker.ts';
import { type Cluster, ownCluster } from '../helpers/cluster.ts';
import { dumpContract } from '../helpers/contract.ts';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { psql } from '../helpers/psql.ts';
import { pgacmeRefusal } from '../helpers/refusal.ts';
import { set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

const KEY = Buffer.alloc(32, 7).toString('base64');
let cluster: Cluster;

beforeAll(async () => {
  cluster = await ownCluster();
});

test('on an empty database: it changes nothing, and psql then does what migrate would', async () => {
  const dba = await cluster.login('dba');
  const superUrl = await cluster.database();
  const sql = cluster.connect(superUrl);
  const url = cluster.as(superUrl, dba);
  const before = await everything(sql);
  const script = (await dryRun({ databaseUrl: url, environment: "o'clock" })) ?? '';
  expect(await everything(sql)).toEqual(before);

  const { code, stderr } = await psql(superUrl, script, { args: ['-q'] });
  expect({ code, stderr: stderr.replaceAll(/^.*NOTICE: .*$\n?/gm, '') }).toEqual({
    code: 0,
    stderr: '',
  });
  const after = await everything(sql);
  // This login may make neither roles nor schemas, and finds all of them there.
  expect((await migrate({ databaseUrl: url })).applied).toEqual([]);
  expect(await everything(sql)).toEqual(after);
  expect(await dryRun({ databaseUrl: url })).toBeUndefined();
  expect(await sql`select environment, worker_schema from acme_private.installation`).toEqual([
    { environment: "o'clock", worker_schema: 'acme_worker' },
  ]);

  const other = await cluster.database();
  await migrate({ databaseUrl: other });
  expect(await dumpContract(sql)).toBe(await dumpContract(cluster.connect(other)));
  expect(await queueOf(sql)).toEqual(await queueOf(cluster.connect(other)));
  const login = await cluster.login('hand', 'in role acme_worker');
  await expectWorks(cluster.as(superUrl, login), sql, "o'clock");
});

test('a DBA may leave the queue to the next migrate, which then installs nothing but the queue', async () => {
  const dba = await cluster.login('dba2');
  const superUrl = await cluster.database();
  const sql = cluster.connect(superUrl);
  const url = cluster.as(superUrl, dba);
  const script = (await dryRun({ databaseUrl: url, workerSchema: 'my_queue' })) ?? '';
  const own = script.slice(0, script.indexOf('-- The queue:'));
  expect((await psql(superUrl, own, { args: ['-q'] })).code).toBe(0);
  const rest = (await dryRun({ databaseUrl: url })) ?? '';
  expect(rest).toContain("-- All of pgacme's own files have run.");
  expect(rest).not.toContain('create role');
  expect((await migrate({ databaseUrl: url })).applied).toEqual([]);
  expect(await dryRun({ databaseUrl: url })).toBeUndefined();
  await expectWorks(cluster.as(superUrl, await cluster.login('hand2', 'in role acme_worker')), sql);
});

test('only what is pending is printed, and only to whom it may be shown', async () => {
  const url = await cluster.database();
  await migrate({ databaseUrl: url });
  const sql = cluster.connect(url);
  await set(sql, 'migration', { name: 'api' }, { sha256: 'of an earlier version' });
  const before = await everything(sql);
  const script = (await dryRun({ databaseUrl: url })) ?? '';
  expect(await everything(sql)).toEqual(before);
  expect(script).toContain('\n-- api\n');
  expect(script).not.toMatch(/^create (role|schema|table) /m);
  expect(script).toContain('-- The queue is up to date.');
  expect((await psql(url, script, { args: ['-q'] })).code).toBe(0);
  expect(await dryRun({ databaseUrl: url })).toBeUndefined();

  const stranger = cluster.as(url, await cluster.login('stranger'));
  expect(await pgacmeRefusal(dryRun({ databaseUrl: stranger }))).toMatchObject({
    code: 'ERR_ROLES',
    message: expect.stringContaining('grant acme_owner to stranger') as string,
  });
});

/** What a migrate could have changed: roles, rights, objects, and what ran. */
async function everything(sql: postgres.Sql): Promise<unknown> {
  const [{ isThere } = { isThere: false }] = await sql<{ isThere: boolean }[]>`
    select to_regclass('acme_private.migration') is not null as "isThere"`;
  return {
    roles: await sql`select rolname from pg_roles where rolname in ${sql(roles)} order by 1`,
    members: await sql`select roleid, member from pg_auth_members order by 1, 2`,
    database: await sql`select datacl::text from pg_database where datname = current_database()`,
    schemas:
      await sql`select nspname, nspowner, nspacl::text from pg_namespace where nspname !~ '^pg_' order by 1`,
    relations:
      await sql`select relname, relnamespace, relacl::text from pg_class where oid >= 16384 order by oid`,
    functions:
      await sql`select oid::regprocedure::text, xmin::text from pg_proc where oid >= 16384 order by oid`,
    ran: isThere ? await sql`select *, xmin::text from acme_private.migration order by name` : [],
  };
}

async function queueOf(sql: postgres.Sql): Promise<unknown> {
  return {
    migrations: await sql`select id, breaking from acme_worker.migrations order by id`,
    tasks: await sql`select identifier from acme_worker._private_tasks order by id`,
    jobs: await sql`select task_identifier from acme_worker.jobs`,
    relations: await sql`
      select relname, relkind, relowner::regrole::text
        from pg_class
       where relnamespace = 'acme_worker'::regnamespace
       order by 1`,
    functions: await sql`
      select p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid))
        from pg_proc p
       where pronamespace = 'acme_worker'::regnamespace
       order by 1`,
  };
}

/** A worker judges a CSR that nobody could order, as a member of acme_worker only. */
async function expectWorks(url: string, sql: postgres.Sql, environment?: string): Promise<void> {
  const worker = await startWorker({
    databaseUrl: url,
    secretKey: KEY,
    environment,
    log: makeLogger('silent'),
  });
  try {
    await sql`insert into acme.server (name, directory_url) values ('nowhere', 'https://127.0.0.1:1/dir')`;
    await sql`insert into acme.account (name, server) values ('main', 'nowhere')`;
    await sql`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
    await until(
      async () =>
        (await sql`select from acme.csr_status where state = 'rejected'`).length > 0 || undefined,
      { what: 'the CSR is rejected' },
    );
  } finally {
    await worker.stop();
  }
}
