import { spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { claimFolder, isAbandoned } from '../../src/local/claim.ts';
import { identify, isRunning } from '../../src/local/process-identity.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';

const DEAD = { pid: 2 ** 22 - 1, started: 'before the last boot' };
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function folder(): Promise<string> {
  const dir = await testFolder('claim');
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function sleeper() {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  cleanups.push(() => child.kill('SIGKILL'));
  return until(() => identify(child.pid ?? 0), { what: 'sleep runs' });
}

test('of many who want a folder at once exactly one gets it', async () => {
  const dir = await folder();
  await writeFile(join(dir, 'process.json'), JSON.stringify({ owner: DEAD }));
  const tries = await Promise.allSettled(
    Array.from({ length: 8 }, () => claimFolder(dir, 'It', 'SIGTERM')),
  );
  expect(tries.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
});

test('a folder let go of can be taken again', async () => {
  const dir = await folder();
  await (await claimFolder(dir, 'It', 'SIGTERM')).release();
  await (await claimFolder(dir, 'It', 'SIGTERM')).release();
});

test('the program of a dead owner is ended', async () => {
  const dir = await folder();
  const program = await sleeper();
  await writeFile(join(dir, 'process.json'), JSON.stringify({ owner: DEAD, program }));
  expect(await isAbandoned(dir)).toBe(true);
  await claimFolder(dir, 'It', 'SIGTERM');
  expect(await isRunning(program)).toBe(false);
  expect(await isAbandoned(dir)).toBe(false);
});

test('a program that only has the number of a dead one is left alone', async () => {
  const dir = await folder();
  const program = await sleeper();
  const record = { owner: DEAD, program: { ...program, started: 'earlier' } };
  await writeFile(join(dir, 'process.json'), JSON.stringify(record));
  await claimFolder(dir, 'It', 'SIGTERM');
  expect(await isRunning(program)).toBe(true);
});
