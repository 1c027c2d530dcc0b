// Installs the packed package into an empty folder and runs it from there, on a PostgreSQL of its own and
// with a Pebble: with this Node.js, and with newer ones, where npm's packages bring them.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { startChallengeTestServer } from '../dist/local/challenge-test-server.js';
import { startPebble } from '../dist/local/pebble.js';
import { freePort } from '../dist/local/ports.js';
import { startPostgres } from '../dist/local/postgres.js';
import { install, pack, run } from './parts/package.mjs';
import { smoke } from './parts/smoke.mjs';

const NEWER = ['22.23.3', '24.21.0'];

const say = (text) => process.stdout.write(`${text}\n`);
const folder = mkdtempSync(join(tmpdir(), 'pgacme-packed-'));
const stops = [() => rmSync(folder, { recursive: true, force: true })];
try {
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  install(empty, pack(folder));
  run(empty, 'node', [
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
    await smoke({ node, folder: empty, databaseUrl: url.href, pebble, say });
  }
} finally {
  for (const stop of stops.reverse()) await stop();
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
