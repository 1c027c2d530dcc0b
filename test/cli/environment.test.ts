import { randomBytes } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { passwordIn } from '../../src/cli/password-file.ts';
import { freePort } from '../../src/local/ports.ts';
import { folderOf } from '../account-file/helpers/files.ts';
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
    [
      'status',
      changed('password', right.password),
      new RegExp(`${role} is the login of an application .* Use the login of an operator;`),
    ],
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

test('a password is found in a password file, by both drivers, as libpq finds it', async () => {
  const database = await freshDatabase();
  const folder = await folderOf({});
  const file = join(folder, 'pass file');
  const login = new URL(database.url);
  const { port, password, username } = login;
  await writeFile(
    file,
    `# of others\n127.0.0.1:1:*:*:wrong\n127.0.0.1:${port}:${login.pathname.slice(1)}:*:${decodeURIComponent(password).replace(/[\\:]/g, '\\$&')}\n`,
    { mode: 0o600 },
  );
  login.password = '';
  const url = login.href;
  const passfile = `${url}?passfile=${encodeURIComponent(file)}`;
  const pg = {
    PGHOST: '127.0.0.1',
    PGPORT: port,
    PGUSER: username,
    PGDATABASE: login.pathname.slice(1),
  };
  // migrate connects with both drivers.
  for (const [command, env] of [
    ['status', { DATABASE_URL: passfile }],
    ['migrate', { DATABASE_URL: passfile }],
    ['migrate', { DATABASE_URL: url, PGPASSFILE: file }],
    ['migrate', { ...pg, PGPASSFILE: file }],
    ['status', { DATABASE_URL: passfile.replace(url, database.url) }],
  ] as const) {
    const { code, stderr } = await cli([command], env);
    expect({ command, env, code, stderr }).toEqual({ command, env, code: 0, stderr: '' });
  }
  const none = await cli(['status'], { DATABASE_URL: url, HOME: folder });
  expect(none.stderr).toContain('does not take the password of user');
  const absent = await cli(['status'], { DATABASE_URL: url, PGPASSFILE: join(folder, 'absent') });
  expect(absent).toMatchObject({
    code: 2,
    stderr: `The password file ${join(folder, 'absent')} cannot be read (ENOENT).\n`,
  });
  await chmod(file, 0o644);
  const open = await cli(['status'], { DATABASE_URL: passfile });
  expect(open).toMatchObject({ code: 2 });
  expect(open.stderr).toContain(`The password file ${file} can be read by others`);
});

test('the lines of a password file are read as its format says', () => {
  const is = { host: 'db', port: '5432', database: 'shop', user: 'app' };
  expect(passwordIn('db:5432:shop:app:a\\:b\\\\c', is)).toBe('a:b\\c');
  expect(passwordIn('#db:5432:shop:app:no\r\ndb:5433:shop:app:no\n*:*:*:*:yes\r\n', is)).toBe(
    'yes',
  );
  expect(passwordIn('d\\b:5432:*:app:one\ndb:5432:*:app:two', is)).toBe('one');
  expect(passwordIn('db:5432:shop:app:', is)).toBeUndefined();
  expect(passwordIn('db:5432:shop', is)).toBeUndefined();
  expect(passwordIn('', is)).toBeUndefined();
  // As libpq, and not as the package pgpass: short lines, a needless backslash, a second colon.
  expect(passwordIn('*:*:*:*:ab', is)).toBe('ab');
  expect(passwordIn('db:5432:shop:app:\\p', is)).toBe('p');
  expect(passwordIn('db:5432:shop:app:a:b', is)).toBe('a');
});
