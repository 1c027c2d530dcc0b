import { spawn } from 'node:child_process';
import { findPsql } from '../../src/local/psql.ts';

/** What psql printed and how it ended: 0, 3 for an error in the script, 2 without a connection. */
export interface PsqlResult {
  stdout: string;
  stderr: string;
  code: number | null;
}

let found: ReturnType<typeof findPsql> | undefined;

/**
 * Runs the real psql with the script on its standard input, without anyone's .psqlrc, and stops at the
 * first error. `role` is set before the script, as `set role` does; `args` are psql's own.
 */
export async function psql(
  url: string,
  script: string,
  options: { role?: string; args?: readonly string[] } = {},
): Promise<PsqlResult> {
  found ??= findPsql();
  const { psql: program, env } = await found;
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('PG'));
  const child = spawn(
    program,
    ['-X', '-v', 'ON_ERROR_STOP=1', ...(options.args ?? []), '-d', url, '-f', '-'],
    {
      env: {
        ...Object.fromEntries(clean),
        ...env,
        LC_ALL: 'C.UTF-8',
        PGCLIENTENCODING: 'UTF8',
        ...(options.role === undefined ? {} : { PGOPTIONS: `-c role=${options.role}` }),
      },
      stdio: 'pipe',
    },
  );
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // It may end before it has read everything.
  child.stdin.on('error', () => undefined);
  child.stdin.end(script);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ stdout, stderr, code });
    });
  });
}
