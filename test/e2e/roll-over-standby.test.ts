import { expect, test } from 'vitest';
import { once, valid } from '../helpers/account.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { restartablePostgres } from '../helpers/restartable.ts';
import { until } from '../helpers/until.ts';
import { worldWith } from '../helpers/world.ts';

// On a PostgreSQL of its own: a slot is the whole cluster's.
/** An account at Pebble on a PostgreSQL that keeps its log for a standby which is away. */
async function worldWithSlot() {
  const { database } = await restartablePostgres();
  const world = await worldWith(await pebbleForTests(), database);
  await world.sql`select pg_create_physical_replication_slot('attic', true)`;
  await world.worker();
  const before = await valid(world);
  await world.sql`select acme.roll_over_key('main')`;
  const waits = await once(
    world,
    ({ reason_code }) => reason_code === 'waiting_for_standby',
    'the roll-over waits for the standby',
  );
  expect(waits).toMatchObject({ state: 'rolling_over', thumbprint: before.thumbprint });
  expect(waits.reason).toContain('replication slot attic');
  return { ...world, before };
}

test('a new key is not sent before the standby that is away has it, or is given up', async () => {
  const { before, ...world } = await worldWithSlot();
  await world.sql`select pg_drop_replication_slot('attic')`;
  const after = await valid(world);
  expect(after.thumbprint).not.toBe(before.thumbprint);
  // One key was made, however often it was looked.
  const made = await world.sql`select from acme.event where event = 'account_pending_key_made'`;
  expect(made).toHaveLength(1);
}, 120_000);

test('a standby that is held back under steady writes has to have the key, and not what came after it', async () => {
  const { before, ...world } = await worldWithSlot();
  const write = () => world.sql`select pg_logical_emit_message(false, 'test', 'more')`;
  await write();
  const [{ lsn }] = await world.sql<[{ lsn: string }]>`
    select pg_current_wal_insert_lsn()::text as lsn`;
  await until(
    async () => {
      await write();
      const [row] = await world.sql`select pg_current_wal_flush_lsn() > ${lsn}::pg_lsn as is_there`;
      return row?.['is_there'] === true;
    },
    { what: 'the log is on the disk' },
  );
  // The standby comes this far and no further: from here on it is behind all that is written.
  await world.sql`select pg_replication_slot_advance('attic', ${lsn}::pg_lsn)`;
  const after = await valid(world);
  expect(after.thumbprint).not.toBe(before.thumbprint);
  const [slot] = await world.sql`
    select restart_lsn < pg_current_wal_insert_lsn() as is_behind, active from pg_replication_slots`;
  expect(slot).toEqual({ is_behind: true, active: false });
}, 120_000);
