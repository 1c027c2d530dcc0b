import { chmod, mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { Agent, fetch } from 'undici';
import { afterEach, expect, test, vi } from 'vitest';
import { findPebble, type PebbleOptions, startPebble } from '../../src/local/pebble.ts';
import { freePort } from '../../src/local/ports.ts';
import { identify, isRunning } from '../../src/local/process-identity.ts';
import { pebbleForTests, pebbleOfThisRelease } from '../helpers/pebble.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { startedElsewhere } from './owner.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 240_000 });

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function folder(): Promise<string> {
  const dir = await testFolder('local');
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function started(options: Omit<PebbleOptions, 'httpPort'>) {
  const pebble = await startPebble({ httpPort: await freePort(), ...options });
  cleanups.push(() => pebble.stop());
  return pebble;
}

async function json(url: string, ca: string): Promise<unknown> {
  const dispatcher = new Agent({ connect: { ca } });
  try {
    return await (await fetch(url, { dispatcher })).json();
  } finally {
    await dispatcher.close();
  }
}

test('Pebble is found, and its directory answers over TLS with the CA that the start returns', async () => {
  const pebble = await pebbleForTests();
  expect(await json(pebble.directoryUrl, pebble.caPem)).toMatchObject({
    newOrder: `https://127.0.0.1:${String(pebble.port)}/order-plz`,
  });
});

test('the first start of a folder decides key and port, the second uses the same', async () => {
  const dir = await folder();
  const first = await started({ dir });
  const key = await readFile(join(dir, 'key.pem'), 'utf8');
  await first.stop();
  expect(await identify(first.pid)).toBeUndefined();

  const second = await started({ dir });
  expect(second.directoryUrl).toBe(first.directoryUrl);
  expect(second.caPem).toBe(first.caPem);
  expect(await readFile(join(dir, 'key.pem'), 'utf8')).toBe(key);
  await json(second.directoryUrl, first.caPem);
});

test('the key is for the eyes of its user only', async () => {
  const dir = await folder();
  await started({ dir });
  expect((await stat(join(dir, 'key.pem'))).mode & 0o077).toBe(0);
});

test('a remembered port that is taken is named in a sentence', async () => {
  const dir = await folder();
  const port = await freePort();
  await writeFile(join(dir, 'port'), String(port));
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => squatter.close(resolve)));
  await expect(started({ dir })).rejects.toThrow(
    `Pebble cannot listen on 127.0.0.1:${String(port)}`,
  );
});

test('a killed owner takes Pebble along, and the next start has its port', async () => {
  const dir = await folder();
  const options = { dir, httpPort: await freePort() };
  const owned = await startedElsewhere('pebble', 'startPebble', options);
  const program = await identify(Number(owned.part['pid']));
  await owned.killOwner();
  await until(async () => program && !(await isRunning(program)), { what: 'Pebble has ended' });

  const next = await started({ dir });
  expect(next.directoryUrl).toBe(owned.part['directoryUrl']);
});

test('what the options say is what the directory offers', async ({ skip }) => {
  const pebble = await started({
    dir: await folder(),
    eab: { 'kid-1': 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W' },
    profiles: { shortlived: { description: 'six days', validityPeriod: 576_000 } },
  });
  if (pebble.version === '2.4') skip('Pebble 2.4 has no profiles');
  expect(await json(pebble.directoryUrl, pebble.caPem)).toMatchObject({
    meta: { externalAccountRequired: true, profiles: { shortlived: 'six days' } },
  });
});

test('PGACME_PEBBLE comes before PATH, and a folder without Pebble is named', async () => {
  const real = await findPebble();
  const named = await findPebble({
    env: { PGACME_PEBBLE: dirname(real.pebble), PATH: '/usr/bin' },
  });
  expect(named).toMatchObject({ pebble: real.pebble, source: 'PGACME_PEBBLE' });

  const empty = await folder();
  const refused = findPebble({ env: { ...process.env, PGACME_PEBBLE: empty } });
  await expect(refused).rejects.toMatchObject({ code: 'ERR_LOCAL_MISSING' });
  await expect(refused).rejects.toThrow(empty);
});

test('another program named pebble in PATH is not taken for it', async () => {
  const real = await findPebble();
  const dir = await folder();
  for (const name of ['other', 'own']) await mkdir(join(dir, name));
  await writeFile(
    join(dir, 'other/pebble'),
    '#!/bin/sh\necho "Pebble lets you control services"\n',
  );
  await chmod(join(dir, 'other/pebble'), 0o755);
  await symlink(real.pebble, join(dir, 'own/pebble'));
  const cache = process.env['XDG_CACHE_HOME'] ?? join(process.env['HOME'] ?? '/', '.cache');

  const path = `${join(dir, 'own')}:/usr/bin:/bin`;
  const fromPath = await findPebble({ env: { PATH: path, XDG_CACHE_HOME: cache } });
  expect(fromPath).toMatchObject({ pebble: join(dir, 'own/pebble'), source: 'PATH' });

  const wrong = `${join(dir, 'other')}:/usr/bin:/bin`;
  const passed = await findPebble({ env: { PATH: wrong, XDG_CACHE_HOME: cache } }).catch(
    (error: unknown) => error,
  );
  expect(passed).not.toMatchObject({ pebble: join(dir, 'other/pebble') });
});

test('the release that Debian has for this machine works too, and says what it is', async ({
  skip,
}) => {
  const binaries = await pebbleOfThisRelease();
  if (binaries === undefined) return skip('apt-get is not on this machine');
  const pebble = await pebbleForTests({ binaries });
  const directory = await json(pebble.directoryUrl, pebble.caPem);
  expect('renewalInfo' in Object(directory)).toBe(pebble.version !== '2.4');
});

test('the DNS server answers what it was told and remembers what it was asked', async () => {
  const { dns } = await pebbleForTests();
  const { Resolver } = await import('node:dns/promises');
  const resolver = new Resolver({ timeout: 2_000, tries: 1 });
  resolver.setServers([dns.dnsServer]);
  expect(await resolver.resolve4('any.example')).toEqual(['127.0.0.1']);
  await dns.setA('other.example', ['127.0.0.9']);
  expect(await resolver.resolve4('other.example')).toEqual(['127.0.0.9']);
  await dns.clearA('other.example');
  expect(await resolver.resolve4('other.example')).toEqual(['127.0.0.1']);
  await dns.setServfail('broken.example');
  await expect(resolver.resolve4('broken.example')).rejects.toThrow('ESERVFAIL');
  await dns.clearServfail('broken.example');
  await dns.addTxt('_acme-challenge.a.example', 'value');
  expect(await resolver.resolveTxt('_acme-challenge.a.example')).toEqual([['value']]);
  await dns.clearTxt('_acme-challenge.a.example');

  expect(await dns.dnsHistory('any.example')).toEqual([{ name: 'any.example', type: 1 }]);
  await dns.clearDnsHistory('any.example');
  expect(await dns.dnsHistory('any.example')).toEqual([]);
});
