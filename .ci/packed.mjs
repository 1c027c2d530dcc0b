// Packs and installs the package as README.md says, in a copy of the checkout and a home of its own, and runs it
// from there, on a PostgreSQL of its own and with a Pebble: with this Node.js, and with newer ones, where npm's
// packages bring them. Then it tries the quickstart from the installed package.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { startChallengeTestServer } from '../dist/local/challenge-test-server.js';
import { startPebble } from '../dist/local/pebble.js';
import { freePort } from '../dist/local/ports.js';
import { startPostgres } from '../dist/local/postgres.js';
import { copyCheckout, install, root, run } from './parts/package.mjs';
import { smoke } from './parts/smoke.mjs';

const NEWER = ['22.23.3', '24.21.0'];

const say = (text) => process.stdout.write(`${text}\n`);
const folder = mkdtempSync(join(tmpdir(), 'pgacme-packed-'));
const stops = [() => rmSync(folder, { recursive: true, force: true })];
try {
  const installed = installAsInReadme();
  run(installed, 'node', [
    '--input-type=module',
    '-e',
    "await import('pgacme'); await import('pgacme/acme');",
  ]);

  const server = await startPostgres({ dir: join(folder, 'postgres'), persistent: false });
  stops.push(() => server.stop());
  const dns = await startChallengeTestServer();
  stops.push(() => dns.stop());
  const pebble = await startPebble({
    dir: join(folder, 'pebble'),
    httpPort: await freePort(),
    dnsServer: dns.dnsServer,
  });
  stops.push(() => pebble.stop());

  const nodes = [process.execPath, ...NEWER.map((version) => newerNode(version))];
  for (const [index, node] of nodes.entries()) {
    if (node === undefined) continue;
    const url = new URL(server.url);
    url.pathname = `packed_${index}`;
    const sql = postgres(server.url, { max: 1 });
    await sql`create database ${sql(`packed_${index}`)}`;
    await sql.end();
    await smoke({ node, folder: installed, databaseUrl: url.href, pebble, say });
  }
  tryQuickstart(join(installed, 'node_modules/.bin/pgacme'));
} finally {
  for (const stop of stops.reverse()) await stop();
}

/** Runs the commands of README.md's section on installing; returns the folder that they make. */
function installAsInReadme() {
  const [, block] = /\n### Install pgacme\n[^]*?```sh\n([^]*?)```/.exec(
    readFileSync(join(root, 'README.md'), 'utf8'),
  );
  const [home, checkout] = ['home', 'checkout'].map((name) => join(folder, name));
  mkdirSync(home);
  copyCheckout(checkout);
  run(checkout, 'npm', ['ci', '--no-audit', '--no-fund', '--silent', '--prefer-offline']);
  const [npm_config_cache, npm_config_userconfig] = ['cache', 'userconfig'].map((key) =>
    run(root, 'npm', ['config', 'get', key]).trim(),
  );
  const quiet = {
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_loglevel: 'error',
    npm_config_prefer_offline: 'true',
  };
  const env = { ...quiet, HOME: home, npm_config_cache, npm_config_userconfig };
  const printed = run(checkout, 'bash', ['-e', '-c', block], env).trim().split('\n');
  say(`Installed as README.md says: pgacme --version prints ${printed.at(-1)}`);
  return join(home, '.local/share/pgacme');
}

/** It is not listed where it does not run; and it runs after what its sentence asks for. */
function tryQuickstart(pgacme) {
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  const listed = () => /^ {2}quickstart /m.test(run(empty, pgacme, ['--help']));
  if (listed()) {
    throw new Error('The quickstart is listed where no PostgreSQL is installed for it.');
  }
  const { status, stderr } = spawnSync(pgacme, ['quickstart', '--once'], {
    cwd: empty,
    encoding: 'utf8',
  });
  const [, advice] = /: run (npm install \S+) in this folder/.exec(stderr) ?? [];
  if (status !== 1 || advice === undefined) {
    throw new Error(`pgacme quickstart ended with ${status}, and said:\n${stderr}`);
  }
  run(empty, 'bash', ['-c', advice]);
  if (!listed()) throw new Error(`The quickstart is not listed after ${advice}.`);
  const printed = run(empty, pgacme, ['quickstart', '--once']);
  if (!printed.includes('Certificate 1')) throw new Error(`No certificate came:\n${printed}`);
  say(`pgacme quickstart of the installed package, after ${advice}: well`);
}

/** A Node.js out of the npm package that holds the program itself; no script of it is run. */
function newerNode(version) {
  const name = `node-${process.platform}-${process.arch}`;
  const place = join(folder, `node-${version}`);
  mkdirSync(place);
  try {
    install(place, '--ignore-scripts', `${name}@${version}`);
  } catch {
    say(`SKIPPED: Node.js ${version}, since npm has no package ${name}@${version} here.`);
    return undefined;
  }
  return join(place, 'node_modules', name, 'bin/node');
}
