import { execFile } from 'node:child_process';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { testFolder } from '../helpers/sweep.ts';

const ROOT = join(import.meta.dirname, '../..');

test('docs/api is what the comments of src/acme say', async () => {
  const out = await testFolder('api');
  onTestFinished(() => rm(out, { recursive: true, force: true }));
  const typedoc = join(ROOT, 'node_modules/typedoc/bin/typedoc');
  await promisify(execFile)(process.execPath, [typedoc, '--out', out], { cwd: ROOT });
  expect(
    await texts(out),
    'docs/api is not what src/acme says; write it anew with npm run docs:api.',
  ).toEqual(await texts(join(ROOT, 'docs/api')));
}, 180_000);

async function texts(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder, { recursive: true })).sort();
  const files = names.filter((name) => name.endsWith('.md'));
  const pairs = files.map(async (name) => [name, await readFile(join(folder, name), 'utf8')]);
  return Object.fromEntries(await Promise.all(pairs)) as Record<string, string>;
}
