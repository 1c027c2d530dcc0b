import { readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { removeFolder } from '../../src/local/os-user.ts';
import { freePort } from '../../src/local/ports.ts';
import { type PgacmeProcess, spawnPgacme } from '../helpers/process.ts';
import { psql } from '../helpers/psql.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { cli, linesOf } from './cli.ts';
import { familyOf, survivors } from './family.ts';

/** An empty folder, and options for ports that are free. */
async function place() {
  const cwd = await testFolder('sandbox');
  onTestFinished(async () => {
    await removeFolder(join(cwd, '.pgacme/sandbox/postgres'));
    await rm(cwd, { recursive: true, force: true });
  });
  const [postgres, pebble, http] = [await freePort(), await freePort(), await freePort()];
  const options = ['--postgres-port', postgres, '--pebble-port', pebble, '--http-port', http];
  return { cwd, postgres, pebble, args: ['sandbox', ...options.map(String)] };
}

/** Starts it; returns the URL that it prints. */
async function start(args: string[], cwd: string): Promise<[PgacmeProcess, string]> {
  // What is set for other servers must not matter.
  const sandbox = spawnPgacme(args, { PGHOST: 'db.invalid', PGPASSWORD: 'x' }, { cwd });
  const [, url = ''] = await sandbox.waitForLine(/^PostgreSQL [\d.]+: (\S+)$/, 60_000);
  await sandbox.waitForLine(/^Ctrl-C ends both and keeps the database\.$/, 60_000);
  return [sandbox, url];
}

test('the sandbox has an empty database and a CA, keeps the database, and Ctrl-C leaves nothing', async () => {
  const { cwd, postgres, pebble, args } = await place();
  const [first, url] = await start(args, cwd);
  expect(url).toBe(`postgres://postgres@localhost:${postgres}/app?passfile=.pgacme/sandbox/pgpass`);
  await first.waitForLine(new RegExp(`^Pebble .*: https://127\\.0\\.0\\.1:${pebble}/dir$`));
  const [, ca = ''] = await first.waitForLine(/TLS certificate is signed by (\S+)$/);
  expect(await readFile(join(cwd, ca), 'utf8')).toContain('BEGIN CERTIFICATE');
  expect((await stat(join(cwd, '.pgacme/sandbox/pgpass'))).mode & 0o777).toBe(0o600);

  // psql and pgacme both take the URL as it is printed.
  const migrated = await cli(['migrate'], { DATABASE_URL: url }, cwd);
  expect(migrated).toMatchObject({ code: 0, stderr: '' });
  const absolute = url.replace('=.pgacme', `=${cwd}/.pgacme`);
  const look = () => psql(absolute, 'select count(*) > 0 from acme.server;', { args: ['-At'] });
  expect(await look()).toEqual({ code: 0, stderr: '', stdout: 't\n' });

  const family = process.platform === 'linux' ? await familyOf(first.pid) : [];
  expect(await first.kill('SIGINT')).toEqual({ code: 0, signal: null });
  expect(first.lines.at(-1)).toBe('Stopped.');
  await until(async () => (await survivors(family)).length === 0, { what: 'all have ended' });
  const password = (await readFile(join(cwd, '.pgacme/sandbox/postgres/password'), 'utf8')).trim();
  expect(first.lines.join('\n')).not.toContain(password);

  const [second] = await start(args, cwd);
  expect(await look()).toMatchObject({ code: 0, stdout: 't\n' });
  expect(await second.kill('SIGTERM')).toEqual({ code: 0, signal: null });
});

test('a port that is in use is named with the option that changes it, and nothing is begun', async () => {
  const { cwd, postgres, pebble, args } = await place();
  for (const [port, option] of [
    [postgres, '--postgres-port'],
    [pebble, '--pebble-port'],
  ] as const) {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
    const { code, stdout, stderr } = await cli(args, {}, cwd);
    await new Promise((resolve) => other.close(resolve));
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(linesOf(stderr)).toEqual([
      `Port ${port} of 127.0.0.1 is in use by another program; choose another one with ${option}.`,
    ]);
  }
});
