import { expect, test } from 'vitest';
import { finalizations, ordersMade } from '../helpers/recording-proxy/index.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import { crashWorlds } from './crash-world.ts';

const newWorld = crashWorlds();

test('a worker that is stopped beyond its lease and then goes on doubles nothing', async () => {
  const world = await newWorld();
  await world.sql.unsafe(`
    create or replace function acme_private.lease_time() returns interval
    language sql immutable as $$ select interval '8 seconds' $$`);
  let deliver = () => undefined as void;
  const held = new Promise<void>((resolve) => (deliver = resolve));
  const release = world.proxy.holdAnswers(
    ({ kind }) => kind === 'finalize',
    () => held,
  );
  const csr = await world.insert({ names: [freshName()] });
  const stopped = world.spawn();
  await until(
    () => world.proxy.records.some(({ kind, answeredAt }) => kind === 'finalize' && answeredAt),
    {
      what: 'the CA has been asked to finalize',
      timeoutMs: 30_000,
    },
  );
  process.kill(stopped.pid, 'SIGSTOP');
  const rescuer = await world.rescuer();
  await until(
    async () => {
      const due = await world.sql`
        select from acme_private."order" where lease_until < now() and lease_token is not null`;
      return due.length > 0;
    },
    { what: 'the lease has run out', timeoutMs: 30_000 },
  );
  // Its lock is still there, so that nobody took it for dead; the minutely sweep finds the lease.
  expect(await world.sql`select from acme.worker_status where state = 'lost'`).toHaveLength(0);
  await world.sql`select from acme_worker.add_job('reconcile', '{}'::json)`;
  await world.reach(csr, 'issued', 30_000);
  await rescuer.stop();

  release();
  deliver();
  process.kill(stopped.pid, 'SIGCONT');
  const next = await world.insert({ names: [freshName()] });
  await world.reach(next, 'issued', 60_000);
  expect(await stopped.kill('SIGTERM')).toEqual({ code: 0, signal: null });

  const [first] = ordersMade(world.proxy.records);
  expect(finalizations(world.proxy.records).get(first?.url ?? '')).toEqual({
    sent: 1,
    succeeded: 1,
  });
  const certificates = await world.sql<{ csr_id: string }[]>`
    select csr_id from acme.certificate order by csr_id`;
  expect(certificates.map(({ csr_id }) => csr_id)).toEqual([csr, next]);
  await world.close();
}, 120_000);

test('a worker that is stopped while it waits for a lock keeps none of its own', async () => {
  const world = await newWorld();
  let deliver = () => undefined as void;
  const held = new Promise<void>((resolve) => (deliver = resolve));
  world.proxy.holdAnswers(
    ({ kind }) => kind === 'newOrder',
    () => held,
  );
  const csr = await world.insert({ names: [freshName()] });
  const stopped = world.spawn();
  await until(
    () => world.proxy.records.some(({ kind, answeredAt }) => kind === 'newOrder' && answeredAt),
    { what: 'the CA has made an order', timeoutMs: 30_000 },
  );
  const locks = () => world.sql`
    select l.locktype, l.relation::regclass::text, l.mode
      from pg_locks l
      join pg_stat_activity a using (pid)
     where a.application_name like 'pgacme%' and a.datname = current_database() and l.locktype <> 'advisory'
       and l.relation is distinct from 'pg_locks'::regclass`;
  // The order's row: what comes before it is locked by the commit already.
  await world.sql.begin(async (tx) => {
    await tx`select from acme_private."order" for update`;
    deliver();
    await until(
      async () =>
        (
          await world.sql`
          select from pg_stat_activity
           where application_name = 'pgacme worker' and datname = current_database() and wait_event_type = 'Lock'`
        ).length > 0,
      { what: 'its commit waits', timeoutMs: 30_000 },
    );
    process.kill(stopped.pid, 'SIGSTOP');
    expect((await locks()).length).toBeGreaterThan(0);
    await until(async () => (await locks()).length === 0, {
      what: 'it holds no lock',
      timeoutMs: 60_000,
    });
  });
  process.kill(stopped.pid, 'SIGCONT');
  await world.reach(csr, 'issued', 90_000);
  expect(await stopped.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  await world.close();
}, 240_000);

test('a worker whose lock connection is cut ends its requests and starts anew', async () => {
  const world = await newWorld();
  let deliver = () => undefined as void;
  const held = new Promise<void>((resolve) => (deliver = resolve));
  const release = world.proxy.holdAnswers(
    ({ kind }) => kind === 'newOrder',
    () => held,
  );
  const worker = await world.rescuer();
  const before = worker.id;
  const csr = await world.insert({ names: [freshName()] });
  await until(
    () => world.proxy.records.some(({ kind, answeredAt }) => kind === 'newOrder' && answeredAt),
    {
      what: 'the CA has made an order',
      timeoutMs: 30_000,
    },
  );
  const [cut] = await world.sql<{ done: boolean }[]>`
    select pg_terminate_backend(backend_pid) as done from acme_private.worker where id = ${before ?? 0}`;
  expect(cut?.done).toBe(true);
  await until(() => worker.id !== undefined && worker.id !== before, {
    what: 'it has signed in anew',
    timeoutMs: 30_000,
  });
  // The first answer is held to this moment: what goes on is another request.
  release();
  await world.reach(csr, 'issued', 30_000);
  deliver();
  const states = await world.sql<{ state: string }[]>`
    select state from acme.worker_status order by worker_status.id`;
  expect(states.map(({ state }) => state)).toEqual(['lost', 'running']);
  expect([...finalizations(world.proxy.records).values()]).toEqual([{ sent: 1, succeeded: 1 }]);
  await world.close();
});
