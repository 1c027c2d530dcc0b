import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { startChallengeTestServer } from '../../src/local/challenge-test-server.ts';
import { images } from '../../src/local/docker.ts';
import { findPebble, startPebble } from '../../src/local/pebble.ts';
import { freePort } from '../../src/local/ports.ts';
import { testFolder } from '../helpers/sweep.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 240_000 });

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/**
 * A machine that has nothing but a program named docker. It understands what we say to it as Docker does, and
 * in the place of a container it runs the real program, with the given variables only: no engine is needed.
 */
async function dockerOnly(engine: 'runs' | 'is away') {
  const real = await findPebble();
  const dir = await testFolder('docker');
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  await mkdir(join(dir, 'bin'));
  const docker = join(dir, 'bin/docker');
  await writeFile(
    docker,
    `#!/bin/sh
PATH=/usr/bin:/bin
echo "$*" >> '${dir}/calls'
case $1 in
  version) [ '${engine}' = runs ] && echo linux || { echo 'Cannot connect to the Docker daemon' >&2; exit 1; } ;;
  image) [ -e '${dir}/pulled' ] && grep -qF "$3" '${dir}/pulled' ;;
  pull) echo "$3" >> '${dir}/pulled' ;;
  run)
    shift
    unset PEBBLE_VA_NOSLEEP
    while :; do
      case $1 in
        --rm | --pull=never | --network=host) shift ;;
        --env) export "$2"; shift 2 ;;
        --mount) echo "$2" >> '${dir}/mounts'; shift 2 ;;
        ${images.pebble}) shift; exec '${real.pebble}' "$@" ;;
        ${images.challtestsrv}) shift; exec '${real.challtestsrv}' "$@" ;;
        *) echo "unknown: $1" >&2; exit 125 ;;
      esac
    done ;;
esac
`,
  );
  await chmod(docker, 0o755);
  vi.stubEnv('PATH', join(dir, 'bin'));
  const env = { PATH: join(dir, 'bin'), XDG_CACHE_HOME: join(dir, 'cache') };
  return { dir, docker, env, read: (name: string) => readFile(join(dir, name), 'utf8') };
}

test('without any other source Pebble runs from its images, pulled once', async () => {
  const { dir, docker, env, read } = await dockerOnly('runs');
  const said: string[] = [];
  const binaries = await findPebble({ env, log: (line) => said.push(line) });
  expect(binaries).toEqual({ ...images, docker, source: 'Docker', version: '2.10' });
  expect(said.filter((line) => line.startsWith('Pulling'))).toEqual([
    'Pulling ghcr.io/letsencrypt/pebble',
    'Pulling ghcr.io/letsencrypt/pebble-challtestsrv',
  ]);
  await findPebble({ env });
  expect((await read('pulled')).trim().split('\n')).toEqual(Object.values(images));

  const dns = await startChallengeTestServer({ binaries });
  cleanups.push(() => dns.stop());
  const folder = join(dir, 'a, "folder"');
  const pebble = await startPebble({
    dir: folder,
    binaries,
    httpPort: await freePort(),
    dnsServer: dns.dnsServer,
    env: { PEBBLE_CHAIN_LENGTH: '2' },
  });
  cleanups.push(() => pebble.stop());
  const calls = await read('calls');
  expect(calls).toContain(`--env PEBBLE_VA_NOSLEEP=1 --env PEBBLE_CHAIN_LENGTH=2 ${images.pebble}`);
  const quoted = folder.replaceAll('"', '""');
  expect(await read('mounts')).toBe(`type=bind,"source=${quoted}","target=${quoted}",readonly\n`);
});

test('an engine that does not answer is told among what was tried', async () => {
  const { env } = await dockerOnly('is away');
  await expect(findPebble({ env })).rejects.toThrow(
    /or start Docker \(.*Docker's engine does not answer.*Cannot connect to the Docker daemon/,
  );
});

test('images are named by digest, so that what runs cannot change', () => {
  for (const image of Object.values(images)) expect(image).toMatch(/@sha256:[0-9a-f]{64}$/);
});
