import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { startChallengeTestServer } from '../../src/local/challenge-test-server.ts';
import { images } from '../../src/local/docker.ts';
import { startOwned } from '../../src/local/owned-process.ts';
import { findPebble } from '../../src/local/pebble.ts';
import { freePort } from '../../src/local/ports.ts';
import { run } from '../../src/local/run.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { cli } from '../cli/cli.ts';
import { ownCluster } from '../helpers/cluster.ts';
import { spawnPgacme } from '../helpers/process.ts';
import { testFolder } from '../helpers/sweep.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));
const script = (name: string, env: Record<string, string>) =>
  run(process.execPath, [join(checkout, 'docker', name)], {
    env: { ...process.env, ...env },
    timeoutMs: 30_000,
  });

test('what docker-compose.yml starts works without containers: prepared twice, a certificate, and the health of the worker', async () => {
  const cluster = await ownCluster();
  const administrator = await cluster.database();
  const folder = await testFolder('demo');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const [keys, pebbleFolder] = [join(folder, 'key'), join(folder, 'pebble')];
  for (const made of [keys, pebbleFolder]) await mkdir(made);
  const [port, httpPort] = [await freePort(), await freePort()];

  expect(await cli(['migrate'], { DATABASE_URL: administrator })).toMatchObject({ code: 0 });
  const prepare = (more: Record<string, string> = {}) =>
    script('demo.mjs', {
      DATABASE_URL: administrator,
      WORKER_PASSWORD: "it's",
      PGACME_SECRET_KEY: '',
      KEY_FOLDER: keys,
      PEBBLE_FOLDER: pebbleFolder,
      PEBBLE_HOST: 'localhost',
      PEBBLE_PORT: String(port),
      HTTP01_PORT: String(httpPort),
      ...more,
    });
  const key = () => readFile(join(keys, 'secret-key'), 'utf8');
  expect(await prepare()).toMatchObject({ code: 0, stderr: '' });
  const made = await key();
  expect(await prepare()).toMatchObject({ code: 0, stderr: '' });
  expect(await key()).toBe(made);
  for (const file of [join(keys, 'secret-key'), join(pebbleFolder, 'key.pem')]) {
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  }
  const given = Buffer.alloc(32, 7).toString('base64');
  expect(await prepare({ PGACME_SECRET_KEY: given })).toMatchObject({ code: 0 });
  expect(await key()).toBe(`${given}\n`);

  const binaries = await findPebble();
  const dns = await startChallengeTestServer({ binaries });
  onTestFinished(() => dns.stop());
  const pebble = startOwned({
    command: binaries.pebble,
    args: [
      ...['-config', join(pebbleFolder, 'pebble.json')],
      ...['-strict', '-dnsserver', dns.dnsServer],
    ],
    env: { ...process.env, PEBBLE_VA_NOSLEEP: '1' },
    stopSignals: ['SIGTERM', 'SIGKILL'],
  });
  onTestFinished(() => pebble.stop());

  const url = new URL(administrator);
  url.username = 'pgacme_worker';
  url.password = "it's";
  const env = { DATABASE_URL: url.href };
  const before = await script('healthy.mjs', env);
  expect(before).toMatchObject({ code: 1 });
  expect(before.stdout).toContain('not in acme.worker_status');

  const worker = spawnPgacme(['worker'], {
    ...env,
    PGACME_SECRET_KEY_FILE: join(keys, 'secret-key'),
    PGACME_HTTP01_LISTEN: `127.0.0.1:${httpPort}`,
  });
  await worker.waitForLine(/worker started/);
  const sql = cluster.connect(administrator);
  const { pem } = await makeCsr({ names: ['www.example.org'] });
  const [csr] = await sql<
    [{ id: string }]
  >`insert into acme.csr (pem) values (${pem}) returning id`;
  const [row] = await sql<{ state: string; reason: string | null }[]>`
    select state, reason from acme.wait(${csr.id})`;
  expect(row).toEqual({ state: 'issued', reason: null });

  expect(await script('healthy.mjs', env)).toEqual({
    code: 0,
    stdout: `The worker on ${hostname()} is running.\n`,
    stderr: '',
  });
  await worker.kill();
  const after = await script('healthy.mjs', env);
  expect(after).toMatchObject({ code: 1, stdout: `The worker on ${hostname()} is stopped.\n` });
}, 120_000);

test('docker-compose.yml and Dockerfile name what is there', async () => {
  const compose = await readFile(join(checkout, 'docker-compose.yml'), 'utf8');
  for (const image of Object.values(images)) expect(compose).toContain(`image: ${image}\n`);
  const dockerfile = await readFile(join(checkout, 'Dockerfile'), 'utf8');
  const ignored = await readFile(join(checkout, '.dockerignore'), 'utf8');
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
    ([, sources = '']) => sources.split(' '),
  );
  expect(copied.length).toBeGreaterThan(5);
  for (const source of copied) {
    await expect(stat(join(checkout, source))).resolves.toBeDefined();
    expect(ignored).toContain(`!${source.split('/')[0]}\n`);
  }
  // The healthy worker is asked of by a login that prepare makes.
  expect(compose).toContain('pgacme_worker:${WORKER_PASSWORD:-demo}@postgres');
});
