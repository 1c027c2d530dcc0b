import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

// What is raised for one csr in fifty stays that csr's, wherever it is raised: the other 49 are issued, although there
// are two places only, and the one is set aside with a reason.

const COUNT = 50;

/** In front of a function of the database: raises where `condition` finds the csr that is called bad. */
const before = (name: string, types: string, result: string, condition: string) => `
  alter function acme_private.${name}(${types}) rename to ${name}_as_it_is;
  create function acme_private.${name}(${types}) returns ${result} language plpgsql as $$
  begin
    if exists (${condition}) then
      raise 'the fault point';
    end if;
    return acme_private.${name}_as_it_is(${types
      .split(',')
      .map((_, at) => `$${at + 1}`)
      .join(', ')});
  end $$;`;

/** In the commit that writes this event. */
const atEvent = (event: string) => `
  create function public.raise_for_one() returns trigger language plpgsql security definer as $$
  begin
    if exists (select from acme_private.csr_state s where s.csr_id = new.csr_id and s.ref = 'bad') then
      raise 'the fault point';
    end if;
    return new;
  end $$;
  create trigger fault_point before insert on acme_private.event
    for each row when (new.event = '${event}') execute function public.raise_for_one();`;

const OF_ORDER = `
  select from acme_private."order" o join acme_private.csr_state s using (csr_id) where o.id = $1 and s.ref = 'bad'`;
const OF_CSR = `select from acme_private.csr_state s where s.csr_id = $2 and s.ref = 'bad'`;

/** Fifty csrs in one statement, of which one, not the first, is called bad. */
async function insertFifty({ sql }: World): Promise<string> {
  const csrs = await Promise.all(
    Array.from({ length: COUNT }, () => makeCsr({ names: [freshName('one')] })),
  );
  const rows = csrs.map(({ pem }, at) => ({ pem, ref: at === 3 ? 'bad' : `good-${at}` }));
  const [bad] = await sql<[{ id: string }]>`
    with made as (insert into acme.csr ${sql(rows)} returning id, ref)
    select id from made where ref = 'bad'`;
  return bad.id;
}

/** All but one are issued, and that one holds no place. */
async function othersAreIssued({ sql }: World): Promise<void> {
  await until(
    async () => {
      const [row] = await sql<[{ issued: number }]>`
        select count(*)::int as issued from acme.csr_status where state = 'issued'`;
      if (row.issued === COUNT - 1) return true;
      throw new Error(`${row.issued} are issued`);
    },
    { what: 'the others are issued', timeoutMs: 120_000 },
  );
}

test.each([
  ['order_claim', before('order_claim', 'bigint, boolean', 'jsonb', OF_ORDER)],
  ['admit', before('make_order', 'bigint, bigint', 'bigint', OF_CSR)],
  ['the commit that judges', atEvent('accepted')],
  ['the commit that stores the order', atEvent('order_created')],
  ['the commit that stores the challenge', atEvent('challenge_published')],
  ['the commit that stores the authorization', atEvent('authorization_valid')],
  ['the commit that stores the certificate', atEvent('issued')],
])(
  'an error of one csr in %s stops no other',
  async (_, faultPoint) => {
    const world = await faultyWorld();
    const { sql } = world;
    await sql`update acme.server set max_orders_in_flight = 2 where name = 'ca'`;
    await sql.unsafe(faultPoint);
    const bad = await insertFifty(world);
    await world.worker();
    await othersAreIssued(world);
    const status = await until(
      async () => {
        const row = await world.status(bad);
        if (row.reason_code === 'set_aside') return row;
        throw new Error(`it is ${row.state}: ${row.reason_code} ${row.reason}`);
      },
      { what: 'the one is set aside', timeoutMs: 60_000 },
    );
    expect(status.reason).toMatch(/left alone for an hour/);
    expect(status.next_attempt_at).not.toBeNull();
    expect(['received', 'retrying']).toContain(status.state);
    expect(await world.events(bad)).toContain('set_aside');
    expect(await sql`select from acme_private."order" where is_live`).toHaveLength(0);
  },
  240_000,
);

test('a csr whose step throws in the worker stops no other', async () => {
  const world = await faultyWorld();
  const { sql } = world;
  await sql`update acme.server set max_orders_in_flight = 2 where name = 'ca'`;
  await sql`alter table acme.csr drop constraint csr_validity_is_bounded`;
  await sql`alter table acme.csr disable trigger _130_check`;
  const bad = await insertFifty(world);
  // A time that PostgreSQL has and JavaScript has not.
  await sql`update acme.csr set validity = '250000 years' where id = ${bad}`;
  await world.worker();
  await othersAreIssued(world);
  const { state } = await world.reach(bad, 'retrying', 60_000);
  expect(state).toBe('retrying');
  expect((await world.status(bad)).reason_code).toBe('set_aside');
}, 240_000);
