import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { readMigrations } from '../../src/db/migrate/migration-files.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { cli, linesOf } from './cli.ts';

test('migrate tells what it would apply, what it applied, and the second time that there was nothing to do', async () => {
  const server = await freshDatabase();
  const name = `t_${randomBytes(5).toString('hex')}`;
  await server.sql`create database ${server.sql(name)}`;
  try {
    const url = new URL(server.url);
    url.pathname = name;
    const head = `Database ${name} at 127.0.0.1:${url.port}, as user ${url.username}`;
    const migrations = await readMigrations();
    const dry = await cli(['migrate', '--dry-run'], { DATABASE_URL: url.href });
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    expect(linesOf(dry.stdout).slice(0, 4)).toEqual([
      `-- ${head}`,
      '-- Nothing was changed: this is what pgacme migrate would run.',
      '',
      'begin;',
    ]);
    const first = await cli(['migrate'], { DATABASE_URL: url.href });
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(linesOf(first.stdout)).toEqual([
      head,
      ...migrations.map(({ name }) => `  applied ${name}`),
      '  applied the functions, views and grants of sql/api',
      'Done.',
    ]);
    const second = await cli(['migrate'], { DATABASE_URL: url.href });
    expect(second).toMatchObject({ code: 0, stderr: '' });
    expect(linesOf(second.stdout)).toEqual([head, 'Nothing to do: it is up to date.']);
    const after = await cli(['migrate', '--dry-run'], { DATABASE_URL: url.href });
    expect(linesOf(after.stdout).at(-1)).toBe('-- Nothing to do: it is up to date.');
    expect(dry.stdout + first.stdout + second.stdout).not.toContain(url.password);
  } finally {
    await server.sql`drop database ${server.sql(name)} with (force)`;
  }
});

test('the PG* variables do as well as a URL', async () => {
  const database = await freshDatabase();
  const url = new URL(database.url);
  const result = await cli(['migrate'], {
    PGHOST: url.hostname,
    PGPORT: url.port,
    PGUSER: url.username,
    PGPASSWORD: url.password,
    PGDATABASE: database.name,
  });
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(result.stdout).at(-1)).toBe('Nothing to do: it is up to date.');
});
