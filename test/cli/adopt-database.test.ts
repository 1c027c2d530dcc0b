import { expect, test } from 'vitest';
import { freshDatabase } from '../helpers/postgres.ts';
import { cli, linesOf } from './cli.ts';

test('adopt-database says what differs, and the second time that there is nothing to do', async () => {
  const { name, sql, url } = await freshDatabase();
  await sql`update acme_private.installation set database_name = 'original', environment = 'production'`;
  const head = `Database ${name} at 127.0.0.1:${new URL(url).port}, as user postgres`;
  const first = await cli(['adopt-database'], { DATABASE_URL: url });
  expect(first).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(first.stdout).map((line) => line.trim().split(/ {2,}/))).toEqual([
    [head],
    ['SET UP AS', 'IS NOW'],
    ['database', 'original', name],
    ['PGACME_ENVIRONMENT', 'production', '(none)'],
    ['Adopted: workers with this PGACME_ENVIRONMENT go on here, with what was under way.'],
  ]);
  const second = await cli(['adopt-database'], { DATABASE_URL: url });
  expect(second).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(second.stdout)).toEqual([
    head,
    'Nothing to do: it is the database that was set up, and not held.',
  ]);
  expect(await sql`select acme_private.hold() as hold`).toEqual([{ hold: null }]);
  expect(await sql`select count(*)::int from acme.event where event = 'database_adopted'`).toEqual([
    { count: 1 },
  ]);
  expect(await sql`select task_identifier from acme_worker.jobs`).toEqual([
    { task_identifier: 'dispatch' },
  ]);
});

test('nobody adopts a database but who is a member of acme_owner', async () => {
  const database = await freshDatabase();
  await database.sql`update acme_private.installation set database_name = 'original'`;
  for (const role of ['acme_worker', 'acme_admin', 'acme_app']) {
    const login = await database.login(role);
    const { code, stdout, stderr } = await cli(['adopt-database'], { DATABASE_URL: login.url });
    expect(code, role).toBe(1);
    expect(linesOf(stdout)).toHaveLength(1);
    expect(stderr).toContain(`let an administrator run: grant acme_owner to "${login.role}";`);
    const sql = await database.as(role);
    const direct = await sql`select acme_private.adopt_database(null)`.catch(
      (error: unknown) => error,
    );
    expect(direct).toMatchObject({ code: '42501' });
  }
  const owner = await database.login('acme_owner');
  expect(await cli(['adopt-database'], { DATABASE_URL: owner.url })).toMatchObject({ code: 0 });
});

test('a database without pgacme is sent to pgacme migrate', async () => {
  const { sql, url } = await freshDatabase();
  await sql`drop schema acme, acme_private cascade`;
  const { code, stderr } = await cli(['adopt-database'], { DATABASE_URL: url });
  expect(code).toBe(1);
  expect(stderr).toContain('Run pgacme migrate, then adopt it.');
});
