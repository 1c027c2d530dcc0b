import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { passwordIn } from './password-file.ts';
import type { Target } from './target.ts';

/**
 * The URL as the drivers take it: with the password that stands in a password file (`passfile` of the URL,
 * PGPASSFILE, else ~/.pgpass) where it has none, and without `passfile`, which only libpq knows.
 */
export function withStoredPassword(
  url: string,
  target: Target,
  env: NodeJS.ProcessEnv,
  problems: string[],
): string {
  const { rest, file } = withoutPassfile(url);
  const [, scheme = '', login = '', after = ''] =
    /^([^:]+:\/\/)(?:([^@/?#]*)@)?(.*)$/s.exec(rest) ?? [];
  const [user, password = ''] = login.split(':');
  if (password !== '') return rest;
  const stored = storedPassword(file, target, env, problems);
  if (stored === undefined) return rest;
  const name = user === '' || user === undefined ? encodeURIComponent(target.user) : user;
  return `${scheme}${name}:${encodeURIComponent(stored)}@${after}`;
}

/** undefined: there is one in the environment, or none anywhere. */
export function storedPassword(
  file: string | undefined,
  target: Target,
  env: NodeJS.ProcessEnv,
  problems: string[],
): string | undefined {
  if (env['PGPASSWORD']) return undefined;
  const named = file || env['PGPASSFILE'];
  const path = named || join(homedir(), '.pgpass');
  try {
    // As libpq: what others may read is not taken.
    if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0) {
      if (named) {
        problems.push(`The password file ${path} can be read by others; run: chmod 600 ${path}`);
      }
      return undefined;
    }
    return passwordIn(readFileSync(path, 'utf8'), target);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    if (named) problems.push(`The password file ${path} cannot be read (${code}).`);
    return undefined;
  }
}

function withoutPassfile(url: string): { rest: string; file: string | undefined } {
  const at = url.indexOf('?');
  if (at === -1) return { rest: url, file: undefined };
  const query = new URLSearchParams(url.slice(at + 1));
  const file = query.get('passfile') ?? undefined;
  if (file === undefined) return { rest: url, file };
  query.delete('passfile');
  const others = query.toString().replaceAll('+', '%20');
  return { rest: `${url.slice(0, at)}${others === '' ? '' : `?${others}`}`, file };
}
