import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { QueuePool } from '../../src/worker/queue-pool.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { until } from '../helpers/until.ts';

let shop: Shop;
beforeAll(async () => {
  shop = await openShop();
});
const pools: QueuePool[] = [];
afterAll(() => Promise.all(pools.map((pool) => pool.end())));

test('a login that holds every advisory lock keeps no worker from signing in, and migrate from running', async () => {
  const stranger = await shop.database.as('acme_app', { login: 'stranger', max: 1 });
  const [next] = await shop.sql<[{ id: number }]>`
    select coalesce(max(id), 0)::int + 1 as id from acme_private.worker`;
  for (let id = next.id; id < next.id + 50; id++) {
    await stranger`select pg_advisory_lock(1885823331, ${id})`;
  }
  await stranger`select pg_advisory_lock(hashtextextended('pgacme.migrate', 0))`;

  const worker = await shop.database.as('acme_worker', { max: 1 });
  const [signedIn] = await worker<[{ id: string }]>`
    select acme_private.worker_begin('here', 1, 'test', 1, null) as id`;
  expect(Number(signedIn.id)).toBeGreaterThan(0);
  expect(await migrate({ databaseUrl: shop.database.url })).toEqual({ applied: [] });
});

test('no login but a member of acme_owner can lock what migrate waits for', async () => {
  for (const role of ['acme_app', 'acme_reader', 'acme_admin', 'acme_worker', 'acme_responder']) {
    const login = await shop.database.as(role);
    for (const mode of [
      'access share',
      'row exclusive',
      'share row exclusive',
      'access exclusive',
    ]) {
      const locking = login.begin((tx) =>
        tx.unsafe(`lock table acme_private.migration in ${mode} mode`),
      );
      await expect(locking, `${role}, ${mode}`).rejects.toMatchObject({ code: '42501' });
    }
  }
});

async function listener(isQueueNewer: () => Promise<boolean>): Promise<unknown[]> {
  const pool = new QueuePool({
    connectionString: (await shop.database.login('acme_worker')).url,
    max: 2,
    isQueueNewer,
  });
  pool.on('error', () => undefined);
  pools.push(pool);
  const heard: unknown[] = [];
  await new Promise<void>((resolve, reject) => {
    pool.connect((error, client) => {
      if (client === undefined) return reject(error ?? new Error('no connection'));
      client.on('error', () => undefined);
      client.on('notification', ({ channel }) => heard.push(channel));
      client.query('listen "worker:migrate"; listen "jobs:insert"').then(() => resolve(), reject);
    });
  });
  return heard;
}

test('a queue believes that it was migrated only where its tables say so, however often a login says it', async () => {
  let looks = 0;
  const forged = await listener(() => Promise.resolve(++looks < 0));
  const real = await listener(() => Promise.resolve(true));
  const stranger = await shop.database.as('acme_app', { login: 'stranger' });
  for (let i = 0; i < 200; i++) {
    await stranger`select pg_notify('worker:migrate', '{"breaking":true}')`;
  }
  await stranger`select pg_notify('jobs:insert', '{"count":1}')`;
  await until(() => forged.length > 0 && real.includes('worker:migrate') && real.length > 1, {
    what: 'both have heard',
  });
  expect(forged).toEqual(['jobs:insert']);
  expect(looks).toBeGreaterThan(0);
  expect(looks).toBeLessThan(100);
});

test('the pool of the queue reads as its own sessions are set, whatever the login is set to', async () => {
  const pool = new QueuePool({
    connectionString: inject('postgresUrl'),
    max: 1,
    isQueueNewer: () => Promise.resolve(false),
  });
  pools.push(pool);
  const { rows } = await pool.query<{ timeout: string }>(
    `select current_setting('statement_timeout') as timeout`,
  );
  expect(rows).toEqual([{ timeout: '14s' }]);
});
