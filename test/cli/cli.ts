import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { run, type RunResult } from '../../src/local/run.ts';

/** The built command line. */
export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
// How the developer's own pgacme and databases are set up is none of a test's business.
const FOREIGN = /^(PGACME_(?!PEBBLE$)|PG|DATABASE_URL$)/;

/** Runs the built command line to its end; stdout and stderr apart. */
export function cli(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = '/',
): Promise<RunResult> {
  if (!existsSync(CLI)) throw new Error(`${CLI} is not built; run npm run build first.`);
  return run(process.execPath, [CLI, ...args], { cwd, env: cliEnv(env), timeoutMs: 120_000 });
}

/** The environment of a command: nothing of pgacme and PostgreSQL but what is given. */
export function cliEnv(env: Record<string, string>): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !FOREIGN.test(name));
  return { ...Object.fromEntries(own), ...env };
}

/** The lines of a text, without the empty one after the last line break. */
export function linesOf(text: string): string[] {
  return text.replace(/\n$/, '').split('\n');
}
