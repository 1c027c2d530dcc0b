import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { faultyWorld, freshName } from '../helpers/world.ts';

// What our own database does not take, once: whoever held the rows gives them back before the error passes on, since a
// lease lasts a minute.

/** The next update of a row that this is true of fails; returns how many were tried. */
async function refuseOnce(
  sql: postgres.Sql,
  table: string,
  condition: string,
): Promise<() => Promise<number>> {
  // A sequence remembers what was rolled back.
  await sql.unsafe(`
    create sequence public.tries;
    create function public.tg_refuse_once() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
    begin
      if nextval('public.tries') = 1 then
        raise exception 'could not extend the file: no space left on device' using errcode = 'disk_full';
      end if;
      return new;
    end $$;
    create trigger refuse_once before update on acme_private.${table}
      for each row when (${condition}) execute function public.tg_refuse_once()`);
  return async () => {
    const [{ count }] = await sql<[{ count: number }]>`
      select case when is_called then last_value else 0 end::int as count from public.tries`;
    return count;
  };
}

test('an order whose failure could not be stored goes on without waiting for the end of its lease', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.on('newOrder', { problem: { type: 'serverInternal', status: 500 } });
  const tries = await refuseOnce(world.sql, '"order"', `new.reason_code = 'remote_trouble'`);
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 30_000);
  expect(await tries()).toBe(1);
  expect(ca.count('newOrder')).toBe(2);
});

test('csrs whose verdicts could not be stored are judged again without waiting for the end of their lease', async () => {
  const { ca, ...world } = await faultyWorld();
  const tries = await refuseOnce(
    world.sql,
    'csr_state',
    `old.state = 'received' and new.state <> 'received'`,
  );
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) ids.push(await world.insert({ names: [freshName()] }));
  await world.worker();
  await Promise.all(ids.map((id) => world.reach(id, 'issued', 30_000)));
  expect(await tries()).toBeGreaterThan(1);
  expect(ca.count('newOrder')).toBe(3);
});
