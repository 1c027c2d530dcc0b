import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { plansOf } from '../helpers/plans.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  add,
  ago,
  ahead,
  authorizationOf,
  challengeByHand,
  type Columns,
  frozenCopy,
  type Kind,
  LEASE,
  noCopy,
  now,
  putInState,
  registerDefaultAccount,
  remove,
  set,
  type Value,
  type Which,
  withoutTriggers,
} from '../helpers/state/index.ts';

/** A row of acme.stuck. */
interface Stuck {
  kind: string;
  id: string;
  csr_id: string | null;
  tenant: string | null;
  reason_code: string;
  /** `since` is within seconds of as long ago as the test made it. */
  minutes: number;
  reason: string;
}

let shop: Shop;
let tenant: string;

beforeEach(async () => {
  shop = await openShop();
  tenant = (await shop.database.login('acme_app')).role;
  await registerDefaultAccount(shop.sql);
});

const look = (on: postgres.Sql = shop.sql) => on<Stuck[]>`
  select kind, id, csr_id, tenant, reason_code, round(extract(epoch from now() - since) / 60)::int as minutes, reason
    from acme.stuck
   order by kind, id`;

/** Changes a row as if workers had done it, some time ago, and nobody had been woken. */
async function change<K extends Kind>(
  kind: K,
  which: Which<K>,
  columns: Columns<K>,
): Promise<void> {
  const ids = await withoutTriggers(shop.sql, (tx) => set(tx, kind, which, columns));
  expect(ids.length, `rows of ${kind}`).toBeGreaterThan(0);
}

const leased = (until: Value) => ({ lease_token: LEASE, lease_until: until, claims: 1 });

async function inState(state: string): Promise<string> {
  const id = await shop.insert();
  await putInState(shop.sql, id, state);
  return id;
}

/** A csr whose order is in this state since a while; its id is the order's, and both are returned. */
async function ordering(state: string, columns: Columns<'order'> = {}) {
  const csr = await inState('ordering');
  const url = `https://ca.example.org/order/${csr}`;
  await change(
    'order',
    { csr_id: csr },
    {
      state,
      url,
      created_at: ago('5 minutes'),
      ...columns,
    },
  );
  const [row] = await shop.sql<[{ id: string }]>`
    select id from acme_private."order" where csr_id = ${csr}`;
  return { csr, order: row.id };
}

/** A pending authorization of an order in `authorizing`. */
async function authorizing(columns: Columns<'authorization'> = {}) {
  const { csr, order } = await ordering('authorizing');
  const authorization = await authorizationOf(shop.sql, [order]);
  await change('authorization', authorization, { updated_at: ago('5 minutes'), ...columns });
  return { csr, order, authorization };
}

/** Its challenge is to be published by hand. */
async function byHand(authorization: string, columns: Columns<'record'>): Promise<string> {
  const { record } = await challengeByHand(shop.sql, authorization);
  await change('record', record, columns);
  return record;
}

const NOT_TAKEN = expect.stringMatching(/no worker has .*acme\.worker_status.*start one/) as string;

test('nothing is stuck where all waits for a reason, is held, or is not late yet', async () => {
  const { sql } = shop;
  for (const state of ['received', 'issued', 'needs_person', 'failed', 'cancelled', 'rejected']) {
    await inState(state);
  }
  const retrying = await inState('retrying');
  await change('csr', retrying, { next_attempt_at: ahead('1 day') });
  const due = await inState('issued');
  await change('csr', due, { renew_at: ago('1 minutes') });
  // Late, but held.
  await ordering('ready', leased(ahead('30 seconds')));
  await authorizing(leased(ahead('30 seconds')));
  // A lease that has just run out: reconcile comes within the minute.
  await ordering('finalizing', leased(ago('1 minutes')));
  // Made long ago, but moved just now.
  const { csr, order } = await ordering('ready');
  await sql`select acme_private.note('authorization_valid', ${tenant}, ${csr}, ${order})`;
  // In trouble, and tried again soon.
  await ordering('ready', {
    next_attempt_at: ahead('4 minutes'),
    reason_code: 'remote_trouble',
  });
  // Waits for a person since this morning.
  const { authorization } = await authorizing();
  await byHand(authorization, { updated_at: ago('600 minutes') });
  await sql`select acme.renew(${due})`;
  expect(await look()).toEqual([]);
});

describe('set aside after too many claims', () => {
  const SET_ASIDE = {
    reason_code: 'set_aside',
    minutes: 20,
    reason: expect.stringMatching(
      /It is taken again at .*Look into the workers' logs, and PostgreSQL's/,
    ) as string,
  };
  /** As acme_private.set_aside leaves a row, 20 minutes ago. */
  const aside = {
    reason_code: 'set_aside',
    next_attempt_at: ahead('40 minutes'),
    lease_token: null,
  };

  test('an order, an authorization and a received csr', async () => {
    const received = await shop.insert();
    await change('csr', received, aside);
    const made = await ordering('ready', aside);
    const proving = await authorizing(aside);
    expect(await look()).toEqual([
      {
        kind: 'authorization',
        id: proving.authorization,
        csr_id: proving.csr,
        tenant,
        ...SET_ASIDE,
      },
      { kind: 'csr', id: received, csr_id: received, tenant, ...SET_ASIDE },
      { kind: 'order', id: made.order, csr_id: made.csr, tenant, ...SET_ASIDE },
    ]);
  });

  test('an order that was claimed too often ends, and its csr is stuck until the hour is over', async () => {
    const { sql } = shop;
    const { csr, order } = await ordering('ready');
    for (let i = 0; i < 6; i++) {
      await sql`select acme_private.claim(1, 'order', ${order})`;
      await change('order', order, { lease_until: ago('1 minutes') }).catch(() => undefined);
    }
    expect(await look()).toMatchObject([
      { kind: 'csr', id: csr, csr_id: csr, reason_code: 'set_aside', minutes: 0 },
    ]);
    await change('csr', csr, { next_attempt_at: ago('1 minutes') });
    await sql`select acme_private.reconcile()`;
    expect(await look()).toEqual([]);
  });

  test('an account, for watchers', async () => {
    await change('account', '1', { state: 'registering', ...aside });
    expect(await look()).toEqual([
      { kind: 'account', id: '1', csr_id: null, tenant: null, ...SET_ASIDE },
    ]);
  });
});

describe('a lease that ran out, and nobody took the row', () => {
  const RAN_OUT = {
    reason_code: 'lease_ran_out',
    minutes: 4,
    reason: expect.stringContaining('The worker that had it is gone') as string,
  };

  test('of an order, an authorization, a received csr and an account', async () => {
    const made = await ordering('finalizing', leased(ago('4 minutes')));
    const proving = await authorizing(leased(ago('4 minutes')));
    const received = await shop.insert();
    await change('csr', received, { updated_at: ago('5 minutes'), ...leased(ago('4 minutes')) });
    await change('account', '1', {
      state: 'registering',
      updated_at: ago('5 minutes'),
      ...leased(ago('4 minutes')),
    });
    expect(await look()).toEqual([
      { kind: 'account', id: '1', csr_id: null, tenant: null, ...RAN_OUT },
      { kind: 'authorization', id: proving.authorization, csr_id: proving.csr, tenant, ...RAN_OUT },
      { kind: 'csr', id: received, csr_id: received, tenant, ...RAN_OUT },
      { kind: 'order', id: made.order, csr_id: made.csr, tenant, ...RAN_OUT },
    ]);
  });
});

describe('due for over two minutes, and nobody took it', () => {
  const row = (
    kind: string,
    id: string,
    csr: string | null,
    minutes: number,
    code = 'not_taken',
  ) => ({
    kind,
    id,
    csr_id: csr,
    tenant: csr === null ? null : tenant,
    reason_code: code,
    minutes,
    reason: NOT_TAKEN,
  });

  test.each(['creating', 'ready', 'finalizing', 'downloading'])(
    'an order that is %s',
    async (state) => {
      const { csr, order } = await ordering(state, { next_attempt_at: ago('3 minutes') });
      expect(await look()).toEqual([row('order', order, csr, 3)]);
    },
  );

  test('an order whose authorizations are all decided, or that has expired', async () => {
    const decided = await authorizing({ state: 'valid' });
    const expired = await authorizing({ next_attempt_at: ahead('1 day') });
    await change('order', expired.order, { expires_at: ago('3 minutes') });
    expect(await look()).toEqual([
      row('order', decided.order, decided.csr, 5),
      row('order', expired.order, expired.csr, 5),
    ]);
  });

  test('an authorization', async () => {
    const { csr, authorization } = await authorizing();
    expect(await look()).toEqual([row('authorization', authorization, csr, 5)]);
  });

  test('a registration', async () => {
    await change('account', '1', { state: 'new', updated_at: ago('6 minutes') });
    expect(await look()).toEqual([row('account', '1', null, 6)]);
  });

  test('a received csr, unless it has no account or a worker is judging others', async () => {
    const id = await shop.insert();
    await change('csr', id, { updated_at: ago('7 minutes') });
    expect(await look()).toEqual([row('csr', id, id, 7)]);
    const other = await shop.insert();
    await change('csr', other, leased(ahead('30 seconds')));
    expect(await look()).toEqual([]);
    await change('csr', other, leased(ago('1 minutes')));
    await shop.sql`update acme.account set is_default = false`;
    expect(await look()).toEqual([]);
  });

  test.each(['queued', 'renewing'])('a csr that is %s, unless it has to wait', async (state) => {
    const { sql } = shop;
    const id = await inState(state);
    await change('csr', id, { queued_at: ago('8 minutes') });
    const here = [row('csr', id, id, 8)];
    expect(await look()).toEqual(here);
    const reasons: [string, () => PromiseLike<unknown>, () => PromiseLike<unknown>][] = [
      [
        'the server is paused',
        () => sql`update acme.server set paused_at = now()`,
        () => sql`update acme.server set paused_at = null`,
      ],
      [
        'the account is paused',
        () => sql`update acme.account set paused_at = now()`,
        () => sql`update acme.account set paused_at = null`,
      ],
      [
        'the server cools down',
        () =>
          add(sql, 'cooldown', {
            server_id: sql`(select id from acme.server where name = 'ca')`,
            scope: 'server',
            until: ahead('1 hour'),
            reason: 'busy',
          }),
        () => remove(sql, 'cooldown', {}),
      ],
      [
        'the server is full',
        () => sql`update acme.server set max_orders_in_flight = 1`,
        () => sql`update acme.server set max_orders_in_flight = 50`,
      ],
    ];
    const { order } = await ordering('finalizing', leased(ahead('1 minute')));
    // Places are shared by all tenants, whatever this one sees of the others' orders.
    await change('order', order, { tenant: 'other' });
    for (const on of [sql, shop.app]) {
      expect(await look(on)).toEqual(here);
      for (const [why, begin, end] of reasons) {
        await begin();
        expect(await look(on), why).toEqual([]);
        await end();
        expect(await look(on), `no longer: ${why}`).toEqual(here);
      }
    }
    // Its turn comes: the server has taken an order within the last minutes.
    await change('order', order, { created_at: ago('1 minutes') });
    expect(await look()).toEqual([]);
    // Orders for the same names go one after the other.
    await change('order', order, {
      created_at: ago('5 minutes'),
      identifiers: sql`(select identifiers from acme_private.csr_state where csr_id = ${id})`,
    });
    expect(await look()).toEqual([]);
  });

  test('a new try', async () => {
    const id = await inState('retrying');
    await change('csr', id, { next_attempt_at: ago('9 minutes') });
    expect(await look()).toEqual([row('csr', id, id, 9)]);
  });

  test('a renewal', async () => {
    const id = await inState('issued');
    await change('csr', id, { renew_at: ago('10 minutes') });
    expect(await look()).toEqual([row('csr', id, id, 10, 'renewal_not_begun')]);
  });
});

describe('a request that nobody has seen for over two minutes', () => {
  const request = async (call: 'retry' | 'renew' | 'cancel', id: string) => {
    await shop.app.unsafe(`select acme.${call}($1)`, [id]);
    await change('request', { csr_id: id }, { created_at: ago('3 minutes') });
  };
  const row = (csr: string) => ({
    kind: 'request',
    csr_id: csr,
    tenant,
    reason_code: 'request_not_seen',
    minutes: 3,
    reason: expect.stringContaining('was asked for, and no worker has seen that') as string,
  });

  test('until a worker attends to it', async () => {
    const id = await inState('failed');
    await request('retry', id);
    expect(await look()).toMatchObject([row(id)]);
    await shop.attend(id);
    expect((await look()).filter(({ kind }) => kind === 'request')).toEqual([]);
  });

  test('while an order is under way only a cancellation is', async () => {
    const renewed = await ordering('ready', leased(ahead('1 minute')));
    await request('renew', renewed.csr);
    expect(await look()).toEqual([]);
    const cancelled = await ordering('ready', { next_attempt_at: ahead('1 hour') });
    await request('cancel', cancelled.csr);
    expect(await look()).toMatchObject([row(cancelled.csr)]);
  });
});

test('what is to be published or removed by hand for over a day', async () => {
  const publish = await authorizing();
  const removal = await authorizing({ state: 'valid' });
  await change('order', removal.order, { state: 'issued', finished_at: now() });
  const ids = [
    await byHand(publish.authorization, { updated_at: ago('1500 minutes') }),
    await byHand(removal.authorization, { updated_at: ago('1600 minutes'), state: 'removing' }),
  ];
  expect(await look()).toEqual([
    {
      kind: 'record',
      id: ids[0],
      csr_id: publish.csr,
      tenant,
      reason_code: 'not_published',
      minutes: 1500,
      reason: `It waits to be published by hand: see acme.challenge_todo, and when it is done call acme.challenge_published(${ids[0]}).`,
    },
    {
      kind: 'record',
      id: ids[1],
      csr_id: removal.csr,
      tenant,
      reason_code: 'not_published',
      minutes: 1600,
      reason: `It waits to be removed by hand: see acme.challenge_todo, and when it is done call acme.challenge_removed(${ids[1]}).`,
    },
  ]);
});

test('an account that was closed before the restored database had looked at it is not', async () => {
  const late = { updated_at: ago('5 minutes'), reread_since: ago('9 minutes') };
  await change('account', '1', late);
  expect(await look()).toMatchObject([{ kind: 'account', reason_code: 'not_taken', minutes: 5 }]);
  for (const state of ['deactivated', 'revoked']) {
    await change('account', '1', { ...late, state });
    expect(await look(), state).toEqual([]);
  }
});

test('nothing is stuck in a database that is held as a copy', async () => {
  const id = await inState('issued');
  await change('csr', id, { renew_at: ago('10 minutes') });
  await frozenCopy(shop.sql);
  expect(await look()).toEqual([]);
  await noCopy(shop.sql);
  expect(await look()).toMatchObject([{ id, reason_code: 'renewal_not_begun' }]);
});

test('jobs that the queue gave up; of what comes again each minute only the last run', async () => {
  const { sql } = shop;
  await sql`
    select acme_worker.add_job(t, p::json, max_attempts := 1)
      from (values ('finalize', '{"kind": "order", "id": 7}'), ('attend', '{"kind": "csr", "id": 5}'),
                   ('reconcile', '{}'), ('tidy', '{}'), ('features', '{}')) j (t, p)`;
  expect(await look()).toEqual([]);
  await sql`update acme_worker._private_jobs set attempts = 1`;
  await sql`
    update acme_worker._private_jobs set updated_at = now() - interval '3 minutes'
     where id not in (select id from acme_worker.jobs where task_identifier = 'reconcile')`;
  const rows = await look();
  expect(rows).toMatchObject([
    { kind: 'job', csr_id: null, tenant: null, reason_code: 'job_failed', minutes: 3 },
    { kind: 'job', csr_id: '5', reason_code: 'job_failed', minutes: 3 },
    { kind: 'job', csr_id: null, reason_code: 'job_failed', minutes: 0 },
  ]);
  expect(rows[0]?.reason).toBe(
    "The queue gave up a job of step finalize (order 7); its row is woken again within a minute. The workers' logs say what failed.",
  );
});

test('an application sees its own; watchers and administrators all, also what belongs to no tenant', async () => {
  const { sql, app, database } = shop;
  const mine = await authorizing();
  await ordering('ready');
  await inState('issued').then((id) => change('csr', id, { renew_at: ago('5 minutes') }));
  const failed = await inState('failed');
  await app`select acme.retry(${failed})`;
  await change('request', { csr_id: failed }, { created_at: ago('3 minutes') });
  await byHand(mine.authorization, { updated_at: ago('1500 minutes') });
  await change('account', '1', { state: 'registering', updated_at: ago('5 minutes') });
  await sql`select acme_worker.add_job('prove', max_attempts := 1)`;
  await sql`
    update acme_worker._private_jobs set attempts = max_attempts
     where id in (select id from acme_worker.jobs where task_identifier = 'prove')`;

  const all = await look();
  const kinds = ['account', 'csr', 'job', 'order', 'record', 'request'];
  expect(all.map(({ kind }) => kind)).toEqual(kinds);
  expect(await look(await database.as('acme_reader'))).toEqual(all);
  expect(await look(await database.as('acme_admin'))).toEqual(all);
  const own = all.filter((row) => row.tenant === tenant);
  expect(own.map(({ kind }) => kind)).toEqual(['csr', 'order', 'record', 'request']);
  expect(await look(app)).toEqual(own);
  expect(await look(await database.as('acme_app', { login: 'other' }))).toEqual([]);
});

test('idle csrs are not read', async () => {
  const { sql } = shop;
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`
      insert into acme.csr (tenant, pem) select 'idle', 'pem' from generate_series(1, 20000)`;
    await tx`
      insert into acme_private.csr_state (csr_id, tenant, der_sha256, state, identifiers, certificate_id, renew_at)
      select id, tenant, sha256(id::text::bytea), 'issued', '{x}', id, now() + interval '30 days' from acme.csr`;
  });
  await sql`vacuum analyze acme_private.csr_state`;
  const { role: app } = await shop.database.login('acme_app');
  for (const role of ['acme_reader', app]) {
    const plans = await plansOf(shop.database.url, role, (on) => on`select * from acme.stuck`);
    const read = plans.filter(({ query }) => query.includes('acme_private.stuck_row s'));
    expect(read).toHaveLength(1);
    expect(read[0]?.scanned, role).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(csr|csr_state)$/)]),
    );
  }
});
