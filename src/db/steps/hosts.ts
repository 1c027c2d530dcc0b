import { connect } from './connect.ts';
import { POOLED } from './settings.ts';

const ANSWER_MS = 10_000;

/**
 * The URLs of one host each that a URL of several hosts stands for, in its order
 * (`postgres://user@a:5432,b:5433/db`, as libpq has it). undefined and a single host: themselves.
 */
export function hostsOf(url: string | undefined): (string | undefined)[] {
  const parts = url === undefined ? null : /^([^:]+:\/\/(?:[^@/?#]*@)?)([^/?#]*)(.*)$/s.exec(url);
  if (parts === null) return [url];
  const [, before = '', hosts = '', after = ''] = parts;
  return hosts.split(',').map((host) => `${before}${host}${after}`);
}

/**
 * The URL of the first host that takes writes: after a fail-over, the standby that was promoted. A
 * single host is not asked.
 *
 * @throws the last host's error, or one that says that all of them are standbys.
 */
export async function primaryOf(url: string | undefined): Promise<string | undefined> {
  const hosts = hostsOf(url);
  if (hosts.length === 1) return hosts[0];
  let last = new Error('Every host of DATABASE_URL is a standby; promote one.');
  for (const host of hosts) {
    const sql = connect({
      databaseUrl: host,
      name: 'pgacme',
      max: 1,
      isLasting: true,
      // It may lead through a pooler of any kind, and only looks.
      settings: POOLED,
      answerMs: ANSWER_MS,
    });
    try {
      const [row] = await sql<{ isStandby: boolean }[]>`select pg_is_in_recovery() as "isStandby"`;
      if (row?.isStandby === false) return host;
    } catch (error) {
      if (error instanceof Error) last = error;
    } finally {
      await sql.end({ timeout: 1 }).catch(() => undefined);
    }
  }
  throw last;
}
