import { afterAll, describe, expect, test } from 'vitest';
import { finalizations, ordersMade, sentAgain } from '../helpers/recording-proxy/index.ts';
import { until } from '../helpers/until.ts';
import { type CrashWorld, crashWorlds } from './crash-world.ts';
import { crashPoints } from './points.ts';
import type { Scenario } from './scenario.ts';
import { scenarioOf } from './scenarios.ts';

const newWorld = crashWorlds();
const newSlowWorld = crashWorlds({ retryAfter: { authz: 0, order: 4 } });
const { names: points } = await crashPoints();
const table = new Map<string, string>();

afterAll(() => {
  const lines = points.map((point) => table.get(point) ?? `${point}: did not pass`);
  process.stdout.write(
    `\ncrash point | scenario | signal | seconds to recovery | orders made | what the CA saw twice\n${lines.join('\n')}\n\n`,
  );
});

describe.concurrent('a worker that is killed loses nothing and doubles no certificate', () => {
  test.each(points)('at %s', async (point) => {
    const scenario = scenarioOf(point);
    const world = await (scenario.isSlow === true ? newSlowWorld() : newWorld());
    try {
      await die(world, scenario, point);
    } finally {
      await world.close();
    }
  });
});

async function die(world: CrashWorld, scenario: Scenario, point: string): Promise<void> {
  const csr = await scenario.begin(world);
  const victim = world.spawn({ point });
  await scenario.provoke?.(world, csr);
  const exit = await Promise.race([victim.exited, never(point, victim.lines)]);
  expect(exit, victim.lines.join('\n')).toEqual({ code: null, signal: 'SIGKILL' });
  const diedAt = performance.now();
  await world.rescuer();
  await scenario.finish(world, csr);
  const seconds = (performance.now() - diedAt) / 1000;
  await nothingLeft(world);

  const orders = ordersMade(world.proxy.records);
  const finalized = finalizations(world.proxy.records);
  const succeeded = [...finalized.values()].filter((one) => one.succeeded > 0);
  expect(succeeded).toHaveLength(scenario.certificates);
  for (const one of succeeded) expect(one.succeeded).toBe(1);
  const certificates = await world.sql<{ state: string }[]>`
      select state from acme.certificate where csr_id = ${csr} order by id desc`;
  expect(certificates).toHaveLength(scenario.certificates);
  if (scenario.certificates > 0) expect(certificates[0]).toEqual({ state: 'current' });
  const events = await world.events(csr);
  for (const [event, times] of Object.entries(scenario.events)) {
    expect(
      events.filter((one) => one === event),
      events.join(' '),
    ).toHaveLength(times);
  }
  // Where the dead one held nothing, others may be done before they miss it.
  const lost = () => world.sql`select from acme.event where event = 'worker_lost'`;
  await until(async () => (await lost()).length > 0, { what: 'the death is noticed' });
  expect(await lost()).toHaveLength(1);

  const twice = sentAgain(world.proxy.records).map(
    ({ kind, times, statuses }) => `${kind} ×${times} (${statuses.join(', ')})`,
  );
  table.set(
    point,
    [
      point,
      scenario.name,
      exit.signal,
      seconds.toFixed(1),
      orders.length,
      twice.join('; ') || '-',
    ].join(' | '),
  );
}

/** No lease, no record, no job that anyone could take now. */
async function nothingLeft({ sql }: CrashWorld): Promise<void> {
  await until(
    async () => {
      const left = await sql<{ what: string }[]>`
        select 'order ' || id || ' is held' as what from acme_private."order" where lease_token is not null
        union all
        select 'authorization ' || id || ' is held' from acme_private.authorization where lease_token is not null
        union all
        select 'csr ' || csr_id || ' is held' from acme_private.csr_state where lease_token is not null
        union all
        select 'account ' || account_id || ' is held' from acme_private.account_state where lease_token is not null
        union all
        select 'certificate ' || id || ' is ' || state from acme_private.certificate where state = 'revoking'
        union all
        select 'record ' || id || ' is ' || state from acme.record where state <> 'removed'
        union all
        select 'order ' || id || ' is ' || state from acme_private."order" where is_live
        union all
        select 'job ' || task_identifier || ' ' || coalesce(key, '') || ' waits'
          from acme_worker.jobs where attempts < max_attempts and run_at <= now()`;
      if (left.length === 0) return true;
      throw new Error(left.map(({ what }) => what).join('; '));
    },
    { what: 'nothing is left held, published or queued', timeoutMs: 15_000 },
  );
}

async function never(point: string, lines: readonly string[]): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, 30_000).unref());
  throw new Error(`No worker came to ${point}. Its output:\n${lines.join('\n')}`);
}
