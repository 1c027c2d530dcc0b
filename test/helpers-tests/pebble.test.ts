import { dirname } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { newestPebble, pebbleForTests, pebbleOfThisRelease } from '../helpers/pebble.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

test('where accounts are bound, and where the newest is asked for, Pebble is 2.10 though an older one is named', async () => {
  const old = await pebbleOfThisRelease();
  if (old === undefined) throw new Error('There is no apt-get to fetch this Pebble with.');
  vi.stubEnv('PGACME_PEBBLE', dirname(old.pebble));
  expect((await newestPebble()).version).toBe('2.10');
  const mac = Buffer.alloc(32, 7).toString('base64url');
  expect((await pebbleForTests({ eab: { 'kid-1': mac } })).version).toBe('2.10');
  expect((await pebbleForTests()).version).toBe(old.version);
}, 120_000);
