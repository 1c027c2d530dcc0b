import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { cachedDebian, fetchDebian } from '../../src/local/debian.ts';
import { isExecutable, which } from '../../src/local/run.ts';
import { testFolder } from '../helpers/sweep.ts';

// The lists of a whole suite are loaded: a slow network or processor takes its time.
vi.setConfig({ testTimeout: 240_000 });

const hasApt = (await which('apt-get')) !== undefined;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function cache(): Promise<NodeJS.ProcessEnv> {
  const dir = await testFolder('cache');
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return { XDG_CACHE_HOME: dir };
}

test('two fetches at once leave one folder, complete, and nothing else', async ({ skip }) => {
  if (!hasApt) skip('apt-get is not on this machine');
  const env = await cache();
  const both = await Promise.all([
    fetchDebian({ name: 'pebble', suite: 'sid', env }),
    fetchDebian({ name: 'pebble', suite: 'sid', env }),
  ]);
  expect(both[0]).toEqual(both[1]);
  expect(await isExecutable(join(both[0].root, 'usr/bin/pebble'))).toBe(true);
  expect(await cachedDebian(/pebble/, env)).toEqual([both[0]]);
  expect(await readdir(join(both[0].root, '..'))).toHaveLength(1);
});

test('a suite that no archive has is refused with the reason of apt, and leaves nothing', async ({
  skip,
}) => {
  if (!hasApt) skip('apt-get is not on this machine');
  const env = await cache();
  const refused = fetchDebian({ name: 'pebble', suite: 'no-such-suite', env });
  await expect(refused).rejects.toMatchObject({ code: 'ERR_LOCAL_FETCH' });
  await expect(refused).rejects.toThrow(/no-such-suite.*Release/);
  expect(await readdir(join(String(env['XDG_CACHE_HOME']), 'pgacme/debian'))).toEqual([]);
});
