import postgres from 'postgres';
import { beforeEach, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { scaled } from '../helpers/scale.ts';
import { openShop } from '../helpers/shop.ts';
import { accepted, putInState, registerDefaultAccount } from '../helpers/state/index.ts';

let database: FreshDatabase;
let app: postgres.Sql;

beforeEach(async () => {
  database = await freshDatabase();
  app = await database.as('acme_app');
});

/** The jobs in the queue: task, and whether a key stands for them. */
async function jobs(): Promise<{ task: string; has_key: boolean }[]> {
  return database.sql`
    select task_identifier as task, key is not null as has_key
      from acme_worker.jobs
     order by id`;
}

const clearJobs = () =>
  database.sql`select acme_worker.complete_jobs(array(select id from acme_worker.jobs))`;

/** A csr in this state, with an account, and an empty queue. */
async function insertIn(state: string): Promise<string> {
  const { sql } = database;
  await sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
  await sql`insert into acme.account (name, server) values ('main', 'ca')`;
  const [csr] = await app<
    [{ id: string }]
  >`insert into acme.csr (pem) values (${pemShapedLikeCsr()}) returning id`;
  await putInState(sql, csr.id, state);
  await clearJobs();
  return csr.id;
}

test('any number of rows in one statement wakes one dispatcher, without a key', async () => {
  const count = scaled(10_000);
  const pems = Array.from({ length: count }, () => pemShapedLikeCsr());
  const startedAt = performance.now();
  await app`insert into acme.csr (pem) select unnest(${pems}::text[])`;
  const seconds = (performance.now() - startedAt) / 1000;
  process.stdout.write(
    `      ${count} CSRs in one INSERT: ${Math.round(count / seconds)} rows/s\n`,
  );
  expect(await jobs()).toEqual([{ task: 'dispatch', has_key: false }]);
  const [row] = await app<[{ received: number }]>`
    select count(*)::int as received from acme.csr_status where state = 'received'`;
  expect(row.received).toBe(count);
}, 120_000);

test('a statement that inserts nothing wakes nobody', async () => {
  await app`insert into acme.csr (pem) select unnest(${[]}::text[])`;
  expect(await jobs()).toEqual([]);
});

const breakages = [
  {
    what: 'its functions are gone',
    breaking: ['add_job', 'add_jobs'].map((name) => ({
      kind: 'routine',
      name: `acme_worker.${name}`,
    })),
  },
  { what: 'its schema is gone', breaking: [{ kind: 'schema', name: 'acme_worker' }] },
];

test.each(breakages)(
  'INSERTs and requests succeed when the queue is broken: $what',
  async ({ breaking }) => {
    const { sql } = database;
    const issued = await insertIn('issued');
    const warnings: string[] = [];
    const { url } = await database.login('acme_app');
    const loud = postgres(url, {
      max: 1,
      onnotice: ({ message }) => warnings.push(String(message)),
    });
    try {
      for (const { kind, name } of breaking) {
        await sql.unsafe(`alter ${kind} ${name} rename to broken_${name.replace(/.*\./, '')}`);
      }
      await loud`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
      await loud`select acme.renew(${issued})`;
      for (const { kind, name } of breaking) {
        const [plain = '', schema] = name.split('.').reverse();
        const broken = `${schema === undefined ? '' : `${schema}.`}broken_${plain}`;
        await sql.unsafe(`alter ${kind} ${broken} rename to ${plain}`);
      }
    } finally {
      await loud.end();
    }
    expect(warnings).toHaveLength(2);
    for (const warning of warnings) {
      expect(warning).toMatch(
        /^pgacme could not wake a worker \(.*\); the work is picked up within a minute$/,
      );
    }
    expect(await jobs()).toEqual([]);
    // What the lost wake-ups stood for is in the rows.
    await sql`select acme_private.reconcile()`;
    expect((await jobs()).map(({ task }) => task).sort()).toEqual(['attend', 'dispatch']);
  },
);

test.each(['queued', 'renewing', 'retrying', 'needs_person', 'rejected', 'failed', 'issued'])(
  'a request whose wake-up was lost is found again: csr %s',
  async (state) => {
    const id = await insertIn(state);
    await app`update acme.csr set renew_request = version + 1 where id = ${id}`;
    await clearJobs();
    await database.sql`select acme_private.reconcile()`;
    expect((await jobs()).map(({ task }) => task)).toContain('attend');
  },
);

test('a worker that stops takes no more CSRs to judge, and leaves a wake-up for another', async () => {
  const shop = await openShop();
  const id = await shop.insert();
  await shop.clearJobs();
  const [turn] = await shop.database.sql<[{ rows: unknown[] }]>`
    select acme_private.dispatch(1, null, '[]', 0) #> '{received,rows}' as rows`;
  expect(turn.rows).toEqual([]);
  expect((await shop.jobs()).map(({ task }) => task)).toEqual(['dispatch']);
  expect(await shop.status(id)).toMatchObject({ state: 'received' });
});

test('an account registered while a csr is being queued finds a dispatcher that comes back', async () => {
  const shop = await openShop();
  const { database, sql } = shop;
  const id = await shop.insert();
  const [{ lease }] = await sql<[{ lease: string }]>`
    select acme_private.dispatch(null, null, '[]', 1) #>> '{received,lease}' as lease`;
  await shop.clearJobs();
  const worker = await database.as('acme_worker', { max: 1 });
  await worker.begin(async (tx) => {
    await tx`select acme_private.dispatch(null, ${lease}, ${tx.json([accepted(id)] as never)}, 1)`;
    // What the registration wakes looks too early.
    await registerDefaultAccount(sql);
    await sql`select acme_private.dispatch(null, null, '[]', 1)`;
  });
  expect(await shop.status(id)).toMatchObject({ state: 'queued' });
  expect(await shop.jobs()).toMatchObject([
    { task: 'dispatch', key: expect.stringMatching(/^pgacme:dispatch:soon:/) as string },
  ]);
  await sql`select acme_private.dispatch(null, null, '[]', 1)`;
  expect(await shop.status(id)).toMatchObject({ state: 'ordering' });
});

test('tenants take turns also when the last order has ended before the next is admitted', async () => {
  const shop = await openShop();
  const { sql } = shop;
  await sql`update acme.server set max_orders_in_flight = 1`;
  await registerDefaultAccount(sql);
  for (const tenant of ['a', 'a', 'b']) {
    const [csr] = await sql<[{ id: string }]>`
      insert into acme.csr (pem, tenant) values (${pemShapedLikeCsr()}, ${tenant}) returning id`;
    await putInState(sql, csr.id, 'queued');
  }
  const served: string[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    const [{ claims }] = await sql<[{ claims: { id: number; lease: string }[] }]>`
      select acme_private.dispatch(null, null, '[]', 1) -> 'claims' as claims`;
    const [claim] = claims;
    const [order] = await sql<[{ tenant: string }]>`
      select tenant from acme."order" where id = ${claim?.id ?? null}`;
    served.push(order.tenant);
    // A worker whose job has gone on for long enough leaves the place to a dispatcher.
    await sql`
      select acme_private.step_failed(null, 'order', ${claim?.id ?? null}, ${claim?.lease ?? null},
                                      '{"class": "permanent", "code": "refused_for_good", "text": "no"}', 0)`;
  }
  expect(served).toEqual(['a', 'b', 'a']);
});
