import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { until } from './until.ts';

/** How a process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A running pgacme. */
export interface PgacmeProcess {
  readonly pid: number;
  /** Every line so far, of stdout and stderr as they came. */
  readonly lines: readonly string[];
  /** Settles when it has ended and all of its output was read. */
  readonly exited: Promise<Exit>;
  /** Waits for a line (also one that came before); fails when the process ends without it. */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Sends a signal and waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
}

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
// How the developer's own pgacme and databases are set up is none of a test's business.
const FOREIGN = /^(PGACME_(?!PEBBLE$)|PG|DATABASE_URL$)/;
const running = new Set<PgacmeProcess>();

afterAll(async () => {
  await Promise.all([...running].map((process) => process.kill('SIGKILL')));
});

/** Runs the built command line, `node dist/cli.js …`, ended after the test file at the latest. */
export function spawnPgacme(
  args: readonly string[],
  env: Record<string, string> = {},
  options: { cwd?: string } = {},
): PgacmeProcess {
  return spawnNode([CLI, ...args], env, options);
}

/** Runs a program of Node's that uses what `npm run build` made; ended after the test file at the latest. */
export function spawnNode(
  args: readonly string[],
  env: Record<string, string> = {},
  options: { cwd?: string } = {},
): PgacmeProcess {
  if (!existsSync(CLI)) throw new Error(`${CLI} is not built; run npm run build first.`);
  const own = Object.entries(process.env).filter(([name]) => !FOREIGN.test(name));
  const child = spawn(process.execPath, args, {
    env: { ...Object.fromEntries(own), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => lines.push(line));
  }
  let exit: Exit | undefined;
  const exited = new Promise<Exit>((resolve) => {
    child.once('close', (code, signal) => {
      exit = { code, signal };
      running.delete(handle);
      resolve(exit);
    });
  });
  const handle: PgacmeProcess = {
    pid: child.pid ?? 0,
    lines,
    exited,
    async waitForLine(pattern, timeoutMs = 20_000) {
      const find = () => {
        for (const line of lines) {
          const match = pattern.exec(line);
          if (match) return match;
        }
        return undefined;
      };
      const what = `node ${args.join(' ')} prints ${String(pattern)}`;
      const match = await until(() => find() ?? exit, { timeoutMs, what }).catch(
        (error: unknown) => {
          throw new Error(`${String(error)} Its output:\n${lines.join('\n')}`, { cause: error });
        },
      );
      if (Array.isArray(match)) return match;
      const how = `code ${String(exit?.code)}, signal ${String(exit?.signal)}`;
      throw new Error(`It ended (${how}) before ${what}. Its output:\n${lines.join('\n')}`);
    },
    kill(signal = 'SIGTERM') {
      if (exit === undefined) child.kill(signal);
      return exited;
    },
  };
  running.add(handle);
  return handle;
}
