// Installs the packed package into an empty folder and runs it from there, on a PostgreSQL of its own.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startPostgres } from '../dist/local/postgres.js';

const root = resolve(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'pgacme-packed-'));
const run = (command, args, env = {}) =>
  execFileSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });

const [{ filename }] = JSON.parse(
  execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', folder], {
    cwd: root,
    encoding: 'utf8',
  }),
);
writeFileSync(join(folder, 'package.json'), '{ "name": "empty", "private": true }');
run('npm', ['install', '--no-audit', '--no-fund', '--silent', join(folder, filename)]);
const bin = join(folder, 'node_modules', '.bin', 'pgacme');

const say = (text) => process.stdout.write(`${text.trim()}\n`);
say(`pgacme --version: ${run(bin, ['--version'])}`);
run('node', ['--input-type=module', '-e', "await import('pgacme'); await import('pgacme/acme');"]);

const postgres = await startPostgres({ dir: join(folder, 'postgres'), persistent: false });
try {
  say(run(bin, ['migrate'], { DATABASE_URL: postgres.url }));
  say(run(bin, ['migrate'], { DATABASE_URL: postgres.url }));
} finally {
  await postgres.stop();
  rmSync(folder, { recursive: true, force: true });
}
