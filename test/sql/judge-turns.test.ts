import { expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { accepted, set, withoutTriggers } from '../helpers/state/index.ts';

// Received csrs are judged in turns of their tenants: nobody waits for the end of another one's queue. Turns are counted.

interface Turn {
  lease: string;
  rows: { csr_id: number }[];
}

/** One turn of the dispatcher, which accepts all of the turn before. */
async function turn({ sql }: Shop, last?: Turn): Promise<Turn> {
  const verdicts = last?.rows.map(({ csr_id }) => accepted(csr_id)) ?? [];
  const [row] = await sql<[{ answer: { received: Turn } }]>`
    select acme_private.dispatch(null, ${last?.lease ?? null}, ${sql.json(verdicts as never)}, 1) as answer`;
  return row.answer.received;
}

/** A tenant inserts so many csrs in one statement; their ids. */
async function insert(database: FreshDatabase, tenant: string, count: number): Promise<number[]> {
  const app = await database.as('acme_app', { login: tenant });
  const pems = Array.from({ length: count }, () => pemShapedLikeCsr(100));
  const rows = await app<{ id: string }[]>`
    insert into acme.csr (pem) select unnest(${pems}::text[]) returning id`;
  return rows.map(({ id }) => Number(id));
}

const idsOf = ({ rows }: Turn) => rows.map(({ csr_id }) => csr_id);

test("another tenant's single csr is judged in the next turn, however many wait before it", async () => {
  const database = await freshDatabase();
  const shop = await openShop(database);
  const many = await insert(database, 'many', 1000);
  const first = await turn(shop);
  expect(idsOf(first)).toEqual(many.slice(0, 100));
  const [one] = await insert(database, 'one', 1);
  const second = await turn(shop, first);
  expect(idsOf(second)).toContain(one);
  // What the other does not need is for those that wait longer.
  expect(second.rows).toHaveLength(100);
});

test('a dispatch takes the place of those that wait, so that inserting row by row puts nothing else behind them', async () => {
  const database = await freshDatabase();
  const shop = await openShop(database);
  const { sql } = shop;
  const dispatches = async () => {
    const jobs = await shop.jobs();
    return jobs.filter(({ task, key }) => task === 'dispatch' && key === null).length;
  };
  const app = await database.as('acme_app', { login: 'row-by-row', max: 1 });
  const pems = Array.from({ length: 250 }, () => pemShapedLikeCsr(100));
  await app.begin(async (tx) => {
    await tx`create temp table given on commit drop as select unnest(${pems}::text[]) as pem`;
    await tx.unsafe(`
      do $$
      declare
        v_pem text;
      begin
        for v_pem in select pem from given loop
          insert into acme.csr (pem) values (v_pem);
        end loop;
      end
      $$`);
  });
  expect(await dispatches()).toBe(250);
  const late = await database.as('acme_app', { login: 'late', max: 1 });
  await late.begin(async (tx) => {
    await tx`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
    const first = await turn(shop);
    expect(await dispatches()).toBe(50);
    await turn(shop, first);
    expect(await dispatches()).toBe(0);
  });
  // What was committed since has its own.
  expect(await dispatches()).toBe(1);
  // Of other jobs and those for later nothing is taken away.
  await sql`select acme_private.wake_rows('attend', 'csr', '{1}'), acme_private.dispatch_at(now() + interval '1 minute', 'later')`;
  await turn(shop);
  const rest = (await shop.jobs()).map(({ task, key }) => [task, key]);
  expect(rest).toContainEqual(['attend', null]);
  expect(rest).toContainEqual(['dispatch', 'pgacme:dispatch:later']);
});

test('with more tenants than a turn has csrs each has had one before any has its second', async () => {
  const database = await freshDatabase();
  const shop = await openShop(database);
  const { sql } = shop;
  // As 130 tenants of three csrs each.
  const ids = await insert(database, 'many', 390);
  await withoutTriggers(sql, async (tx) => {
    await set(tx, 'csr', ids.map(String), {
      tenant: tx`'tenant-' || lpad((csr_id % 130)::text, 3, '0')`,
    });
    await tx`update acme.csr set tenant = 'tenant-' || lpad((id % 130)::text, 3, '0') where id = any (${ids})`;
  });
  const tenants: number[] = [];
  let last: Turn | undefined;
  for (let n = 0; n < 4; n++) {
    last = await turn(shop, last);
    tenants.push(...idsOf(last).map((id) => id % 130));
  }
  expect(tenants).toHaveLength(390);
  expect(new Set(tenants.slice(0, 130)).size).toBe(130);
  expect(new Set(tenants.slice(130, 260)).size).toBe(130);
});

test('csrs that wait for an account hold up none that names one', async () => {
  const database = await freshDatabase();
  const shop = await openShop(database);
  await shop.sql`update acme.account set is_default = false`;
  await insert(database, 'many', 1500);
  expect((await turn(shop)).rows).toEqual([]);
  const named = await insert(database, 'named', 1);
  await shop.sql`update acme.csr set account = 'main' where id = ${named[0] ?? null}`;
  expect(idsOf(await turn(shop))).toEqual(named);
});

test('two workers at once judge different csrs', async () => {
  const database = await freshDatabase();
  const shop = await openShop(database);
  const many = await insert(database, 'many', 250);
  const turns = await Promise.all([turn(shop), turn(shop)]);
  const ids = turns.flatMap(idsOf);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.length).toBe(200);
  expect(ids.every((id) => many.includes(id))).toBe(true);
});
