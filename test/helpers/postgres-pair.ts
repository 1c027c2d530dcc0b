import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { onTestFinished } from 'vitest';
import { type LocalPostgres, startPostgres } from '../../src/local/postgres.ts';
import { lastLine, run } from '../../src/local/run.ts';
import { familyOf } from '../cli/family.ts';
import { databaseOn } from './own-database.ts';
import type { FreshDatabase } from './postgres.ts';
import { testFolder } from './sweep.ts';
import { until } from './until.ts';

/** A PostgreSQL and its hot standby, both real, joined by streaming replication. */
export interface PostgresPair {
  /** A new database there, not migrated; its URLs name both hosts, the primary first. */
  database(): Promise<FreshDatabase>;
  /** A URL of `database()` with its hosts the other way round. */
  standbyFirst: (url: string) => string;
  /** Waits until the standby has replayed everything that the primary has committed so far. */
  caughtUp(): Promise<void>;
  /** From now on the standby gets nothing more; the primary does not notice. */
  cutStandby(): Promise<void>;
  /** SIGKILL for the primary's postmaster and all of its children at once. */
  killPrimary(): Promise<void>;
  /** Makes the standby a primary, and waits until it is. */
  promote(): Promise<void>;
}

const WAIT_MS = 120_000;
/** The standby's name in synchronous_standby_names. */
const STANDBY = 'standby';

/**
 * Starts both for this test, of the same programs as the run's. The standby begins as a copy of the
 * primary's files, taken while that one was stopped, which needs no pg_basebackup. `isSynchronous`: a
 * commit waits for the standby, unless it asked not to wait for the disk either.
 */
export async function startPostgresPair(options: {
  isSynchronous: boolean;
  settings?: Record<string, string>;
}): Promise<PostgresPair> {
  const bin = process.env['PGACME_TEST_PG_BIN'];
  const programs = bin === undefined || bin === '' ? {} : { postgresBin: bin };
  const settings = { fsync: 'off', full_page_writes: 'off', max_connections: '100' };
  const first = { dir: await testFolder('primary'), persistent: true, settings, ...programs };
  const second = { dir: await testFolder(STANDBY), persistent: true, settings, ...programs };
  const servers: LocalPostgres[] = [];
  onTestFinished(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await Promise.all([first, second].map(({ dir }) => rm(dir, { recursive: true, force: true })));
  });

  const made = await startPostgres(first);
  const { port } = made;
  await made.stop();
  const password = (await readFile(join(first.dir, 'password'), 'utf8')).trim();
  await copyFiles(first.dir, second.dir, { port, password });
  const standby = await startPostgres(second);
  servers.push(standby);
  const primary = await startPostgres({
    ...first,
    port,
    settings: {
      ...settings,
      ...options.settings,
      // Here only: the standby, once promoted, has nobody to wait for.
      ...(options.isSynchronous ? { synchronous_standby_names: STANDBY } : {}),
    },
  });
  servers.push(primary);

  const pools = [standby, primary].map(({ url }) =>
    postgres(url, { max: 1, onnotice: () => undefined }),
  );
  const [atStandby, atPrimary] = pools;
  if (atStandby === undefined || atPrimary === undefined) throw new Error('There are two servers.');
  onTestFinished(async () => {
    await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })));
  });
  await until(
    async () => {
      const [row] = await atPrimary<{ sync_state: string }[]>`
        select sync_state from pg_stat_replication where application_name = ${STANDBY} and state = 'streaming'`;
      return row?.sync_state === (options.isSynchronous ? 'sync' : 'async');
    },
    { what: 'the standby streams', timeoutMs: WAIT_MS },
  );

  const hosts = [port, standby.port].map((one) => `127.0.0.1:${one}`);
  return {
    database: () => databaseOn({ hosts: hosts.join(), password }),
    standbyFirst: (url) => url.replace(hosts.join(), hosts.toReversed().join()),
    async caughtUp() {
      // A commit that did not wait for the disk stands in the log, and is not sent before it is flushed.
      const [row] = await atPrimary<[{ lsn: string }]>`select pg_current_wal_insert_lsn() as lsn`;
      await until(
        async () => {
          const [seen] = await atStandby<[{ is_there: boolean }]>`
            select pg_last_wal_replay_lsn() >= ${row.lsn}::pg_lsn as is_there`;
          return seen.is_there;
        },
        { what: 'the standby has caught up', timeoutMs: WAIT_MS },
      );
    },
    async cutStandby() {
      await atStandby`alter system set primary_conninfo = ''`;
      await atStandby`select pg_reload_conf()`;
      await until(async () => (await atStandby`select from pg_stat_wal_receiver`).length === 0, {
        what: 'the standby receives no more',
        timeoutMs: WAIT_MS,
      });
    },
    async killPrimary() {
      const family = await familyOf(primary.pid);
      for (const { pid } of family) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It saw that the postmaster is gone, and went first.
        }
      }
      await primary.stop();
    },
    async promote() {
      const [row] = await atStandby<
        [{ is_done: boolean }]
      >`select pg_promote(true, 120) as is_done`;
      if (!row.is_done) throw new Error('The standby was not promoted within 120 s.');
    },
  };
}

/** The primary's files for the standby, which then follows it. Kept for whoever owns them: PostgreSQL's user. */
async function copyFiles(
  from: string,
  to: string,
  primary: { port: number; password: string },
): Promise<void> {
  const parts = ['data', 'password', 'initialised'].map((name) => join(from, name));
  const copied = await run('cp', ['-a', ...parts, to], { timeoutMs: WAIT_MS });
  if (copied.code !== 0) throw new Error(`The copy was not made: ${lastLine(copied)}`);
  const data = join(to, 'data');
  const info = `host=127.0.0.1 port=${primary.port} user=postgres password=${primary.password} application_name=${STANDBY}`;
  await appendFile(join(data, 'postgresql.auto.conf'), `primary_conninfo = '${info}'\n`);
  await writeFile(join(data, 'standby.signal'), '');
}
