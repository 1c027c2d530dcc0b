import postgres from 'postgres';
import { expect, inject, test } from 'vitest';
import { freshDatabase } from '../helpers/postgres.ts';

test('databases made at once are apart, and gone with their roles after drop()', async () => {
  const [one, two, three] = await Promise.all([freshDatabase(), freshDatabase(), freshDatabase()]);
  await one.sql`create table mark (n int)`;
  const found = await two.sql<{ mark: string | null }[]>`select to_regclass('mark')::text as mark`;
  expect(found[0]?.mark).toBeNull();

  const login = await three.as('pg_monitor');
  const users = await login<{ current_user: string }[]>`select current_user`;
  expect(users[0]?.current_user).toBe(`${three.name}_pg_monitor`);
  const other = await three.as('pg_monitor', { login: 'b' });
  const others = await other<{ current_user: string }[]>`select current_user`;
  expect(others[0]?.current_user).toBe(`${three.name}_b`);

  await three.drop();
  const sql = postgres(inject('postgresUrl'), { max: 1 });
  try {
    expect(await sql`select datname from pg_database where datname = ${three.name}`).toEqual([]);
    expect(
      await sql`select rolname from pg_roles where starts_with(rolname, ${three.name})`,
    ).toEqual([]);
  } finally {
    await sql.end();
  }
});
