import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { freePort } from '../../src/local/ports.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { cli, linesOf } from './cli.ts';

const PASSWORD = 'hunter2-7f3a';
const KEY = randomBytes(32).toString('base64');

test('a worker without a secret key is told how to make one, along with all other problems', async () => {
  const env = { DATABASE_URL: `mysql://app:${PASSWORD}@db/shop`, PGACME_CONCURRENCY: '0' };
  const { code, stdout, stderr } = await cli(['worker'], env);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain('PGACME_SECRET_KEY is not set');
  expect(stderr).toContain('openssl rand -base64 32');
  expect(stderr).toContain('DATABASE_URL is not a PostgreSQL URL');
  expect(stderr).toContain('PGACME_CONCURRENCY');
  expect(stderr).not.toContain(PASSWORD);
});

test('a URL that cannot be read is refused without showing its password', async () => {
  for (const password of [
    `${PASSWORD}/x`,
    `%${PASSWORD}`,
    `${PASSWORD}?a`,
    `#${PASSWORD}`,
    `4711#${PASSWORD}`,
    `4711/${PASSWORD}`,
  ]) {
    for (const command of ['status', 'worker']) {
      const DATABASE_URL = `postgres://app:${password}@127.0.0.1:1/shop`;
      const { code, stdout, stderr } = await cli([command, '--verbose'], {
        DATABASE_URL,
        PGACME_SECRET_KEY: KEY,
      });
      expect(code, password).toBe(2);
      expect(stderr).toContain('DATABASE_URL cannot be read');
      expect(stdout + stderr).not.toContain(PASSWORD);
      expect(stdout + stderr).not.toContain('4711');
    }
  }
});

test('a database that is not reachable: host, port and what to check, never the password', async () => {
  const port = await freePort();
  const env = {
    DATABASE_URL: `postgres://app:${PASSWORD}@127.0.0.1:${port}/shop`,
    PGACME_SECRET_KEY: KEY,
  };
  for (const command of ['migrate', 'worker', 'status']) {
    const { code, stderr } = await cli([command], env);
    expect({ command, code, lines: linesOf(stderr) }).toEqual({
      command,
      code: 1,
      lines: [
        `No PostgreSQL answers at 127.0.0.1:${port}; check that it runs and listens there, and host and port in DATABASE_URL.`,
      ],
    });
    const verbose = await cli([command, '--verbose'], env);
    expect(verbose.stdout + verbose.stderr).not.toContain(PASSWORD);
  }
});

test('the PG* variables are named when the database came from them', async () => {
  const port = String(await freePort());
  const env = { PGHOST: 'localhost', PGPORT: port, PGDATABASE: 'shop', PGPASSWORD: PASSWORD };
  const { code, stderr } = await cli(['status', '--verbose'], env);
  expect(code).toBe(1);
  expect(linesOf(stderr)[0]).toMatch(
    new RegExp(`^No PostgreSQL answers at localhost:${port}; .* the PG\\* variables\\.$`),
  );
  expect(stderr).not.toContain(PASSWORD);
});

test('a host that has no address is named', async () => {
  const { code, stderr } = await cli(['status'], {
    DATABASE_URL: 'postgres://app@no-such-host.invalid/shop',
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^The host of no-such-host\.invalid:5432 cannot be found \(E\w+\); check its name/,
  );
});

test('something that is no PostgreSQL: the connection was cut', async () => {
  const other = createServer((socket) => socket.destroy());
  const port = await new Promise<number>((resolve) => {
    other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port));
  });
  try {
    const { code, stderr } = await cli(['status'], {
      DATABASE_URL: `postgres://app:${PASSWORD}@127.0.0.1:${port}/shop`,
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      new RegExp(`^The connection to PostgreSQL at 127\\.0\\.0\\.1:${port} was cut`),
    );
  } finally {
    other.close();
  }
});

test("what PostgreSQL refuses is a sentence: password, user, database, a role's rights", async () => {
  const database = await freshDatabase();
  const { role, url } = await database.login('acme_app');
  const right = new URL(url);
  const changed = (part: 'username' | 'password' | 'pathname', value: string) => {
    const other = new URL(url);
    other[part] = value;
    return { DATABASE_URL: other.href, PGACME_SECRET_KEY: KEY };
  };
  const where = `127.0.0.1:${right.port}`;
  const cases: [string, Record<string, string>, RegExp][] = [
    [
      'status',
      changed('password', 'wrong'),
      new RegExp(`at ${where} does not take the password of user ${role};`),
    ],
    [
      'status',
      changed('username', 'nobody_here'),
      /does not take the password of user nobody_here;/,
    ],
    [
      'migrate',
      changed('pathname', 'no_such'),
      new RegExp(`no database no_such at ${where}; create it \\(createdb no_such\\)`),
    ],
    ['status', changed('password', right.password), new RegExp(`grant acme_reader to "${role}";`)],
    ['worker', changed('password', right.password), new RegExp(`grant acme_worker to "${role}";`)],
    ['migrate', changed('password', right.password), new RegExp(`acme_owner`)],
  ];
  for (const [command, env, pattern] of cases) {
    const { code, stdout, stderr } = await cli([command], env);
    expect({ command, code, lines: linesOf(stderr).length }).toEqual({
      command,
      code: 1,
      lines: 1,
    });
    expect(stderr).toMatch(pattern);
    expect(stdout + stderr).not.toContain(right.password);
    expect(stdout + stderr).not.toContain(KEY);
  }
});

test('a database without pgacme is told to be migrated', async () => {
  const database = await freshDatabase();
  await database.sql`drop schema acme, acme_private, acme_worker cascade`;
  for (const command of ['status', 'worker']) {
    const { code, stderr } = await cli([command], {
      DATABASE_URL: database.url,
      PGACME_SECRET_KEY: KEY,
    });
    expect({ command, code, lines: linesOf(stderr).length }).toEqual({
      command,
      code: 1,
      lines: 1,
    });
    expect(stderr).toContain('pgacme migrate');
  }
});
