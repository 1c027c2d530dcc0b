import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { fit } from '../../src/cli/screen.ts';
import { which } from '../../src/local/run.ts';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { spawnPgacme } from '../helpers/process.ts';
import { until } from '../helpers/until.ts';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const ESC = '\u001b[';

const insert = (sql: postgres.Sql) =>
  sql`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;

test('into a pipe it prints a block each time, with an empty line between, until SIGINT', async () => {
  const database = await freshDatabase();
  const { url } = await database.login('acme_reader');
  const watching = spawnPgacme(['status', '--watch'], { DATABASE_URL: url });
  await watching.waitForLine(/^CSRs: 0$/);
  await insert(database.sql);
  await watching.waitForLine(/^CSRs: 1$/);
  expect(await watching.kill('SIGINT')).toEqual({ code: 0, signal: null });
  const heads = watching.lines.flatMap((line, at) => (line.startsWith('pgacme ') ? [at] : []));
  expect(heads.length).toBeGreaterThanOrEqual(2);
  for (const at of heads) {
    expect(watching.lines[at]).toMatch(/, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
    expect(watching.lines[at - 1] ?? '').toBe('');
  }
  expect(watching.lines.join()).not.toContain(ESC);
});

test('it ends when its reader has gone', async () => {
  const database = await freshDatabase();
  const child = spawn('sh', ['-c', `"${process.execPath}" "${CLI}" status --watch | head -n 1`], {
    env: { PATH: process.env['PATH'], DATABASE_URL: database.url },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.resume();
  // sh waits for both.
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect(code).toBe(0);
});

test('a database that is away for a while is said so, and seen again', async () => {
  const database = await freshDatabase();
  const { sql, name } = database;
  const { url } = await database.login('acme_reader');
  const watching = spawnPgacme(['status', '--watch'], { DATABASE_URL: url });
  await watching.waitForLine(/^CSRs: 0$/);
  const other = (await freshDatabase()).sql;
  await other.unsafe(`alter database ${name} allow_connections false`);
  await other`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgacme status' and datname = ${name}`;
  await watching.waitForLine(/^PostgreSQL at \S+.* \(It is tried again\.\)$/);
  await other.unsafe(`alter database ${name} allow_connections true`);
  await insert(sql);
  await watching.waitForLine(/^CSRs: 1$/);
  expect(await watching.kill()).toEqual({ code: 0, signal: null });
});

test('a database that is away from the beginning is an error', async () => {
  const watching = spawnPgacme(['status', '--watch'], {
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
  });
  expect(await watching.exited).toEqual({ code: 1, signal: null });
  expect(watching.lines[0]).toMatch(/^No PostgreSQL answers at 127\.0\.0\.1:1/);
});

// script (util-linux) gives a program a terminal of its own.
const hasScript = (await which('script')) !== undefined && process.platform === 'linux';

test.runIf(hasScript).each([
  { key: 'q', what: 'q' },
  { key: '\u0003', what: 'Ctrl-C' },
])(
  'on a terminal it paints in place, within its height, and gives it back at $what',
  async ({ key }) => {
    const database = await freshDatabase();
    for (let i = 0; i < 15; i++) await insert(database.sql);
    const command = `stty rows 12 cols 50; "${process.execPath}" "${CLI}" status --watch; echo "code $?"; stty -a`;
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: {
        PATH: process.env['PATH'],
        TERM: 'xterm',
        DATABASE_URL: database.url,
        SHELL: '/bin/sh',
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const ended = new Promise((resolve) => child.once('close', resolve));
    const pictures = () =>
      output
        .split(`${ESC}H`)
        .slice(1)
        .map((text) => text.split(`${ESC}J`)[0] ?? '');
    await until(() => pictures().some((text) => text.includes('CSRs: 15')), {
      what: 'a first picture',
      timeoutMs: 30_000,
    });
    await insert(database.sql);
    await until(() => pictures().some((text) => text.includes('CSRs: 16')), {
      what: 'a second one',
      timeoutMs: 30_000,
    });
    child.stdin.write(key);
    child.stdin.end();
    expect(await ended).toBe(0);

    for (const picture of pictures()) {
      const lines = picture.replaceAll(`${ESC}K`, '').split(/\r+\n/);
      expect(lines).toHaveLength(12);
      for (const line of lines) expect(line.length, JSON.stringify(line)).toBeLessThan(50);
      expect(lines.at(-1)).toMatch(/^… \d+ more lines/);
    }
    const [before, after] = [output.indexOf(`${ESC}?1049h`), output.indexOf(`${ESC}?1049l`)];
    expect(before).toBeGreaterThanOrEqual(0);
    expect(after).toBeGreaterThan(output.lastIndexOf('CSRs: 16'));
    const given = output.slice(0, after);
    for (const mode of ['?25', '?7']) {
      expect(given.lastIndexOf(`${ESC}${mode}h`)).toBeGreaterThan(
        given.lastIndexOf(`${ESC}${mode}l`),
      );
    }
    const rest = output.slice(after);
    expect(rest).toContain('code 0');
    expect(rest).toMatch(/ icanon /);
    expect(rest).toMatch(/ echo /);
  },
);

test('a picture is cut to the rows and columns there are', () => {
  expect(fit(['a', 'b'], 2, 10)).toEqual(['a', 'b']);
  expect(fit(['abcdef', 'b', 'c'], 2, 4)).toEqual(['abc…', '… 2…']);
  expect(fit(['abcd'], 1, 4)).toEqual(['abcd']);
  // Nothing is lost of a line that is too long: it goes on below.
  const line = `7  www.example.org  retrying  ${'connection timed out '.repeat(4)}`.trim();
  const shown = fit([line, 'b'], 9, 60);
  expect(
    shown
      .slice(0, -1)
      .map((part) => part.trim())
      .join(' '),
  ).toBe(line);
  expect(shown[1]).toMatch(/^ {6}\S/);
});
