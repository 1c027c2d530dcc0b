import { expect, test } from 'vitest';
import type { PgacmeError } from '../../src/errors.ts';
import { findPgbouncer, type Pgbouncer, startPgbouncer } from '../helpers/pgbouncer.ts';
import { type PgacmeProcess, spawnPgacme } from '../helpers/process.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';

const WAIT_MS = 120_000;

interface Pooled {
  world: World & { pebble: { httpPort: number } };
  pooler: Pgbouncer;
  direct: string;
}

async function pooledWorld(skip: (reason: string) => never): Promise<Pooled> {
  const world = await pebbleWorld();
  const { url: direct } = await world.database.login('acme_worker');
  const program = await findPgbouncer();
  if (program === undefined) {
    process.stdout.write('Tests with pgbouncer are skipped: it is not installed here.\n');
    return skip('pgbouncer is not installed');
  }
  return { world, pooler: await startPgbouncer(program, direct), direct };
}

function spawnWorker({ world, pooler }: Pooled, env: Record<string, string>): PgacmeProcess {
  return spawnPgacme(['worker'], {
    DATABASE_URL: pooler.url,
    PGACME_SECRET_KEY: world.secretKey,
    PGACME_HTTP01_LISTEN: `127.0.0.1:${world.pebble.httpPort}`,
    ...env,
  });
}

test('behind pgbouncer in transaction mode, with PGACME_LISTEN_URL, a worker issues, renews, and outlives a restart of pgbouncer', async ({
  skip,
}) => {
  const pooled = await pooledWorld(skip);
  const { world, pooler, direct } = pooled;
  const worker = spawnWorker(pooled, { PGACME_LISTEN_URL: direct });
  await worker.waitForLine(/"msg":"worker started"/, WAIT_MS);
  const csrs: string[] = [];
  for (let i = 0; i < 6; i++) csrs.push(await world.insert({ names: [freshName()] }));
  for (const csr of csrs) await world.reach(csr, 'issued', WAIT_MS);

  await pooler.restart();
  const [renewed = ''] = csrs;
  await world.sql`select acme.renew(${renewed})`;
  await until(
    async () => {
      const rows = await world.sql`select from acme.certificate where csr_id = ${renewed}`;
      return rows.length === 2;
    },
    { what: 'it is renewed', timeoutMs: WAIT_MS },
  );
  const later = await world.insert({ names: [freshName()] });
  await world.reach(later, 'issued', WAIT_MS);
  const jobs = await world.sql`select from acme_worker.jobs where last_error like '%prepared%'`;
  expect(jobs).toHaveLength(0);
  // The lock's connection does not lead through the pooler, so it was never lost.
  expect(worker.lines.join('\n')).not.toContain('lost its lock');
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  const states = await world.sql<{ state: string }[]>`select state from acme.worker_status`;
  expect(states.map(({ state }) => state)).toEqual(['stopped']);
}, 600_000);

test('without PGACME_LISTEN_URL, or with one that is pooled too, a worker does not start and says why', async ({
  skip,
}) => {
  const pooled = await pooledWorld(skip);
  const sentence = 'leads through a pooler in transaction mode';
  for (const [env, culprit] of [
    [{}, 'DATABASE_URL'],
    [{ PGACME_LISTEN_URL: pooled.pooler.url }, 'PGACME_LISTEN_URL'],
  ] as const) {
    const worker = spawnWorker(pooled, env);
    expect(await worker.exited).toEqual({ code: 1, signal: null });
    expect(worker.lines.at(-1)).toContain(`${culprit} ${sentence}`);
  }
  expect(await pooled.world.sql`select from acme.worker_status`).toHaveLength(0);
}, 300_000);

test.each(['transaction', 'session'] as const)(
  'behind pgbouncer in %s mode a worker that cannot set what it needs does not start, names the statements, and starts after those',
  async (mode) => {
    const world = await faultyWorld();
    const { url: direct } = await world.database.login('acme_worker');
    const program = await findPgbouncer();
    if (program === undefined) {
      process.stdout.write('Tests with pgbouncer are skipped: it is not installed here.\n');
      return;
    }
    const login = new URL(direct).username;
    await world.sql.unsafe(
      `alter role ${login} set default_transaction_isolation = 'serializable';
       alter role ${login} set default_transaction_read_only = 'on'`,
    );
    const pooler = await startPgbouncer(program, direct, mode);
    const urls = {
      databaseUrl: pooler.url,
      ...(mode === 'transaction' ? { listenUrl: direct } : {}),
    };
    const refused = await world.worker(urls).then(
      () => undefined,
      (error: unknown) => error as PgacmeError,
    );
    expect(refused?.code).toBe('ERR_SETTINGS');
    expect(refused?.message).toContain(
      'default_transaction_isolation is serializable, default_transaction_read_only is on',
    );
    const statements = refused?.message.match(/alter role .*?;/g) ?? [];
    expect(statements).toHaveLength(2);
    expect(await world.sql`select from acme.worker_status`).toHaveLength(0);
    await world.sql.unsafe(statements.join(' '));
    await pooler.restart();
    await world.worker(urls);
    await world.reach(await world.insert({ names: [freshName()] }), 'issued', WAIT_MS);
  },
  300_000,
);
