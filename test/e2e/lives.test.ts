import { expect, test } from 'vitest';
import { hostsOf } from '../../src/db/steps/hosts.ts';
import { makeLogger } from '../../src/log.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

/** The database says that it is of another version, as after somebody's migrate. */
async function setContract({ sql }: World, version: string): Promise<void> {
  await sql.unsafe(`
    create or replace function acme.version() returns text language sql immutable as $$ select '${version}' $$`);
}

test('a worker waits for a database of another version, says so, and begins when it fits', async () => {
  const world = await faultyWorld();
  const [right] = await world.sql<{ version: string }[]>`select acme.version() as version`;
  await setContract(world, '0.0');
  const lines: string[] = [];
  const log = makeLogger('info', { write: (line: string) => void lines.push(line) });
  const worker = await world.worker({ log, deadAfterMs: 500 });
  const csr = await world.insert({ names: [freshName()] });
  expect(worker.id).toBeUndefined();
  expect(lines.join('')).toContain('The database speaks version 0.0');
  expect(await world.status(csr)).toMatchObject({ state: 'received' });
  await setContract(world, right?.version ?? '');
  await world.reach(csr, 'issued', 30_000);

  // Somebody migrates while it works: it hands back and waits again.
  await setContract(world, '9.9');
  await until(() => worker.id === undefined, { what: 'it waits' });
  const next = await world.insert({ names: [freshName()] });
  await setContract(world, right?.version ?? '');
  await world.reach(next, 'issued', 60_000);
});

test('a worker that waits ends when it is told to', async () => {
  const world = await faultyWorld();
  await setContract(world, '0.0');
  const worker = await world.worker();
  await worker.stop();
  expect(worker.id).toBeUndefined();
});

test('a URL of several hosts is one URL for each', () => {
  expect(hostsOf('postgres://u:p%40@a:1,b:2/db?x=1,2')).toEqual([
    'postgres://u:p%40@a:1/db?x=1,2',
    'postgres://u:p%40@b:2/db?x=1,2',
  ]);
  expect(hostsOf('postgres://[::1]:5432/db')).toEqual(['postgres://[::1]:5432/db']);
  expect(hostsOf('postgres:///db')).toEqual(['postgres:///db']);
  expect(hostsOf(undefined)).toEqual([undefined]);
});
