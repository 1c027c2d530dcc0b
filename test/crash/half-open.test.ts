import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/db/steps/connect.ts';
import { endClient } from '../../src/db/steps/limited-client.ts';
import { Steps } from '../../src/db/steps/steps.ts';
import {
  addressOf,
  type Chunk,
  type RoughProxy,
  startRoughProxy,
  through,
} from '../helpers/rough-proxy.ts';
import { openShop } from '../helpers/shop.ts';
import { putInState, registerDefaultAccount } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

async function roughUrl(world: Pick<World, 'database'>): Promise<[RoughProxy, string]> {
  const { url } = await world.database.login('acme_worker');
  const proxy = await startRoughProxy(addressOf(url));
  onTestFinished(() => proxy.stop());
  return [proxy, through(proxy, url)];
}

const carries =
  (to: Chunk['to'], text: string) =>
  (chunk: Chunk): boolean =>
    chunk.to === to && chunk.data.includes(text);

test('a first sign-in that is cut is tried again, and a wrong password ends it at once', async () => {
  const world = await faultyWorld();
  const [proxy, databaseUrl] = await roughUrl(world);
  proxy.loseOnce(() => true);
  proxy.loseOnce(carries('client', 'is_pooled'));
  proxy.loseOnce(carries('server', 'worker_begin'));
  const worker = await world.worker({ databaseUrl });
  expect(worker.id).toBeGreaterThan(0);
  expect(proxy.done.cut).toBeGreaterThan(1);

  const wrong = new URL(databaseUrl);
  wrong.password = 'wrong';
  const refused = world.worker({ databaseUrl: wrong.href, http01Listen: undefined });
  await expect(refused).rejects.toMatchObject({ code: '28P01' });
}, 120_000);

test('a worker whose connections all freeze starts anew on others, and goes on', async () => {
  const world = await faultyWorld();
  const [proxy, databaseUrl] = await roughUrl(world);
  const worker = await world.worker({ databaseUrl });
  const before = worker.id;
  proxy.freeze();
  const csr = await world.insert({ names: [freshName()] });
  await world.reach(csr, 'issued', 120_000);
  expect(worker.id).not.toBe(before);
  // What the frozen one held and did not know of is free: nothing waits for it.
  expect(await world.sql`select from acme.stuck`).toHaveLength(0);
}, 240_000);

test('a worker that is told to stop while its connections are frozen, and new ones freeze at once, ends', async () => {
  const world = await faultyWorld();
  const [proxy, databaseUrl] = await roughUrl(world);
  const worker = await world.worker({ databaseUrl });
  proxy.freeze();
  proxy.freeze(() => true);
  await worker.stop();
}, 120_000);

test('a queue whose statements all freeze, while the worker itself goes on, is replaced', async () => {
  const world = await faultyWorld();
  const [proxy, databaseUrl] = await roughUrl(world);
  const worker = await world.worker({ databaseUrl });
  const before = worker.id;
  let isFreezing = true;
  proxy.freeze((chunk) => isFreezing && carries('server', '_private_jobs')(chunk));
  await until(() => worker.id !== before && worker.id !== undefined, {
    what: 'it has begun a new life',
    timeoutMs: 200_000,
  });
  isFreezing = false;
  const csr = await world.insert({ names: [freshName()] });
  await world.reach(csr, 'issued', 120_000);
}, 360_000);

test('what a commit hands over whose answer is lost is given back at once, and nobody waits for the lease to run out', async () => {
  const shop = await openShop();
  await registerDefaultAccount(shop.sql);
  const [proxy, databaseUrl] = await roughUrl(shop);
  const sql = connect({ databaseUrl, name: 'test', max: 2, isLasting: true, answerMs: 5000 });
  onTestFinished(() => sql.end({ timeout: 1 }));
  const [{ id: worker } = { id: 0 }] = await shop.sql<{ id: string }[]>`
    select acme_private.worker_begin('here', 1, 'test', 1, null) as id`;
  const steps = new Steps(sql, Number(worker));
  const [lost, kept] = [await shop.insert(), await shop.insert()];
  const orders: number[] = [];
  for (const csr of [lost, kept]) {
    await putInState(shop.sql, csr, 'ordering');
    const [order] = await shop.sql<{ id: string }[]>`
      select id from acme_private."order" where csr_id = ${csr}`;
    orders.push(Number(order?.id));
  }
  const [lostOrder = 0, keptOrder = 0] = orders;
  await shop.clearJobs();
  expect(await steps.claim('order', keptOrder)).toMatchObject({ id: keptOrder });

  proxy.loseOnce(carries('client', '"lease"'));
  await expect(steps.claim('order', lostOrder)).rejects.toThrow();
  const leases = () => shop.sql<{ id: string; is_held: boolean }[]>`
    select id, lease_token is not null as is_held from acme_private."order" where id in ${shop.sql(orders)}`;
  await until(
    async () => (await leases()).some(({ id, is_held }) => Number(id) === lostOrder && !is_held),
    { what: 'its lease is given back', timeoutMs: 30_000 },
  );
  // What it knows that it has it keeps.
  expect((await leases()).find(({ id }) => Number(id) === keptOrder)?.is_held).toBe(true);
  const jobs = (await shop.jobs()).map(({ key }) => key);
  expect(jobs).toContain(`pgacme:order:${lostOrder}`);
});

test('a transaction whose worker is never heard of again gives its locks back within a minute', async () => {
  const shop = await openShop();
  await registerDefaultAccount(shop.sql);
  const csr = await shop.insert();
  await putInState(shop.sql, csr, 'ordering');
  const [worker] = await shop.sql<[{ id: string }]>`
    select acme_private.worker_begin('here', 1, 'test', 1, null) as id`;
  const [order] = await shop.sql<[{ id: string }]>`select id from acme_private."order"`;
  const [version] = await shop.sql<[{ number: number }]>`
    select current_setting('server_version_num')::int as number`;
  if (version.number < 170_000) {
    process.stdout.write('PostgreSQL bounds transactions from version 17 on.\n');
    return;
  }
  const { url } = await shop.database.login('acme_worker');
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  onTestFinished(() => endClient(client));
  await client.connect();
  // All of a statement arrives but for the message that ends it, and then nothing any more.
  const { connection } = client as unknown as { connection: pg.Connection };
  const text = `select acme_private.claim(${worker.id}, 'order', ${order.id})`;
  connection.parse({ text, name: '', types: [] }, true);
  connection.bind({}, true);
  connection.execute({}, true);
  connection.flush();
  const isLocked = () =>
    shop.sql`select from acme_private."order" for update nowait`.then(
      () => false,
      (error: unknown) => (error as { code?: string }).code === '55P03',
    );
  await until(isLocked, { what: 'it holds a lock' });
  await until(async () => !(await isLocked()), { what: 'its lock is free', timeoutMs: 90_000 });
}, 150_000);

test('a job that gave up while its row needs nothing is not stuck: reconcile removes it', async () => {
  const shop = await openShop();
  await shop.clearJobs();
  await shop.sql`
    select from acme_worker.add_job('attend', '{"kind":"csr","id":1}'::json, job_key := 'pgacme:csr:1')`;
  await shop.sql`
    update acme_worker._private_jobs set attempts = max_attempts where key = 'pgacme:csr:1'`;
  const stuck = () => shop.sql`select from acme.stuck where reason_code = 'job_failed'`;
  expect(await stuck()).toHaveLength(1);
  await shop.sql`select acme_private.reconcile()`;
  expect(await stuck()).toHaveLength(0);
  expect(await shop.sql`select from acme_worker._private_jobs where key = 'pgacme:csr:1'`).toEqual(
    [],
  );
});
