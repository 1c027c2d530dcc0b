import { expect, test } from 'vitest';
import { pebbleForTests } from '../helpers/pebble.ts';
import { restartablePostgres } from '../helpers/restartable.ts';
import { until } from '../helpers/until.ts';
import { worldWith } from '../helpers/world.ts';

// On a PostgreSQL of its own: a slot is the whole cluster's.
test('a new key is not sent before the standby that is away has it, or is given up', async () => {
  const { database } = await restartablePostgres();
  const pebble = await pebbleForTests();
  const world = await worldWith(pebble, database);
  const account = async () => {
    const [row] = await world.sql<
      [{ state: string; reason_code: string | null; reason: string | null; thumbprint: string }]
    >`select * from acme.account_status where name = 'main'`;
    return row;
  };
  const reach = (is: (row: Awaited<ReturnType<typeof account>>) => boolean, what: string) =>
    until(
      async () => {
        const row = await account();
        if (is(row)) return row;
        throw new Error(`it is ${row.state}: ${row.reason_code} ${row.reason}`);
      },
      { what, timeoutMs: 30_000 },
    );
  await world.sql`select pg_create_physical_replication_slot('attic', true)`;
  await world.worker();
  const before = await reach(({ state }) => state === 'valid', 'it is registered');
  await world.sql`select acme.roll_over_key('main')`;
  const waits = await reach(
    ({ reason_code }) => reason_code === 'waiting_for_standby',
    'the roll-over waits for the standby',
  );
  expect(waits).toMatchObject({ state: 'rolling_over', thumbprint: before.thumbprint });
  expect(waits.reason).toContain('replication slot attic');
  await world.sql`select pg_drop_replication_slot('attic')`;
  const after = await reach(({ state }) => state === 'valid', 'the key is rolled over');
  expect(after.thumbprint).not.toBe(before.thumbprint);
  // One key was made, however often it was looked.
  const made = await world.sql`select from acme.event where event = 'account_pending_key_made'`;
  expect(made).toHaveLength(1);
}, 120_000);
