import { userInfo } from 'node:os';
import { hostsOf } from '../db/steps/hosts.ts';

/** Which database is meant, as far as it may be shown: there is no password here. */
export interface Target {
  host: string;
  port: string;
  database: string;
  user: string;
  /** The variables to look at when it is the wrong one. */
  source: string;
}

/**
 * The database that `DATABASE_URL` or else the PG* variables name, with the defaults that the drivers
 * use; undefined when the URL cannot be read.
 */
export function targetOf(env: NodeJS.ProcessEnv): Target | undefined {
  const url = env['DATABASE_URL'] ?? '';
  const read = url === '' ? undefined : readUrl(url);
  if (url !== '' && read === undefined) return undefined;
  const user = read?.user || env['PGUSER'] || osUser();
  return {
    host: read?.host || env['PGHOST'] || 'localhost',
    port: read?.port || env['PGPORT'] || '5432',
    database: read?.database || env['PGDATABASE'] || user,
    user,
    source: url === '' ? 'the PG* variables' : 'DATABASE_URL',
  };
}

function readUrl(text: string): Omit<Target, 'source'> | undefined {
  try {
    // Of several hosts the first stands for all.
    const url = new URL(hostsOf(text)[0] ?? text);
    // An unescaped / ? or # in the password ends the host early, and the password is taken for host and port.
    if (url.username === '' && text.includes('@')) return undefined;
    // The drivers decode it, and would throw an error that holds the URL.
    decodeURIComponent(url.password);
    return {
      host: decodeURIComponent(url.hostname),
      port: url.port,
      database: decodeURIComponent(url.pathname.slice(1)),
      user: decodeURIComponent(url.username),
    };
  } catch {
    return undefined;
  }
}

function osUser(): string {
  try {
    return userInfo().username;
  } catch {
    return 'postgres';
  }
}
