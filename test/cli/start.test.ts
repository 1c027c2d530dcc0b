import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, cp, readdir, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { testFolder } from '../helpers/sweep.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A checkout as git has it, with what `npm ci` installs. */
async function checkout(): Promise<string> {
  const dir = await testFolder('start');
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  for (const part of ['src', 'sql', 'package.json', 'tsconfig.json', 'tsconfig.build.json']) {
    await cp(join(ROOT, part), join(dir, part), { recursive: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  return dir;
}

/** Runs `npm SCRIPT -- --help`: all of it but the servers. `isBuilt` is how it was when it first said something. */
async function help(script: string, dir: string) {
  const child = spawn('npm', ['run', script, '--', '--help'], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  let isBuilt: boolean | undefined;
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    output += part;
    if (!/^Building what has changed/m.test(output)) return;
    isBuilt ??= existsSync(join(dir, 'dist/cli.js'));
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  return { code, isBuilt, output };
}

/** The program files below dist, and when each was written. */
async function written(dir: string): Promise<Map<string, number>> {
  const files = await readdir(join(dir, 'dist'), { recursive: true });
  const times = new Map<string, number>();
  for (const file of files.filter((name) => name.endsWith('.js'))) {
    times.set(file, (await stat(join(dir, 'dist', file))).mtimeMs);
  }
  return times;
}

test('npm start and npm run sandbox say what they do before they build, and build only what has changed', async () => {
  const dir = await checkout();
  const first = await help('start', dir);
  expect(first).toMatchObject({ code: 0, isBuilt: false });
  expect(first.output).toMatch(/^Building .* then starting PostgreSQL, a test CA and a worker/m);
  expect(first.output).toContain('Usage: pgacme quickstart');
  const before = await written(dir);

  const other = await help('sandbox', dir);
  expect(other.code).toBe(0);
  expect(other.output).toMatch(/^Building .* then starting PostgreSQL and a test CA on this/m);
  expect(other.output).toContain('Usage: pgacme sandbox');
  expect(await written(dir)).toEqual(before);

  await appendFile(join(dir, 'src/quickstart/show.ts'), '\nexport const added = 1;\n');
  expect(await help('start', dir)).toMatchObject({ code: 0 });
  const after = await written(dir);
  const changed = [...after.keys()].filter((file) => after.get(file) !== before.get(file));
  expect(changed).toEqual(['quickstart/show.js']);
});
