import { readFile } from 'node:fs/promises';
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { ownCluster } from '../helpers/cluster.ts';
import { databaseOn, type ServerAddress } from '../helpers/own-database.ts';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { type Plan, plansOf } from '../helpers/plans.ts';
import type { FreshDatabase } from '../helpers/postgres.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { accepted, putInState, registerDefaultAccount } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

// With tens of thousands of csrs nothing that runs for one of them reads a table from end to end. The
// plans are looked at, never the time.

const ROWS = 20_000;
/** What grows with the number of csrs. */
const BIG = [
  'csr',
  'csr_state',
  'order',
  'authorization',
  'order_authorization',
  'challenge',
  'record',
  'certificate',
  'certificate_name',
  'tenant_name',
  'event',
];

let server: ServerAddress;
let database: FreshDatabase;
let app: string;
const ends: (() => Promise<void>)[] = [];

/**
 * What is planned anew reads the catalogue, inside of whatever statement calls it; and what somebody else still
 * sees is not dead. Both come of autovacuum, and of what other test files do in other databases: a migration has
 * more to tell than sessions keep up with, and they forget all that they know. So here is nobody else.
 */
beforeAll(async () => {
  const cluster = await ownCluster({
    settings: { fsync: 'off', full_page_writes: 'off', autovacuum: 'off' },
  });
  const { host, password } = new URL(await cluster.database());
  server = { hosts: host, password };
  database = await migratedDatabase((end) => ends.push(end));
  ({ role: app } = await database.login('acme_multi_tenant'));
  const { sql } = database;
  const fill = await readFile(new URL('../../bench/fill.sql', import.meta.url), 'utf8');
  await sql.unsafe(`set pgacme_fill.rows = '${String(ROWS)}'; ${fill}`);
  await sql`vacuum analyze`;
});

afterAll(() => Promise.all(ends.map((end) => end())));

/** Its pools end with the test, or as `atEnd` has it. */
async function migratedDatabase(
  atEnd?: (end: () => Promise<void>) => void,
): Promise<FreshDatabase> {
  const made = await databaseOn(server, atEnd);
  await migrate({ databaseUrl: made.url });
  return made;
}

/**
 * That none of the plans reads a big table whole, and each only so many blocks. A mere call of a function is
 * left out: its blocks are those of all statements in it, which are here, and of the catalogue to plan them.
 */
function expectBounded(plans: Plan[], blocks: number): void {
  const statements = plans.filter(
    ({ query }) => !/^\s*select\s+acme(_private)?\.\w+\([^;]*\)(\s+as \w+)?\s*$/i.test(query),
  );
  expect(statements.length).toBeGreaterThan(0);
  for (const plan of statements) {
    expect(
      plan.scanned.filter((table) => BIG.includes(table)),
      plan.query,
    ).toEqual([]);
    expect(plan.blocks, plan.query).toBeLessThan(blocks);
  }
}

describe.each(['acme_app', 'acme_reader'])('a look-up by %s reads by index', (role) => {
  test.each([
    ['csr_status by id', 'select * from acme.csr_status where id = 1000'],
    ['csr_status by ref', `select * from acme.csr_status where ref = 'ref-1000'`],
    ['current_certificate by csr', 'select * from acme.current_certificate where csr_id = 1000'],
    ['current_certificate by ref', `select * from acme.current_certificate where ref = 'ref-1000'`],
    [
      'certificate_for an exact name',
      `select * from acme.certificate_for('host-1000.fill-0.example.org')`,
    ],
    ['certificate_for an unknown name', `select * from acme.certificate_for('nobody.example.org')`],
    ['explain', 'select acme.explain(1000)'],
    ['events of a csr', 'select * from acme.event where csr_id = 1000'],
  ])('%s', async (_, query) => {
    let rows: postgres.Row[] = [];
    const plans = await plansOf(
      database.url,
      role === 'acme_app' ? app : role,
      async (sql, forget) => {
        // The tenant with half of all rows.
        await sql`select set_config('acme.tenant', 'fill-0', false)`;
        // Refs are of a tenant: who reads all says which.
        const of =
          role === 'acme_app'
            ? query
            : query.replace(/ where ref/, ` where tenant = 'fill-0' and ref`);
        await sql.unsafe(of);
        forget();
        rows = await sql.unsafe(of);
      },
    );
    expect(rows).toHaveLength(query.includes('nobody') ? 0 : 1);
    expectBounded(plans, 120);
  });
});

test.each(['acme_app', 'acme_reader'])(
  'what needs attention is found by index, however many requests are well (%s)',
  async (role) => {
    const { sql } = database;
    const [row] = await sql<[{ id: string }]>`
      update acme_private.certificate set planned_renewal_at = now() - interval '20 days', not_after = now() + interval '10 days'
       where id = 1000
      returning id`;
    let rows: postgres.Row[] = [];
    const plans = await plansOf(
      database.url,
      role === 'acme_app' ? app : role,
      async (on, forget) => {
        await on`select set_config('acme.tenant', 'fill-0', false)`;
        await on`select * from acme.attention`;
        forget();
        rows = await on`select * from acme.attention`;
      },
    );
    expect(rows.map(({ csr_id: csr }) => String(csr))).toContain(row.id);
    expectBounded(plans, 500);
    await sql`update acme_private.certificate set planned_renewal_at = now() + interval '1 day', not_after = now() + interval '30 days' where id = 1000`;
  },
);

test('the sweep reads what is due, and nothing else', async () => {
  const plans = await plansOf(database.url, undefined, async (sql, forget) => {
    await sql`select acme_private.reconcile()`;
    forget();
    await sql`select acme_private.reconcile()`;
  });
  expect(plans.length).toBeGreaterThan(8);
  expectBounded(plans, 100);
});

test('judging and admitting read by index, however many csrs are done', async () => {
  const { sql } = database;
  await sql`insert into acme.server (name, directory_url, max_orders_in_flight) values ('ca', 'https://ca.example.org/dir', 3)`;
  await sql`insert into acme.account (name, server, is_default) values ('main', 'ca', true)`;
  for (const state of ['registering', 'valid']) {
    await sql`
      update acme_private.account_state set state = ${state}, url = 'https://ca.example.org/account'
       where account_id = (select id from acme.account where name = 'main')`;
  }
  const pool = await database.as('acme_app');
  const pems = Array.from({ length: 250 }, () => pemShapedLikeCsr(100));
  await pool`insert into acme.csr (pem) select unnest(${pems}::text[])`;

  const plans = await plansOf(database.url, undefined, async (worker) => {
    let lease: string | null = null;
    let verdicts: unknown[] = [];
    do {
      const [row]: { turn: { received: { lease: string; rows: { csr_id: number }[] } } }[] =
        await worker`
          select acme_private.dispatch(null, ${lease}, ${worker.json(verdicts as never)}, 1) as turn`;
      lease = row?.turn.received.lease ?? null;
      // Where the fill's names are.
      verdicts = (row?.turn.received.rows ?? []).map(({ csr_id }) =>
        accepted(csr_id, `new-${String(csr_id)}.example.org`),
      );
    } while (verdicts.length > 0);
  });
  const [row] = await sql<[{ queued: number; ordering: number }]>`
    select count(*) filter (where state = 'queued')::int as queued,
           count(*) filter (where state = 'ordering')::int as ordering
      from acme_private.csr_state`;
  expect(row).toEqual({ queued: 247, ordering: 3 });
  // Claiming takes a hundred rows at once; whatever runs for one row is far below that.
  expectBounded(
    plans.filter(
      ({ query }) =>
        !/acme_private\.(dispatch|judge|claim_received|admit)\(|with picked/.test(query),
    ),
    1000,
  );
  expectBounded(
    plans.filter(({ query }) => /with picked/.test(query)),
    6000,
  );
}, 120_000);

/** Inserts that many CSRs at once; their ids. */
async function receive({ app }: Shop, count: number): Promise<string[]> {
  const pems = Array.from({ length: count }, () => pemShapedLikeCsr(100));
  const rows = await app<{ id: string }[]>`
    insert into acme.csr (pem) select unnest(${pems}::text[]) returning id`;
  return rows.map(({ id }) => id);
}

/**
 * What thousands of csrs left dead in the index of received ones is passed over once, by whoever comes first;
 * not while somebody has an older snapshot of this database.
 */
async function passOverTheDead({ sql }: Shop): Promise<void> {
  const blocksOfALook = async () => {
    const [row] = await sql<[{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }]>`
      explain (analyze, buffers, format json)
      select from acme_private.csr_state where state = 'received' order by tenant, csr_id limit 1`;
    const { Plan: plan } = row['QUERY PLAN'][0];
    return (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0);
  };
  await until(async () => (await blocksOfALook()) < 100, {
    what: 'the dead rows are passed over',
    timeoutMs: 60_000,
  });
}

test('a session that planned for a few csrs admits one of thousands by reading that one', async () => {
  const shop = await openShop(await migratedDatabase());
  await registerDefaultAccount(shop.sql);
  const queue = async (count: number) => putInState(shop.sql, await receive(shop, count), 'queued');
  const orders = async () => (await shop.sql`select from acme_private."order"`).length;
  await queue(20);
  const plans = await plansOf(shop.database.url, undefined, async (worker, forget) => {
    for (let n = 1; n <= 10; n++) {
      await shop.sql`update acme.server set max_orders_in_flight = ${n}`;
      await worker`select acme_private.dispatch(null, null, '[]', 1)`;
    }
    await queue(6000);
    await passOverTheDead(shop);
    expect(await orders()).toBe(10);
    forget();
    await shop.sql`update acme.server set max_orders_in_flight = 11`;
    await worker`select acme_private.dispatch(null, null, '[]', 1)`;
  });
  expect(await orders()).toBe(11);
  expectBounded(plans, 200);
});

test('a session that planned for a few csrs judges a hundred of thousands by reading those', async () => {
  const shop = await openShop(await migratedDatabase());
  const plans = await plansOf(shop.database.url, undefined, async (worker, forget) => {
    let turn: { lease: string | null; rows: { csr_id: number }[] } = { lease: null, rows: [] };
    for (let n = 1; n <= 12; n++) {
      await receive(shop, n < 10 ? 1 : 3000);
      forget();
      const verdicts = turn.rows.map(({ csr_id }) => accepted(csr_id)) as never;
      const [row] = await worker<{ turn: { received: typeof turn } }[]>`
        select acme_private.dispatch(null, ${turn.lease}, ${worker.json(verdicts)}, 1) as turn`;
      if (row !== undefined) turn = row.turn.received;
    }
  });
  expect(plans.length).toBeGreaterThan(500);
  // A hundred rows at once; whatever runs for one is far below that.
  expectBounded(plans, 6000);
});

test('a session that planned for no order finds those of an authorization among thousands', async () => {
  const shop = await openShop(await migratedDatabase());
  const look = async (worker: postgres.Sql) => {
    for (let n = 1; n <= 10; n++) {
      await worker`select acme_private.begin_work(true), acme_private.lock_orders(1000), acme_private.park(1000)`;
    }
  };
  const plans = await plansOf(shop.database.url, undefined, async (worker, forget) => {
    await look(worker);
    await shop.sql.begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      await tx`
        insert into acme_private."order" (csr_id, tenant, server_id, account_id, identifiers, identifiers_key, state, url, finalize_url, certificate_url, finished_at)
        select n, 'shop', 1, 1, array['a'], 'a', 'issued', 'https://ca.example.org/' || n, '', '', now() from generate_series(1, 6000) n`;
      await tx`insert into acme_private.order_authorization select id, id from acme_private."order"`;
    });
    forget();
    await look(worker);
  });
  expect(plans.length).toBeGreaterThan(30);
  expectBounded(plans, 60);
});

test('what a deleted csr takes along is found by index', async () => {
  const plans = await plansOf(
    database.url,
    undefined,
    (sql) => sql`delete from acme.csr where id = 2000`,
  );
  const [left] = await database.sql<[{ n: number }]>`
    select (select count(*) from acme_private.csr_state where csr_id = 2000)::int
         + (select count(*) from acme_private."order" where csr_id = 2000)::int
         + (select count(*) from acme_private.certificate where csr_id = 2000)::int
         + (select count(*) from acme_private.certificate_name where certificate_id = 2000)::int as n`;
  expect(left.n).toBe(0);
  expectBounded(plans, 120);
});
