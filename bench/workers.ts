import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './children.ts';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** Worker processes of the command line, as a user runs them. */
export interface Workers {
  pids: readonly number[];
  stop(): Promise<void>;
}

/** How to run them. */
export interface WorkersOptions {
  count: number;
  databaseUrl: string;
  secretKey: string;
  /** Of each. */
  concurrency: number;
  /** The first one answers http-01 here, for all. */
  httpPort: number;
  /** Where Node writes a CPU profile of each; undefined: none. */
  profileDir: string | undefined;
}

/** Starts them and waits until each has signed in. */
export async function startWorkers(options: WorkersOptions): Promise<Workers> {
  const children: ChildProcess[] = [];
  for (let i = 0; i < options.count; i++) children.push(await startOne(options, i === 0));
  return {
    pids: children.map(({ pid }) => pid ?? 0),
    async stop() {
      await Promise.all(
        children.map(async (child) => {
          const exited = once(child, 'exit');
          child.kill('SIGTERM');
          await exited;
        }),
      );
    },
  };
}

async function startOne(options: WorkersOptions, isFirst: boolean): Promise<ChildProcess> {
  const { profileDir, concurrency, databaseUrl, secretKey, httpPort } = options;
  const flags = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`];
  const own = Object.entries(process.env).filter(([name]) => !/^(PG|DATABASE_URL)/.test(name));
  const child = spawn(process.execPath, [...flags, CLI, 'worker'], {
    env: {
      ...Object.fromEntries(own),
      DATABASE_URL: databaseUrl,
      PGACME_SECRET_KEY: secretKey,
      PGACME_CONCURRENCY: String(concurrency),
      ...(isFirst ? { PGACME_HTTP01_LISTEN: `127.0.0.1:${httpPort}` } : {}),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  endWithUs(child);
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      if (line.includes('"worker started"')) resolve();
      // Level 40 and above: warnings would explain a slow run.
      else if (/"level":[4-6]0/.test(line)) process.stderr.write(`${line}\n`);
    });
    child.once('exit', () => reject(new Error('A worker has ended before it was ready.')));
  });
  return child;
}
