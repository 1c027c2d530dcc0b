import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** What a short command printed and how it ended; `code` is null when a signal ended it. */
export interface RunResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Where, as whom and with what a command runs; `cwd` defaults to `/`, which every user may enter. */
export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  uid?: number;
  gid?: number;
  timeoutMs?: number;
}

/** Runs a command to its end and collects its output; one that cannot start has code 127. */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  return new Promise((resolve) => {
    const { timeoutMs, ...rest } = options;
    const child = spawn(command, args, {
      cwd: '/',
      ...rest,
      ...(timeoutMs === undefined ? {} : { timeout: timeoutMs, killSignal: 'SIGKILL' }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', (error) => {
      resolve({ code: 127, stdout, stderr: error.message });
    });
    child.once('close', (code) => {
      resolve({ code, stdout, stderr });
    });
  });
}

/** The last non-empty line a command wrote to stderr (else stdout): the one that tells why. */
export function lastLine(result: RunResult): string {
  const text = result.stderr.trim() || result.stdout.trim();
  return text.slice(text.lastIndexOf('\n') + 1).trim() || `exit code ${String(result.code)}`;
}

/** The full path of a program in `PATH`, else undefined. */
export async function which(name: string, path = process.env['PATH']): Promise<string | undefined> {
  for (const folder of (path ?? '').split(delimiter)) {
    if (folder === '') continue;
    const file = join(folder, name);
    if (await isExecutable(file)) return file;
  }
  return undefined;
}

/** Whether this process may run the file. */
export async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
