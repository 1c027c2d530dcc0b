import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { freePort } from '../../src/local/ports.ts';
import { type AcmeServer, startAcmeServer } from '../helpers/acme-server/index.ts';
import { type PgacmeProcess, spawnPgacme } from '../helpers/process.ts';
import { until } from '../helpers/until.ts';
import { freshName, type World, worldWith } from '../helpers/world.ts';
import { cli, linesOf } from './cli.ts';

/** A CA that can be told to stall, and a database that knows it. */
async function stallingWorld(): Promise<{ ca: AcmeServer; world: World; httpPort: number }> {
  const httpPort = await freePort();
  const ca = await startAcmeServer({ httpPort });
  const { directoryUrl, caPem } = ca;
  return { ca, world: await worldWith({ directoryUrl, caPem, httpPort }), httpPort };
}

async function spawnWorker(
  world: World,
  httpPort: number,
  env: Record<string, string> = {},
): Promise<PgacmeProcess> {
  const worker = spawnPgacme(['worker'], {
    DATABASE_URL: (await world.database.login('acme_worker')).url,
    PGACME_SECRET_KEY: world.secretKey,
    PGACME_HTTP01_LISTEN: `127.0.0.1:${httpPort}`,
    PGACME_CONCURRENCY: '2',
    ...env,
  });
  await worker.waitForLine(/"msg":"worker started"/);
  return worker;
}

test('SIGTERM under way: no job loses an attempt, and a second worker finishes each order once', async () => {
  const { ca, world, httpPort } = await stallingWorld();
  try {
    const first = await spawnWorker(world, httpPort);
    // Two jobs at once, each held up in the middle of an order; the others wait in the queue.
    const stalled = ca.on('finalize', { delayMs: 1500, times: Infinity });
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) ids.push(await world.insert({ names: [freshName()] }));
    await until(() => ca.count('finalize') > 0, { what: 'an order is being finalized' });
    expect(await first.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    stalled.remove();

    const held = await world.sql`
      select 'order' from acme_private."order" where lease_token is not null
      union all
      select 'authorization' from acme_private.authorization where lease_token is not null
      union all
      select 'account' from acme_private.account_state where lease_token is not null`;
    expect(held).toHaveLength(0);
    const jobs = await world.sql<
      { attempts: number; last_error: string | null; locked_by: string | null }[]
    >`
      select attempts, last_error, locked_by from acme_worker.jobs`;
    expect(jobs.length).toBeGreaterThan(0);
    for (const job of jobs) expect(job).toEqual({ attempts: 0, last_error: null, locked_by: null });
    const before = await Promise.all(ids.map(async (id) => (await world.status(id)).state));
    expect(before).toContain('ordering');
    const [stopped] = await world.sql<{ state: string }[]>`select state from acme.worker_status`;
    expect(stopped?.state).toBe('stopped');

    const second = await spawnWorker(world, httpPort);
    for (const id of ids) await world.reach(id, 'issued');
    expect(await second.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    const certificates = await world.sql<{ csr_id: string; count: number }[]>`
      select csr_id::text, count(*)::int as count from acme.certificate group by 1 order by 1`;
    expect(certificates).toEqual(ids.map((csr_id) => ({ csr_id, count: 1 })));
    expect(ca.store.orders.size).toBe(ids.length);
    const left =
      await world.sql`select from acme_worker.jobs where attempts > 0 or last_error is not null`;
    expect(left).toHaveLength(0);
    for (const line of [...first.lines, ...second.lines]) {
      expect(JSON.parse(line)).toHaveProperty('level');
      expect(line).not.toContain(world.secretKey);
    }
  } finally {
    await ca.stop();
  }
});

test('SIGINT at rest ends it with 0; its rows and log say so', async () => {
  const { ca, world, httpPort } = await stallingWorld();
  try {
    const worker = await spawnWorker(world, httpPort);
    expect(await worker.kill('SIGINT')).toEqual({ code: 0, signal: null });
    expect(JSON.parse(worker.lines.at(-1) ?? '')).toMatchObject({ msg: 'worker stopped' });
    const connections = await world.sql`
      select from pg_stat_activity
       where datname = current_database() and application_name like 'pgacme%'`;
    expect(connections).toHaveLength(0);
  } finally {
    await ca.stop();
  }
});

test('a second signal ends it at once, whatever is under way', async () => {
  const { ca, world, httpPort } = await stallingWorld();
  try {
    const worker = await spawnWorker(world, httpPort);
    ca.on('newOrder', { nothing: true, times: Infinity });
    await world.insert({ names: [freshName()] });
    await until(() => ca.count('newOrder') > 0, { what: 'the order is being made' });
    const exit = worker.kill('SIGTERM');
    // npm doubles a Ctrl-C: what comes within half a second of the first is the same wish. Another
    // signal, since two equal ones may arrive as one.
    process.kill(worker.pid, 'SIGINT');
    const sentAt = performance.now();
    await until(() => performance.now() - sentAt > 700, { what: 'half a second is over' });
    process.kill(worker.pid, 'SIGTERM');
    expect(await exit).toEqual({ code: null, signal: 'SIGTERM' });
  } finally {
    await ca.stop();
  }
});

test('a port for http-01 that is taken is a sentence', async () => {
  const { ca, world } = await stallingWorld();
  const squatter = createServer();
  const port = await new Promise<number>((resolve) => {
    squatter.listen(0, '127.0.0.1', () => resolve((squatter.address() as { port: number }).port));
  });
  try {
    const { code, stdout, stderr } = await cli(['worker'], {
      DATABASE_URL: world.database.url,
      PGACME_SECRET_KEY: world.secretKey,
      PGACME_HTTP01_LISTEN: `127.0.0.1:${port}`,
    });
    expect({ code, stdout, lines: linesOf(stderr).length }).toEqual({
      code: 1,
      stdout: '',
      lines: 1,
    });
    expect(stderr).toContain(`http-01 cannot be answered on 127.0.0.1:${port} (EADDRINUSE)`);
  } finally {
    squatter.close();
    await ca.stop();
  }
});
