import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../../helpers/until.ts';

/** How a command ended, and what it printed on both streams as it came. */
export interface Ran {
  output: string;
  code: number | null;
}

interface Background {
  title: string;
  pid: number;
  toTheEnd: boolean;
  /** undefined while it runs. */
  code: () => number | null | undefined;
}

/** Runs a document's sh blocks in one folder; what one exports, the next ones have. */
export class Shell {
  readonly #dir: string;
  #env: Record<string, string>;
  #background: Background[] = [];

  constructor(dir: string, env: Record<string, string>) {
    this.#dir = dir;
    this.#env = env;
  }

  /** Runs a block, stopped at its first error. */
  async run(text: string): Promise<Ran> {
    const file = join(this.#dir, '.environment');
    const child = spawn('bash', ['-e', '-c', `${text}\nenv -0 > .environment`], {
      cwd: this.#dir,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => (output += part));
    }
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (code === 0) this.#env = parse(await readFile(file, 'utf8'));
    return { output, code };
  }

  /** Leaves one command running, to the end or until a stop; returns what it printed until it printed `ready`. */
  async background(text: string, ready: string, toTheEnd: boolean): Promise<string> {
    // A single simple command replaces bash, so that a signal reaches it.
    const child = spawn('bash', ['-c', text], {
      cwd: this.#dir,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let code: number | null | undefined;
    child.once('close', (is) => (code = is));
    this.#background.push({ title: text, pid: child.pid ?? 0, toTheEnd, code: () => code });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => (output += part));
    }
    await until(
      () => {
        if (code !== undefined) return true;
        if (output.includes(ready)) return true;
        throw new Error(output);
      },
      { what: `${text} prints ${ready}`, timeoutMs: 60_000 },
    );
    if (code !== undefined) throw new Error(`${text} ended with ${String(code)}:\n${output}`);
    return output;
  }

  /**
   * Ends with SIGTERM what was left running, `all` of it or what is not left to the end; a pgacme that does not
   * exit with 0 then is a failure.
   */
  async stop(all: boolean): Promise<void> {
    const ended = this.#background.filter(({ toTheEnd }) => all || !toTheEnd);
    this.#background = this.#background.filter((each) => !ended.includes(each));
    for (const { pid, code } of ended) if (code() === undefined) process.kill(pid, 'SIGTERM');
    for (const { title, code, pid } of ended) {
      await until(() => code() !== undefined, { what: `${title} ends`, timeoutMs: 20_000 }).catch(
        (error: unknown) => {
          process.kill(pid, 'SIGKILL');
          throw error;
        },
      );
      if (code() !== 0 && title.includes('pgacme ')) {
        throw new Error(`${title} ended with ${String(code())} after SIGTERM.`);
      }
    }
  }
}

function parse(environment: string): Record<string, string> {
  const pairs = environment.split('\0').filter((pair) => pair !== '');
  return Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
}
