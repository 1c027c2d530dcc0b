import { rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { lastLine, run } from '../../src/local/run.ts';
import { testFolder } from './sweep.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Builds pgacme as it was at a commit, with the libraries of today, and returns the path of its command
 * line; where the history is not there (a tarball, a shallow clone), the reason.
 */
export async function oldVersion(commit: string): Promise<{ cli: string } | { reason: string }> {
  const known = await run('git', ['-C', ROOT, 'cat-file', '-e', `${commit}^{commit}`]);
  if (known.code !== 0) {
    return { reason: `the commit ${commit} is not in this checkout (${lastLine(known)})` };
  }
  const dir = await testFolder('old-version');
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const archive = join(dir, 'archive.tar');
  await succeed('git', ['-C', ROOT, 'archive', '--format=tar', '-o', archive, commit]);
  await succeed('tar', ['-xf', archive, '-C', dir]);
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  await succeed(process.execPath, [compiler, '-p', join(dir, 'tsconfig.build.json')]);
  return { cli: join(dir, 'dist/cli.js') };
}

async function succeed(program: string, args: string[]): Promise<void> {
  const result = await run(program, args, { timeoutMs: 240_000 });
  if (result.code === 0) return;
  throw new Error(`${program} ${args.join(' ')} failed: ${result.stdout}${result.stderr}`);
}
