import type postgres from 'postgres';
import { beforeEach, expect, test } from 'vitest';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { refusal } from '../helpers/refusal.ts';
import { openShop } from '../helpers/shop.ts';
import { all, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

let database: FreshDatabase;
let sql: postgres.Sql;

type Query = postgres.Sql | postgres.TransactionSql | postgres.ReservedSql;

beforeEach(async () => {
  database = await freshDatabase();
  ({ sql } = database);
});

/** What a consumer looks at. */
interface Change {
  cursor: string;
  event: string;
}

const note = (on: Query, event: string, tenant: string | null = 'shop') =>
  on`select acme_private.note(${event}, ${tenant})`;

const changes = (after = '', max = 1000, on: Query = sql) =>
  on<Change[]>`select cursor, event from acme.changes(${after}, ${max})`;

const names = (rows: readonly Change[]) => rows.map(({ event }) => event);

/** Waits until these come: other tests of this run write in the same cluster, and delay them. */
const eventually = (expected: readonly string[], after?: string, max?: number, on?: postgres.Sql) =>
  until(
    async () => {
      const rows = await changes(after, max, on);
      if (names(rows).join() === expected.join()) return rows;
      throw new Error(`changes() gave ${names(rows).join()}`);
    },
    { what: `changes() gives ${expected.join()}`, timeoutMs: 20_000 },
  );

/** Runs on a connection of its own inside an open transaction, rolled back if it is still open then. */
async function openTransaction<T>(work: (tx: postgres.ReservedSql) => Promise<T>): Promise<T> {
  const tx = await sql.reserve();
  try {
    await tx`begin`;
    return await work(tx);
  } finally {
    await tx`rollback`;
    tx.release();
  }
}

test('events that commit in another order than their ids: id > last misses one, changes() none', async () => {
  const byId = (after: number) => sql<{ id: number; event: string }[]>`
    select id::int, event from acme.event where id > ${after} order by id`;
  await note(sql, 'before');
  const cursor = (await eventually(['before']))[0]?.cursor;
  const id = (await byId(0)).at(-1)?.id ?? 0;

  const first = await openTransaction(async (slow) => {
    await note(slow, 'slow');
    await note(sql, 'fast');
    const seen = { byId: await byId(id), changes: await changes(cursor) };
    await slow`commit`;
    return seen;
  });
  expect(first.byId.map(({ event }) => event)).toEqual(['fast']);
  expect(names(first.changes)).toEqual([]);

  // The reader by id goes on behind the one that it saw: the other, whose id is lower, never comes.
  const last = first.byId.at(-1)?.id ?? 0;
  expect(await byId(last)).toEqual([]);
  const rows = await eventually(['slow', 'fast'], cursor);
  expect(await changes(rows.at(-1)?.cursor)).toEqual([]);
});

test('a transaction that has written anything, in any database, delays what began to write after it', async () => {
  await note(sql, 'before');
  const other = await freshDatabase();
  const writer = await other.sql.reserve();
  try {
    await writer`begin`;
    await writer`create table t (n int)`;
    await note(sql, 'after');
    await eventually(['before']);
    await writer`commit`;
  } finally {
    writer.release();
  }
  await eventually(['before', 'after']);
});

test('a transaction that only reads delays nothing', async () => {
  await openTransaction(async (reader) => {
    await reader`select count(*) from acme.event`;
    await note(sql, 'one');
    await eventually(['one']);
  });
});

test('a consumer that reads while many write gets each event once', async () => {
  const writers = Array.from({ length: 3 }, (_, writer) =>
    (async () => {
      for (let i = 0; i < 20; i++) {
        await sql.begin(async (tx) => {
          await note(tx, `${writer}.${i}.a`);
          await tx`select pg_sleep(random() / 200)`;
          await note(tx, `${writer}.${i}.b`);
        });
      }
    })(),
  );
  let isWriting = true;
  const written = Promise.all(writers).finally(() => (isWriting = false));
  const reader = await database.as('acme_reader', { max: 1 });
  const seen: Change[] = [];
  while (isWriting) seen.push(...(await changes(seen.at(-1)?.cursor, 7, reader)));
  await written;
  await until(
    async () => {
      seen.push(...(await changes(seen.at(-1)?.cursor, 7, reader)));
      return seen.length >= 120;
    },
    { what: 'all events have come' },
  );
  const all = await sql<{ event: string }[]>`select event from acme.event`;
  expect(seen).toHaveLength(120);
  expect(names(seen).sort()).toEqual(all.map(({ event }) => event).sort());
  // Nothing came too early, either: the order is the same when all of it is read at once.
  expect(await changes()).toEqual(seen);
});

test('max => 1 over everything gives each event once, and null begins at the beginning', async () => {
  await sql.begin(async (tx) => {
    for (const event of ['a', 'b', 'c']) await note(tx, event);
  });
  for (const event of ['d', 'e']) await note(sql, event);
  await eventually(['a', 'b', 'c', 'd', 'e']);
  const seen: Change[] = [];
  for (;;) {
    const [row] = await changes(seen.at(-1)?.cursor, 1);
    if (row === undefined) break;
    seen.push(row);
  }
  expect(names(seen)).toEqual(['a', 'b', 'c', 'd', 'e']);
  expect(new Set(seen.map(({ cursor }) => cursor)).size).toBe(5);
  expect(await sql`select cursor, event from acme.changes(null)`).toEqual(seen);
});

test('a row says what an edge needs: csr, ref, certificate, tenant, detail', async () => {
  const shop = await openShop();
  const id = await shop.insert({ ref: 'www' });
  await shop.sql`select acme_private.note('issued', tenant, id, 7, 1, 9, 3, '{"serial": "01"}') from acme.csr where id = ${id}`;
  const { role } = await shop.database.login('acme_app');
  const look = async () =>
    (await shop.app<{ cursor: string; at: Date }[]>`select * from acme.changes()`).at(0);
  const { cursor, at, ...rest } = await until(look, { what: 'the event comes', timeoutMs: 20_000 });
  expect(cursor).toMatch(/^1\.\d+\.\d+$/);
  expect(at).toBeInstanceOf(Date);
  expect(rest).toEqual({
    event: 'issued',
    csr_id: id,
    ref: 'www',
    order_id: '7',
    account_id: '1',
    certificate_id: '9',
    tenant: role,
    detail: { serial: '01' },
  });
});

test('an application gets its own events, by any cursor; watchers and administrators all', async () => {
  const a = await database.as('acme_app', { login: 'a' });
  const b = await database.as('acme_app', { login: 'b' });
  const tenant = async (login: string) => (await database.login('acme_app', { login })).role;
  await note(sql, 'of a', await tenant('a'));
  await note(sql, 'of b', await tenant('b'));
  await note(sql, 'of nobody', null);
  await note(sql, 'of a again', await tenant('a'));
  await eventually(['of a', 'of b', 'of nobody', 'of a again']);
  expect(names(await changes('', 1000, a))).toEqual(['of a', 'of a again']);
  expect(names(await changes('', 1000, b))).toEqual(['of b']);
  for (const role of ['acme_reader', 'acme_admin']) {
    const every = await changes('', 1000, await database.as(role));
    expect(names(every)).toEqual(['of a', 'of b', 'of nobody', 'of a again']);
    expect(names(await changes(every[1]?.cursor, 1000, a))).toEqual(['of a again']);
    expect(await changes(every[1]?.cursor, 1000, b)).toEqual([]);
  }
});

test('what is no cursor is refused with a sentence', async () => {
  const wrong = [
    'x',
    '1',
    '1.2',
    '1.2.3.4',
    '1.2.',
    '-1.2.3',
    '1.2.99999999999999999999',
    '{1,2,3}',
  ];
  for (const cursor of wrong) {
    expect(await refusal(changes(cursor))).toMatchObject({
      code: '22023',
      message: `This is not a cursor of acme.changes: '${cursor}'.`,
      hint: "Give the cursor of the last row that you have dealt with, as it is, or '' to begin with the first event.",
    });
  }
});

/**
 * As if the rows had been dumped and restored into a cluster whose transactions are numbered lower: the
 * events keep their numbers, which are yet to come here.
 */
async function restoreFromCluster(ahead: number): Promise<void> {
  await set(sql, 'event', all, { xid: sql`(xid::text::bigint + ${ahead})::text::xid8` });
}

test('after a restore and a raised epoch a consumer goes on with its cursor, and misses nothing', async () => {
  await note(sql, 'one');
  await note(sql, 'two');
  await restoreFromCluster(1_000_000);
  // Until somebody takes it into use, numbers that are yet to come hold everything back.
  expect(await changes()).toEqual([]);
  await sql`select acme_private.raise_epoch()`;
  const old = await changes();
  expect(names(old)).toEqual(['one', 'two']);
  await note(sql, 'three');
  await eventually(['two', 'three'], old[0]?.cursor);
  // Also with a cursor that is ahead of what was in the dump: an older epoch is simply over.
  const lost = old[1]?.cursor.replace(/^1\.\d+\./, '1.99999999.') ?? '';
  expect(names(await changes(lost))).toEqual(['three']);
  // Workers' functions whose plans were made before write the new epoch, too.
  expect(
    await sql`select distinct epoch = (select epoch from acme_private.epoch) as is_new from acme.event where event = 'three'`,
  ).toEqual([{ is_new: true }]);
});

test('raising the epoch waits for transactions that have written events, and later ones wait for it', async () => {
  const raised = await openTransaction(async (slow) => {
    await note(slow, 'slow');
    const raising = sql`select acme_private.raise_epoch()`.execute();
    await until(
      async () =>
        (
          await sql`select from pg_locks where not granted and relation = 'acme_private.event'::regclass`
        ).length === 1,
      { what: 'raise_epoch waits' },
    );
    const late = note(sql, 'late').execute();
    await slow`commit`;
    await Promise.all([raising, late]);
    return sql<{ event: string; is_old: boolean }[]>`
      select event, epoch = 1 as is_old from acme.event order by epoch, xid, id`;
  });
  expect(raised).toEqual([
    { event: 'slow', is_old: true },
    { event: 'late', is_old: false },
  ]);
});

test('two restores of one backup do not get the same epoch, nor do two calls within a second', async () => {
  const raise = async () =>
    Number((await sql`select acme_private.raise_epoch() as epoch`)[0]?.['epoch']);
  const first = await raise();
  const [now] = await sql<
    [{ seconds: number }]
  >`select extract(epoch from now())::float8 as seconds`;
  expect(Math.abs(first - now.seconds)).toBeLessThan(60);
  expect(await raise()).toBeGreaterThan(first);
});

test('a cursor that is ahead of the database is refused', async () => {
  await note(sql, 'one');
  const cursor = (await eventually(['one']))[0]?.cursor ?? '';
  const ahead = [cursor.replace(/^1\./, '2.'), cursor.replace(/^1\.\d+/, '1.99999999')];
  for (const one of ahead) {
    expect(await refusal(changes(one))).toMatchObject({
      code: '22023',
      message: `The cursor '${one}' is ahead of this database: it comes from another one, or this one was restored from before it.`,
      hint: "Begin anew with the cursor '': what this database has now may differ from what was read.",
    });
  }
});

test('the million-row plans: one range of an index, for watchers and for an application', async () => {
  await sql`
    insert into acme_private.event (event, tenant)
    select 'e', 'tenant ' || g % 20 from generate_series(1, 20000) g`;
  await sql`vacuum analyze acme_private.event`;
  const app = await database.as('acme_multi_tenant', { max: 1 });
  await app`select set_config('acme.tenant', 'tenant 7', false)`;
  const plan = async (on: postgres.Sql) =>
    (await on<{ 'QUERY PLAN': string }[]>`explain select * from acme.changes('', 10)`)
      .map((row) => row['QUERY PLAN'])
      .join('\n');
  const range = /Index Cond: \(.*ROW\(epoch, xid, id\) > .*ROW\(epoch, xid\) < /;
  const reader = await plan(await database.as('acme_reader'));
  expect(reader).toMatch(/Index Scan using event_pkey/);
  expect(reader).toMatch(range);
  const own = await plan(app);
  expect(own).toMatch(/Index Scan using event_tenant_idx/);
  expect(own).toMatch(range);
  expect(own + reader).not.toContain('Seq Scan on event');
});
