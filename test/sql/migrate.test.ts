import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { concepts, readMigrations } from '../../src/db/migrate/migration-files.ts';
import { taskIdentifiers } from '../../src/db/steps/task-identifiers.ts';
import { dumpContract } from '../helpers/contract.ts';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { pgacmeRefusal } from '../helpers/refusal.ts';
import { sqlFiles } from '../helpers/sql-files.ts';
import { add, frozenCopy, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

/** A database of this run without pgacme. */
async function emptyDatabase(): Promise<FreshDatabase> {
  const database = await freshDatabase();
  await database.sql`drop schema acme, acme_private, acme_worker cascade`;
  return database;
}

/** Everything that a first migrate applies, in order. */
async function everyFile(): Promise<string[]> {
  return [...(await readMigrations()).map(({ name }) => name), 'api'];
}

async function creators(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ role: string }[]>`
    select role
      from unnest(array['acme_owner', 'acme_worker', 'acme_app', 'acme_multi_tenant', 'acme_reader', 'acme_responder', 'acme_admin']) role
     where has_database_privilege(role, current_database(), 'create')`;
  return rows.map(({ role }) => role);
}

test('migrate twice is a no-op', async () => {
  const { sql, url } = await emptyDatabase();
  expect((await migrate({ databaseUrl: url })).applied).toEqual(await everyFile());
  const contract = await dumpContract(sql);
  const rows = await sql`select * from acme_private.migration order by name`;
  const lines: string[] = [];
  expect((await migrate({ databaseUrl: url, log: (line) => lines.push(line) })).applied).toEqual(
    [],
  );
  expect(lines).toEqual([]);
  expect(await dumpContract(sql)).toBe(contract);
  expect(await sql`select * from acme_private.migration order by name`).toEqual(rows);
});

test('functions, views and grants are made anew when their files have changed, and only they', async () => {
  const { sql, url } = await freshDatabase();
  const contract = await dumpContract(sql);
  await set(sql, 'migration', { name: 'api' }, { sha256: 'of an earlier version' });
  await sql`grant delete on acme.csr to acme_reader`;
  await sql`drop view acme.worker_status`;
  expect((await migrate({ databaseUrl: url })).applied).toEqual(['api']);
  expect(await dumpContract(sql)).toBe(contract);
});

test('a session that locks tables in another order is not in its way for long, and is never the one to give up', async () => {
  const { sql, url } = await freshDatabase();
  await set(sql, 'migration', { name: 'api' }, { sha256: 'of an earlier version' });
  const lines: string[] = [];
  let migrated: Promise<unknown> | undefined;
  await sql.begin(async (tx) => {
    await tx`lock table acme_private.account_state in row exclusive mode`;
    migrated = migrate({ databaseUrl: url, log: (line) => lines.push(line) });
    await until(
      () =>
        sql`
        select from pg_locks
         where relation = 'acme_private.account_state'::regclass and not granted`.then(
          (rows) => rows.length > 0,
        ),
      { what: 'the migrate waits for the table', timeoutMs: 30_000, everyMs: 5 },
    );
    // One that it has locked before: each would wait for the other.
    await tx`lock table acme_private.csr_state in row exclusive mode`;
    await until(() => lines.includes('tables are in use; it is tried again, for up to 2 minutes'), {
      what: 'the migrate has given up its try',
    });
  });
  expect(await migrated).toEqual({ applied: ['api'] });
});

test('several at once are safe: one does the work, the others find it done', async () => {
  const { sql, url } = await emptyDatabase();
  const done = await Promise.all(Array.from({ length: 4 }, () => migrate({ databaseUrl: url })));
  expect(done.map(({ applied }) => applied.length).sort()).toEqual([
    0,
    0,
    0,
    (await everyFile()).length,
  ]);
  expect(await creators(sql)).toEqual([]);
  const app = postgres(url, { max: 1 });
  try {
    await app`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
    expect(await app`select task_identifier from acme_worker.jobs`).toEqual([
      { task_identifier: 'dispatch' },
    ]);
  } finally {
    await app.end();
  }
});

test('the queue knows every task beforehand, and nothing is left in it', async () => {
  const { sql } = await freshDatabase();
  const rows = await sql<
    { identifier: string }[]
  >`select identifier from acme_worker._private_tasks`;
  expect(rows.map(({ identifier }) => identifier)).toEqual(
    expect.arrayContaining([...taskIdentifiers]),
  );
  expect(await sql`select from acme_worker.jobs`).toHaveLength(0);
});

test('nobody keeps the privilege to create schemas', async () => {
  const { sql, url } = await emptyDatabase();
  await migrate({ databaseUrl: url });
  expect(await creators(sql)).toEqual([]);
});

describe('refuses to touch a database', () => {
  test('where a migration that ran has changed since', async () => {
    const { sql, url } = await freshDatabase();
    await set(sql, 'migration', { name: 'tables' }, { sha256: '0'.repeat(64) });
    expect(await pgacmeRefusal(migrate({ databaseUrl: url }))).toMatchObject({
      code: 'ERR_MIGRATE',
      message:
        'The migration tables has changed since it ran here. Restore the file; changes belong in a new one.',
    });
    expect(await creators(sql)).toEqual([]);
  });

  test('that a newer version migrated', async () => {
    const { sql, url } = await freshDatabase();
    await add(sql, 'migration', { name: '999999_later.sql', sha256: 'x' });
    expect(await pgacmeRefusal(migrate({ databaseUrl: url }))).toMatchObject({
      code: 'ERR_MIGRATE',
      message:
        'The database was migrated by a newer pgacme (999999_later.sql). Install that version, or a later one.',
    });
  });

  test('for a queue schema that is no plain name, and leaves nothing behind', async () => {
    const { sql, url } = await emptyDatabase();
    for (const workerSchema of ['My Queue', 'q"; drop schema acme', '', 'x'.repeat(64)]) {
      const error = await pgacmeRefusal(migrate({ databaseUrl: url, workerSchema }));
      expect(error.code).toBe('ERR_CONFIG');
      expect(error.message).toMatch(/PGACME_WORKER_SCHEMA .* it must be a plain lower-case name/);
    }
    expect(await sql`select to_regnamespace('acme') as acme`).toEqual([{ acme: null }]);
  });
});

test('another queue schema is kept from the first migrate on, and jobs land there', async () => {
  const { sql, url } = await emptyDatabase();
  await migrate({ databaseUrl: url, workerSchema: 'my_queue' });
  await migrate({ databaseUrl: url });
  await migrate({ databaseUrl: url, workerSchema: 'acme_worker' });
  expect(
    await sql`select to_regnamespace('acme_worker') as other, worker_schema from acme_private.installation`,
  ).toEqual([{ other: null, worker_schema: 'my_queue' }]);
  await sql`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
  expect(await sql`select task_identifier from my_queue.jobs`).toEqual([
    { task_identifier: 'dispatch' },
  ]);
  const known = await sql<{ identifier: string }[]>`select identifier from my_queue._private_tasks`;
  expect(known.map(({ identifier }) => identifier)).toEqual(
    expect.arrayContaining([...taskIdentifiers]),
  );
});

test('the installation row says what this database was at the first migrate', async () => {
  const { name, sql, url } = await emptyDatabase();
  await migrate({ databaseUrl: url, environment: 'staging' });
  await migrate({ databaseUrl: url, environment: 'production' });
  const rows = await sql`
    select i.database_name, i.environment, i.worker_schema, i.system_identifier = c.system_identifier::text as is_here
      from acme_private.installation i, pg_control_system() c`;
  expect(rows).toEqual([
    { database_name: name, environment: 'staging', worker_schema: 'acme_worker', is_here: true },
  ]);
});

test('migrating a copy leaves it one, and says so', async () => {
  const { name, sql, url } = await freshDatabase();
  await frozenCopy(sql, { database_name: 'original', environment: 'staging' });
  await set(sql, 'migration', { name: 'api' }, { sha256: 'of an earlier version' });
  const lines: string[] = [];
  await migrate({ databaseUrl: url, environment: 'production', log: (line) => lines.push(line) });
  expect(lines.slice(1)).toEqual([
    `The database is held as a copy: it was set up under the name original (here ${name}). Nothing goes to a CA from here until pgacme adopt-database is run.`,
  ]);
  expect(await sql`select database_name, environment from acme_private.installation`).toEqual([
    { database_name: 'original', environment: 'staging' },
  ]);
});

test('each folder of sql/api is one whose files are applied', async () => {
  const folders = new Set(
    (await sqlFiles('sql/api/')).map(({ file }) => file.split('/').slice(2, -1).join('/')),
  );
  expect([...folders].filter((folder) => folder !== '').sort()).toEqual([...concepts].sort());
});
