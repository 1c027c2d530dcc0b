// The package as npm packs it, installed into a folder as a user would.
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The checkout. */
export const root = resolve(import.meta.dirname, '../..');

/** Runs a command in a folder; its output is returned, its errors are shown. */
export const run = (cwd, command, args, env = {}) =>
  execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });

/** Copies the checkout's files, those that git does not ignore, into a folder. */
export function copyCheckout(folder) {
  const files = run(root, 'git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'])
    .split('\0')
    .filter(Boolean);
  for (const file of files) cpSync(join(root, file), join(folder, file));
}

/** Packs the checkout, which was built, into the folder; returns the tarball's path. */
export function pack(folder) {
  const args = ['pack', '--ignore-scripts', '--json', '--silent', '--pack-destination', folder];
  const [{ filename }] = JSON.parse(run(root, 'npm', args));
  return join(folder, filename);
}

/** Installs packages into the folder, which becomes a project. */
export function install(folder, ...packages) {
  writeFileSync(join(folder, 'package.json'), '{ "name": "empty", "private": true }');
  const flags = ['--no-audit', '--no-fund', '--silent', '--prefer-offline'];
  run(folder, 'npm', ['install', ...flags, ...packages]);
}

/** The version of a package that the checkout has installed. */
export function installedVersion(name) {
  return JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version;
}
