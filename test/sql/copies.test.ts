import type postgres from 'postgres';
import { beforeEach, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import {
  ago,
  frozenCopy,
  noCopy,
  now,
  putInState,
  registerDefaultAccount,
  renewalDue,
  set,
  workerRow,
} from '../helpers/state/index.ts';

let database: FreshDatabase;
let sql: postgres.Sql;

beforeEach(async () => {
  database = await freshDatabase();
  sql = database.sql;
  await sql`insert into acme.account (name, server) values ('main', 'letsencrypt')`;
});

async function csrIn(state: string): Promise<string> {
  const [row] = await sql<[{ id: string }]>`
    insert into acme.csr (pem) values (${pemShapedLikeCsr()}) returning id`;
  if (state !== 'received') await putInState(sql, row.id, state);
  return row.id;
}

async function makeCopy(): Promise<void> {
  await frozenCopy(sql);
}

async function value(query: postgres.PendingQuery<postgres.Row[]>): Promise<unknown> {
  const [row] = await query;
  return Object.values(row ?? {})[0];
}

/** Each gate through which work comes to a worker: what it gives, and how it answers that there is none. */
const gates: [string, () => Promise<() => Promise<unknown>>, unknown][] = [
  [
    'claim of an account',
    async () => {
      const id = await value(sql`select account_id from acme_private.account_state`);
      return () => value(sql`select acme_private.claim(1, 'account', ${String(id)})`);
    },
    null,
  ],
  [
    'claim of an order, also to cancel it',
    async () => {
      const csr = await csrIn('ordering');
      await sql`select acme.cancel(${csr})`;
      const id = await value(sql`select id from acme_private."order"`);
      return () => value(sql`select acme_private.claim(1, 'order', ${String(id)})`);
    },
    null,
  ],
  [
    'claim of a certificate',
    async () => {
      await csrIn('issued');
      const id = String(await value(sql`select id from acme.certificate`));
      await sql`select acme.revoke_certificate(${id}, 'superseded')`;
      return () => value(sql`select acme_private.claim(1, 'certificate', ${id})`);
    },
    null,
  ],
  [
    'dispatch',
    async () => {
      await csrIn('received');
      return () => value(sql`select acme_private.dispatch(1, null, '[]', 1)`);
    },
    { received: { rows: [] }, claims: [] },
  ],
  [
    'attend',
    async () => {
      await registerDefaultAccount(sql);
      const csr = await csrIn('queued');
      return () => value(sql`select acme_private.attend(1, ${csr}, 1)`);
    },
    [],
  ],
  [
    'the place of an order that ended',
    async () => {
      await registerDefaultAccount(sql);
      await csrIn('ordering');
      await csrIn('queued');
      return () =>
        value(sql`select acme_private.pass_on(1, o, 1) from acme_private."order" o limit 1`);
    },
    [],
  ],
];

test.for(gates)('%s: nothing comes of it on a copy', async ([, prepare, none]) => {
  const ask = await prepare();
  await makeCopy();
  expect(await ask()).toEqual(none);
  await noCopy(sql);
  expect(await ask()).not.toEqual(none);
});

test('reconcile leaves a copy as it was copied', async () => {
  const csr = await csrIn('issued');
  await renewalDue(sql, csr, ago('1 day'));
  const state = () => value(sql`select state from acme_private.csr_state where csr_id = ${csr}`);
  await makeCopy();
  await sql`select acme_private.reconcile()`;
  expect(await state()).toBe('issued');
  await noCopy(sql);
  await sql`select acme_private.reconcile()`;
  expect(await state()).toBe('renewing');
});

test('a worker of another environment gets nothing; one that does not say which is not compared', async () => {
  const hold = (id: string, environment: string | null) =>
    value(sql`select acme_private.worker_hold(${id}, ${environment})`);
  const isHeld = (id: string | null) => value(sql`select acme_private.is_held(${id})`);
  const [silent, none, staging] = [
    await workerRow(sql),
    await workerRow(sql),
    await workerRow(sql),
  ];
  expect(await hold(none, null)).toBeNull();
  expect(await hold(staging, 'staging')).toContain('(its worker has staging)');
  expect([await isHeld(silent), await isHeld(none), await isHeld(staging)]).toEqual([
    false,
    false,
    true,
  ]);
  expect(await isHeld(null)).toBe(false);
  await frozenCopy(sql, { environment: 'staging' });
  expect([await isHeld(silent), await isHeld(none), await isHeld(staging)]).toEqual([
    false,
    true,
    false,
  ]);
});

test('to those who only look, a database is held by environment where no worker has the right one', async () => {
  const seen = () => value(sql`select acme_private.hold() is not null`);
  const start = async (environment: string) => {
    const id = await workerRow(sql);
    await sql`select acme_private.worker_hold(${id}, ${environment})`;
    return id;
  };
  expect(await seen()).toBe(false);
  await start('staging');
  expect(await seen()).toBe(true);
  const right = await start('');
  expect(await seen()).toBe(false);
  await set(sql, 'worker', right, { stopped_at: now() });
  expect(await seen()).toBe(true);
});

test('adopting records what is, writes an event and wakes a worker; twice is as good as once', async () => {
  const dispatches = async () =>
    (await sql`select from acme_worker.jobs where task_identifier = 'dispatch'`).length;
  await makeCopy();
  await frozenCopy(sql, { system_identifier: '1' });
  const before = await dispatches();
  await sql`select acme_private.adopt_database('staging')`;
  const rows = await sql`
    select i.database_name = current_database() and i.system_identifier = c.system_identifier::text as is_here, i.environment
      from acme_private.installation i, pg_control_system() c`;
  expect(rows).toEqual([{ is_here: true, environment: 'staging' }]);
  expect(await value(sql`select acme_private.adopt_database('staging')`)).toBeNull();
  const events = await sql`
    select detail #>> '{was,system_identifier}' as was, detail #>> '{is,environment}' as is
      from acme.event where event = 'database_adopted'`;
  expect(events).toEqual([{ was: '1', is: 'staging' }]);
  expect((await dispatches()) - before).toBe(1);
});

test('adopting raises the epoch of events, where there is one, before its own event', async () => {
  await makeCopy();
  await sql`create table public.raised (at timestamptz default clock_timestamp(), events bigint)`;
  await sql`grant insert on public.raised to acme_owner`;
  await sql`drop function if exists acme_private.raise_epoch()`;
  await sql`
    create function acme_private.raise_epoch() returns void language sql volatile security definer
    as $$ insert into public.raised (events) select count(*) from acme_private.event where event = 'database_adopted' $$`;
  await sql`select acme_private.adopt_database(null)`;
  expect(await sql`select events::int from public.raised`).toEqual([{ events: 0 }]);
});

test('a csr says why it waits on a copy, to every role that may read it', async () => {
  await csrIn('received');
  await makeCopy();
  for (const role of ['acme_reader', 'acme_admin']) {
    const reader = await database.as(role);
    expect(await reader`select state, reason_code from acme.csr_status`).toEqual([
      { state: 'paused', reason_code: 'database_copied' },
    ]);
  }
  const app = await database.as('acme_app');
  await app`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
  const [own] = await app<[{ reason: string }]>`select reason from acme.csr_status`;
  expect(own.reason).toBe(
    `The database is held as a copy: it was set up under the name original (here ${database.name}). Nothing goes to a CA from here until pgacme adopt-database is run.`,
  );
});
