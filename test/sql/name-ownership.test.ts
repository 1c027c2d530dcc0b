import { beforeEach, describe, expect, test } from 'vitest';
import type { Verdict } from '../../src/db/steps/step-types.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { travel } from '../helpers/clock.ts';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  accepted,
  add,
  ahead,
  all,
  challengeByHand,
  dueNow,
  fail,
  LEASE,
  lease,
  registerDefaultAccount,
  releaseLease,
  set,
  withoutTriggers,
  workerRow,
} from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

let shop: Shop;
let worker: string;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
  worker = await workerRow(shop.sql);
});

interface Dispatched {
  received: { lease: string; rows: { csr_id: number }[] };
}

async function dispatch(
  sql = shop.sql,
  lease: string | null = null,
  verdicts: Verdict[] = [],
): Promise<Dispatched> {
  const [turn] = await sql<[{ value: Dispatched }]>`
    select acme_private.dispatch(${worker}, ${lease}, ${sql.json(verdicts as never)}, 1) as value`;
  return turn.value;
}

const domainOf = (name: string) => name.split('.').slice(-2).join('.');

/** A tenant inserts a csr for these names, and a worker accepts it. */
async function ask(login: string, ...names: string[]): Promise<string> {
  const app = await shop.database.as('acme_app', { login });
  const { pem } = await makeCsr({ names });
  const [{ id }] = await app<
    [{ id: string }]
  >`insert into acme.csr (pem) values (${pem}) returning id`;
  const { received } = await dispatch();
  await dispatch(shop.sql, received.lease, [
    { ...accepted(id), identifiers: names, domains: names.map(domainOf) },
  ]);
  // Its order, if there is one, is held by no worker.
  await releaseLease(shop.sql, 'order', { csr_id: id, is_live: true });
  return id;
}

async function tenant(login: string): Promise<string> {
  return (await shop.database.login('acme_app', { login })).role;
}

async function state(csr: string): Promise<string> {
  const [row] = await shop.sql<[{ state: string; reason_code: string | null }]>`
    select state, reason_code from acme.csr_status where id = ${csr}`;
  return row.reason_code === null ? row.state : `${row.state} ${row.reason_code}`;
}

async function owners(): Promise<Record<string, string>> {
  const rows = await shop.sql<{ name: string; tenant: string }[]>`
    select name, tenant from acme.name_owner order by name`;
  return Object.fromEntries(rows.map((row) => [row.name, row.tenant]));
}

/** The server makes the csr's order, and a worker has each of its authorizations. */
async function begin(csr: string, status = 'pending'): Promise<{ order: string; ids: string[] }> {
  const { sql } = shop;
  await lease(sql, 'order', { csr_id: csr, is_live: true });
  const [order] = await sql<[{ id: string; names: string[] }]>`
    select id, identifiers as names from acme_private."order" where csr_id = ${csr} and is_live`;
  const facts = {
    url: `https://ca.example.org/order/${order.id}`,
    status,
    authorizations: order.names.map((name) => `https://ca.example.org/authz/${order.id}/${name}`),
  };
  await sql`select acme_private.order_created(null, ${order.id}, ${LEASE}, ${sql.json(facts)}, 0)`;
  const rows = await sql<{ id: string }[]>`
    select a.id
      from acme_private.order_authorization x
      join acme_private.authorization a on a.id = x.authorization_id
     where x.order_id = ${order.id} and a.state = 'pending'`;
  const ids = rows.map(({ id }) => id);
  await lease(sql, 'authorization', ids);
  return { order: order.id, ids };
}

/** The server says that the tenant of the csr controls its name. */
async function prove(csr: string): Promise<void> {
  const { sql } = shop;
  const { ids } = await begin(csr);
  const [{ name }] = await sql<[{ name: string }]>`
    select identifiers[1] as name from acme_private.csr_state where csr_id = ${csr}`;
  const facts = { identifier: name, is_wildcard: false, expires_at: '2099-01-01T00:00:00Z' };
  await sql`select acme_private.authorization_proved(null, ${ids[0] ?? null}, ${LEASE}, ${sql.json(facts)}, 0)`;
}

/** The server says that it does not. */
async function disprove(csr: string): Promise<void> {
  const { ids } = await begin(csr);
  await fail(shop.sql, 'authorization', ids[0] ?? '', { class: 'validation', identifier: 'x' });
}

/** A csr that waits is tried again. */
async function lookAgain(csr: string): Promise<string> {
  await dueNow(shop.sql, 'csr', { csr_id: csr, state: 'retrying' });
  await shop.attend(csr);
  return state(csr);
}

async function cancelOrder(csr: string): Promise<void> {
  await lease(shop.sql, 'order', { csr_id: csr, is_live: true });
  await shop.sql`
    select acme_private.order_cancelled(null, o.id, ${LEASE}, '{}', 0)
      from acme_private."order" o where o.csr_id = ${csr} and o.is_live`;
}

describe('a name that no tenant has proved', () => {
  test('is kept from nobody by a csr that was cancelled', async () => {
    const squatter = await ask('squatter', 'example.org');
    await shop.sql`select acme.cancel(${squatter})`;
    await cancelOrder(squatter);
    const owner = await ask('owner', 'shop.example.org');
    expect(await state(owner)).toBe('ordering');
    await prove(owner);
    expect(await owners()).toEqual({ 'shop.example.org': await tenant('owner') });
  });

  test('is ordered by one tenant at a time, and belongs to the first that proves it', async () => {
    const first = await ask('first', 'shop.example.org');
    const second = await ask('second', 'example.org');
    expect(await state(first)).toBe('ordering');
    expect(await state(second)).toBe('retrying name_in_use');
    const [waits] =
      await shop.sql`select next_attempt_at, reason from acme.csr_status where id = ${second}`;
    expect(waits?.['next_attempt_at']).toBeInstanceOf(Date);
    expect(waits?.['reason']).not.toContain(await tenant('first'));
    expect(await ask('second', 'blog.example.org').then(state), 'no overlap').toBe('ordering');

    await disprove(first);
    await dispatch();
    expect(await state(second), 'its turn').toBe('ordering');
    expect(await lookAgain(first)).toBe('retrying name_in_use');
    await prove(second);
    expect(await owners()).toMatchObject({ 'example.org': await tenant('second') });
    expect(await lookAgain(first)).toBe('rejected name_held');
    const [lost] = await shop.sql`select reason from acme.csr_status where id = ${first}`;
    expect(lost?.['reason']).toContain(
      `select acme.move_name('shop.example.org', '${await tenant('first')}')`,
    );
    const events = await shop.sql`
      select event, count(*)::int from acme.event where csr_id = ${second} and event = 'retrying' group by event`;
    expect([...events], 'waiting is one event').toEqual([{ event: 'retrying', count: 1 }]);
  });

  test('goes to the next tenant when an order for it has had its time, however many more the first inserts', async () => {
    const slow = await ask('first', 'example.org');
    const { order } = await begin(slow);
    const second = await ask('second', 'example.org');
    expect(await state(second)).toBe('retrying name_in_use');
    const more = await ask('first', 'www.example.org');
    expect(await state(more), 'behind who waits already').toBe('retrying name_in_use');

    await travel(shop.sql, 0.01);
    expect(await lookAgain(second)).toBe('retrying name_in_use');
    const [unwanted] =
      await shop.sql`select is_unwanted from acme_private."order" where id = ${order}`;
    expect(unwanted).toEqual({ is_unwanted: true });
    await cancelOrder(slow);
    const [ended] = await shop.sql`select state, reason_code from acme."order" where id = ${order}`;
    expect(ended).toEqual({ state: 'cancelled', reason_code: 'name_in_use' });
    await dispatch();
    expect(await state(second)).toBe('ordering');
    expect(await lookAgain(slow)).toBe('retrying name_in_use');
    await disprove(second);
    await dispatch();
    expect(await state(slow)).toBe('ordering');
    // Twice as long the next time.
    await travel(shop.sql, 0.012);
    await lookAgain(second);
    const [goesOn] = await shop.sql`
      select is_unwanted from acme_private."order" where csr_id = ${slow} and is_live`;
    expect(goesOn).toEqual({ is_unwanted: false });
  });

  test('goes to the tenant that waited longest, also from the queue', async () => {
    const first = await ask('first', 'example.org');
    const third = await ask('third', 'www.example.org');
    const second = await ask('second', 'example.org');
    for (const csr of [second, third]) expect(await state(csr)).toBe('retrying name_in_use');
    // Both are queued then, and the turns of tenants come to the second before the third.
    await disprove(first);
    await dispatch();
    expect(await state(second)).toBe('retrying name_in_use');
    expect(await state(third)).toBe('ordering');
  });

  test('is not kept by a pre-authorization that follows one which was given up', async () => {
    const first = await shop.database.as('acme_app', { login: 'first' });
    const [{ id }] = await first<[{ id: string }]>`select acme.preauthorize('example.org') as id`;
    const named = async (authorization: string) => {
      await lease(shop.sql, 'authorization', authorization);
      const [row] = await shop.sql<[{ answer: unknown }]>`
        select acme_private.authorization_named(null, ${authorization}, ${LEASE}, 'example.org') as answer`;
      return row.answer;
    };
    expect(await named(id)).toEqual({});
    await shop.sql`
      select acme_private.authorization_created(null, ${id}, ${LEASE}, 'https://ca.example.org/authz/1', 0)`;
    const second = await ask('second', 'example.org');
    expect(await state(second)).toBe('retrying name_in_use');
    await travel(shop.sql, 0.01);
    expect(await lookAgain(second)).toBe('retrying name_in_use');
    expect(await lookAgain(second), 'it is deactivated first').toBe('retrying name_handed_on');
    const [{ id: next }] = await first<[{ id: string }]>`
      select acme.preauthorize('example.org') as id`;
    expect(await named(next), 'behind the csr that waits').toBeNull();
  });

  test('is not ordered twice where two workers look at the same moment', async () => {
    const [first, second] = [
      await ask('first', 'a.example.org'),
      await ask('second', 'b.example.org'),
    ];
    // Both are back in the queue, with a name in common.
    for (const csr of [first, second]) await cancelOrder(csr);
    for (const csr of [first, second]) {
      const login = csr === first ? 'first' : 'second';
      await add(shop.sql, 'name', {
        tenant: await tenant(login),
        name: 'c.example.org',
        registered_domain: 'example.org',
      });
      await set(shop.sql, 'csr', csr, { identifiers: ['c.example.org'] });
    }
    await shop.sql.begin(async (open) => {
      await open`select acme_private.make_order(null, ${first})`;
      await shop.sql`select acme_private.make_order(null, ${second})`;
      expect(await state(second)).toBe('retrying name_in_use');
    });
    expect(await state(first)).toBe('ordering');
  });

  test('is not forgotten while an order for it is under way', async () => {
    await begin(await ask('first', 'example.org'));
    await travel(shop.sql, 40);
    await shop.sql`select acme_private.reconcile()`;
    expect(await shop.sql`select from acme_private.tenant_name`).toHaveLength(1);
  });

  test('is asked for again where its csr slept until it was forgotten', async () => {
    const csr = await ask('first', 'example.org');
    await disprove(csr);
    await travel(shop.sql, 40);
    await shop.sql`select acme_private.reconcile()`;
    expect(await shop.sql`select from acme_private.tenant_name`).toHaveLength(0);
    expect(await lookAgain(csr)).toBe('retrying name_in_use');
    await travel(shop.sql, 41);
    expect(await lookAgain(csr)).toBe('ordering');
  });
});

describe('a name that a tenant owns', () => {
  test('lapses a month after its last live csr', async () => {
    const csr = await ask('first', 'example.org');
    await prove(csr);
    const lapses = async () => {
      await shop.sql`select acme_private.reconcile()`;
      const [row] = await shop.sql<[{ lapses_at: Date | null } | undefined]>`
        select lapses_at from acme.name_owner`;
      return row;
    };
    await travel(shop.sql, 1);
    expect(await lapses(), 'an order is under way').toEqual({ lapses_at: null });
    await shop.sql`select acme.cancel(${csr})`;
    await cancelOrder(csr);
    await travel(shop.sql, 2);
    const when = (await lapses())?.lapses_at;
    expect(when?.getTime()).toBeCloseTo(Date.now() + 32 * 86_400_000, -6);
    await travel(shop.sql, 31);
    expect(await lapses()).toBeDefined();
    await travel(shop.sql, 33);
    expect(await lapses()).toBeUndefined();
    const next = await ask('second', 'example.org');
    expect(await state(next)).toMatch(/^(ordering|retrying name_handed_on)/);
  });

  test('is moved by an administrator with what is below it, and a part of it may be', async () => {
    const domain = await ask('first', 'example.org');
    await prove(domain);
    const second = await ask('second', 'shop.example.org');
    expect(await state(second)).toBe('rejected name_held');
    const admin = await shop.database.as('acme_admin');
    await admin`select acme.move_name('SHOP.example.org.', ${await tenant('second')})`;
    expect(await owners()).toEqual({
      'example.org': await tenant('first'),
      'shop.example.org': await tenant('second'),
    });
    expect(await ask('first', 'www.example.org').then(state), 'the rest stays').toBe('ordering');
    expect(await ask('first', 'a.shop.example.org').then(state)).toBe('rejected name_held');
    await shop.sql`select acme.retry(${second})`;
    await shop.attend(second);
    const { received } = await dispatch();
    await dispatch(shop.sql, received.lease, [
      { ...accepted(second, 'shop.example.org'), spki: 'cd'.repeat(32) },
    ]);
    expect(await state(second)).toBe('ordering');

    await admin`select acme.move_name('example.org', 'third')`;
    expect(await owners()).toEqual({ 'example.org': 'third' });
    const goesOn = await shop.sql`
      select from acme_private."order" where is_live and not is_unwanted`;
    expect(goesOn).toHaveLength(0);
    const events = await shop.sql`
      select tenant, detail from acme.event where event = 'name_moved' order by id desc limit 3`;
    expect([...events]).toContainEqual({
      tenant: 'third',
      detail: { name: 'example.org', is_owner: true },
    });
    expect(JSON.stringify(events)).not.toContain('former');
    await admin`select acme.move_name('example.org', null)`;
    expect(await owners()).toEqual({});
  });

  test('is shown to its tenant alone, and to readers', async () => {
    await prove(await ask('first', 'example.org'));
    const [first, second] = [
      await shop.database.as('acme_app', { login: 'first' }),
      await shop.database.as('acme_app', { login: 'second' }),
    ];
    const reader = await shop.database.as('acme_reader');
    expect(await first`select from acme.name_owner`).toHaveLength(1);
    expect(await second`select from acme.name_owner`).toHaveLength(0);
    expect(await reader`select from acme.name_owner`).toHaveLength(1);
    expect(await second`select * from acme.release_domain('example.org')`).toHaveLength(0);
    expect(await owners()).toEqual({ 'example.org': await tenant('first') });
  });

  test('may be given to a tenant before anybody asks for it', async () => {
    await shop.sql`select acme.move_name('shop.example.org', ${await tenant('first')})`;
    expect(await ask('second', 'a.shop.example.org').then(state)).toBe('rejected name_held');
    expect(await ask('first', 'shop.example.org').then(state)).toBe('ordering');
    const [row] = await shop.sql`select registered_domain, proved_at from acme.name_owner`;
    expect(row).toEqual({ registered_domain: 'example.org', proved_at: null });
  });

  test.each([
    ['localhost', 'x', "'localhost' is no host name."],
    [null, 'x', 'null is no host name.'],
    ['b\u00fccher.example', 'x', "'bücher.example' is no host name."],
    ['org', 'x', "'org' is no host name."],
    ['org.', 'x', "'org.' is no host name."],
    ['example.org', 'a\u001bb', /^Give a tenant of 1 to 200 characters/],
  ] as const)(
    'is not moved where the call makes no sense: %j to %j',
    async (name, to, sentence) => {
      await ask('first', 'example.org');
      const error = await refusal(shop.sql`select acme.move_name(${name}, ${to})`);
      expect(error.message).toMatch(sentence);
      expect(error.code).toBe('22023');
    },
  );

  test('is moved again, and freed, before anybody asks for it', async () => {
    for (const to of ['first', 'second', 'third']) {
      await shop.sql`select acme.move_name('shop.example.org', ${to})`;
      expect(await owners()).toEqual({ 'shop.example.org': to });
    }
    await shop.sql`select acme.move_name('example.org', 'fourth')`;
    expect(await owners()).toEqual({ 'example.org': 'fourth' });
    await shop.sql`select acme.move_name('example.org', null)`;
    expect(await owners()).toEqual({});
  });

  test('keeps no other tenant waiting while its own releases it in an open transaction', async () => {
    await shop.sql`select acme.move_name('given.example.org', ${await tenant('first')})`;
    const app = await shop.database.as('acme_app', { login: 'first' });
    await app.begin(async (open) => {
      await open`select * from acme.release_domain('given.example.org')`;
      const locked = await ask('first', 'given.example.org', 'shop.example.net');
      expect(await state(locked)).toBe('retrying name_in_use');
      expect(await ask('second', 'shop.example.net').then(state)).toBe('ordering');
    });
  });

  test('waits for a worker that has an order for it locked, and the order ends', async () => {
    const { order } = await begin(await ask('first', 'example.org', 'www.example.org'));
    let move: Promise<unknown> | undefined;
    await shop.sql.begin(async (worker) => {
      await worker`select from acme_private."order" where id = ${order} for update`;
      move = shop.sql`select acme.move_name('example.org', 'second')`.execute();
      await until(
        async () => {
          const [{ count }] = await shop.sql<[{ count: number }]>`
            select count(*)::int from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'`;
          return count > 0;
        },
        { what: 'the move waits', timeoutMs: 10_000 },
      );
    });
    await move;
    const [row] = await shop.sql`select is_unwanted from acme_private."order" where id = ${order}`;
    expect(row).toEqual({ is_unwanted: true });
    expect(await owners()).toEqual({ 'example.org': 'second' });
  });

  test('is not moved while a transaction that releases it is open, with a sentence', async () => {
    await prove(await ask('first', 'example.org'));
    const app = await shop.database.as('acme_app', { login: 'first' });
    await app.begin(async (open) => {
      await open`select * from acme.release_domain('example.org')`;
      const error = await refusal(shop.sql`select acme.move_name('example.org', 'second')`);
      expect(error).toMatchObject({
        code: '55P03',
        message: 'A transaction that releases or proves example.org is still open.',
      });
    });
  });

  test('is not moved together with all others below a suffix', async () => {
    await add(shop.sql, 'name', {
      tenant: 'x',
      name: 'shop.co.uk',
      registered_domain: 'shop.co.uk',
    });
    const error = await refusal(shop.sql`select acme.move_name('co.uk', 'y')`);
    expect(error.message).toMatch(/^co\.uk is a suffix/);
  });
});

describe('a name that changes hands', () => {
  async function authorizations(): Promise<string[]> {
    const rows = await shop.sql<{ state: string }[]>`
      select state from acme_private.authorization order by id`;
    return rows.map((row) => row.state);
  }

  async function handOn(): Promise<string> {
    await shop.sql`select acme.move_name('example.org', ${await tenant('second')})`;
    return ask('second', 'example.org');
  }

  test('waits until its authorization is deactivated at the server, and is proved again', async () => {
    const first = await ask('first', 'example.org');
    await prove(first);
    await shop.sql`select acme.cancel(${first})`;
    await cancelOrder(first);
    await shop.clearJobs();
    const second = await handOn();
    expect(await state(second)).toBe('retrying name_handed_on');
    expect(await authorizations()).toEqual(['deactivating']);
    expect((await shop.jobs()).map(({ task, payload }) => [task, payload.kind])).toContainEqual([
      'prove',
      'authorization',
    ]);
    // The server cannot be reached.
    await lease(shop.sql, 'authorization', all);
    const [{ id }] = await shop.sql<[{ id: string }]>`select id from acme_private.authorization`;
    await fail(shop.sql, 'authorization', id, { class: 'trouble', code: 'remote_trouble' });
    expect(await lookAgain(second)).toBe('retrying name_handed_on');
    const [waits] =
      await shop.sql`select reason, next_attempt_at from acme.csr_status where id = ${second}`;
    expect(waits?.['reason']).toContain('has not done so yet');
    expect(waits?.['next_attempt_at']).toBeInstanceOf(Date);

    await lease(shop.sql, 'authorization', all);
    await shop.sql`select acme_private.authorization_deactivated(null, ${id}, ${LEASE}, 'deactivated', 0)`;
    await dispatch();
    expect(await state(second)).toBe('ordering');
    await prove(second);
    const [proved] =
      await shop.sql`select tenant, proved_at is not null as is_proved from acme.name_owner`;
    expect(proved).toEqual({ tenant: await tenant('second'), is_proved: true });
  });

  test('takes no authorization along that only the server knew', async () => {
    // Valid before this database had the account: the order comes back ready.
    const first = await ask('first', 'example.org', 'www.example.org');
    await begin(first, 'ready');
    expect(await owners()).toEqual({
      'example.org': await tenant('first'),
      'www.example.org': await tenant('first'),
    });
    await cancelOrder(first);
    const second = await handOn();
    expect(await state(second)).toBe('retrying name_handed_on');
    expect(await authorizations()).toEqual(['deactivating', 'deactivating']);
  });

  test.each([
    ['that the server refused to go on with', { class: 'refused' }],
    ['that the server said has ended', { class: 'refused', authorization_state: 'expired' }],
  ])('takes no authorization along %s', async (_, outcome) => {
    const first = await ask('first', 'example.org');
    const { ids } = await begin(first);
    await set(shop.sql, 'authorization', ids, { identifier: 'example.org' });
    await fail(shop.sql, 'authorization', ids[0] ?? '', outcome);
    await shop.sql`select acme.cancel(${first})`;
    await shop.attend(first);
    const second = await ask('second', 'example.org');
    const isKnownToHaveEnded = 'authorization_state' in outcome;
    expect(await state(second)).toBe(isKnownToHaveEnded ? 'ordering' : 'retrying name_handed_on');
    expect(await authorizations()).toEqual([isKnownToHaveEnded ? 'expired' : 'deactivating']);
  });

  test('takes no authorization along that was answered and expired here while it was pending', async () => {
    const first = await ask('first', 'example.org');
    const { ids } = await begin(first);
    const [id = ''] = ids;
    await set(shop.sql, 'authorization', id, {
      identifier: 'example.org',
      expires_at: ahead('1 day'),
    });
    await challengeByHand(shop.sql, id);
    await shop.sql`select acme.cancel(${first})`;
    await cancelOrder(first);
    await releaseLease(shop.sql, 'authorization', id);
    await travel(shop.sql, 2);
    await shop.sql`select acme_private.reconcile()`;
    expect(await authorizations()).toEqual(['expired']);
    const second = await ask('second', 'example.org');
    expect(await state(second)).toBe('retrying name_handed_on');
  });

  test('is not proved for one tenant by the authorization of another', async () => {
    const first = await ask('first', 'example.org');
    const { order, ids } = await begin(first);
    await withoutTriggers(shop.sql, (tx) =>
      set(tx, 'authorization', ids, { tenant: 'somebody else' }),
    );
    const facts = {
      identifier: 'example.org',
      is_wildcard: false,
      expires_at: '2099-01-01T00:00:00Z',
    };
    await shop.sql`select acme_private.authorization_proved(null, ${ids[0] ?? null}, ${LEASE}, ${shop.sql.json(facts)}, 0)`;
    const [row] = await shop.sql`
      select state, is_unwanted from acme_private."order" where id = ${order}`;
    expect(row).toEqual({ state: 'authorizing', is_unwanted: true });
  });

  test('is lost by an order that proves it after it was moved', async () => {
    const first = await ask('first', 'example.org');
    const { ids } = await begin(first);
    await shop.sql`select acme.move_name('example.org', 'second')`;
    const facts = {
      identifier: 'example.org',
      is_wildcard: false,
      expires_at: '2099-01-01T00:00:00Z',
    };
    await shop.sql`select acme_private.authorization_proved(null, ${ids[0] ?? null}, ${LEASE}, ${shop.sql.json(facts)}, 0)`;
    expect(await owners()).toEqual({ 'example.org': 'second' });
    await cancelOrder(first);
    await dispatch();
    expect(await state(first)).toBe('rejected name_held');
  });
});
