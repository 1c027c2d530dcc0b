import type postgres from 'postgres';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { add, putInState, registerDefaultAccount, set } from '../helpers/state/index.ts';

let shop: Shop;
let admin: postgres.Sql;

beforeAll(async () => {
  shop = await openShop();
  admin = await shop.database.as('acme_admin');
});

beforeEach(() => shop.clearJobs());

async function csrIn(state: string): Promise<string> {
  const id = await shop.insert();
  if (state !== 'received') await putInState(shop.sql, id, state);
  await shop.clearJobs();
  return id;
}

describe.each([
  ['retry', 'retry_request', 'retrying'],
  ['renew', 'renew_request', 'issued'],
  ['cancel', 'cancel_request', 'issued'],
])('acme.%s', (name, column, state) => {
  test('counts the version up, notes it, and wakes a worker without a key', async () => {
    const id = await csrIn(state);
    await shop.app.unsafe(`select acme.${name}($1)`, [id]);
    const [row] = await shop.app`select * from acme.csr where id = ${id}`;
    expect(row).toMatchObject({ version: '2', [column]: '2' });
    expect(await shop.status(id)).toMatchObject({ has_pending_request: true });
    expect(await shop.jobs()).toEqual([
      { task: 'attend', key: null, payload: { kind: 'csr', id: Number(id) } },
    ]);
    await shop.app.unsafe(`select acme.${name}($1)`, [id]);
    const [again] = await shop.app`select * from acme.csr where id = ${id}`;
    // Cancelling is final: the first time counts.
    expect(again).toMatchObject({ version: '3', [column]: name === 'cancel' ? '2' : '3' });
  });

  test('of an id that does not exist raises', async () => {
    const error = await refusal(shop.app.unsafe(`select acme.${name}(987654321)`));
    expect(error).toMatchObject({
      code: 'P0002',
      message: 'There is no csr 987654321.',
      hint: 'See acme.csr_status.',
    });
  });
});

test.each([
  ['retrying', 'queued'],
  ['needs_person', 'queued'],
  ['failed', 'queued'],
  ['rejected', 'received'],
  ['issued', 'issued'],
])('acme.retry: a csr that is %s is %s once a worker saw it', async (from, to) => {
  const id = await csrIn(from);
  await shop.app`select acme.retry(${id})`;
  await shop.attend(id);
  expect(await shop.status(id)).toMatchObject({ state: to, has_pending_request: false });
});

test('acme.renew: an issued csr is renewing with the reason given, and keeps its certificate', async () => {
  const id = await csrIn('issued');
  const before = await shop.status(id);
  await shop.app`select acme.renew(${id}, 'the key was seen elsewhere')`;
  await shop.attend(id);
  expect(await shop.status(id)).toMatchObject({
    state: 'renewing',
    renewal_reason: 'the key was seen elsewhere',
    has_certificate: true,
    certificate_id: before['certificate_id'],
  });
});

test.each(['received', 'queued', 'retrying', 'needs_person', 'failed', 'issued', 'renewing'])(
  'acme.cancel: a csr that is %s shows that it was asked for, and is cancelled once a worker saw it',
  async (state) => {
    const id = await csrIn(state);
    const before = await shop.status(id);
    await shop.app`select acme.cancel(${id})`;
    expect(await shop.status(id)).toMatchObject({
      state: before['state'],
      reason_code: 'cancel_requested',
      reason: 'Cancelling was asked for and is under way.',
    });
    await shop.attend(id);
    expect(await shop.status(id)).toMatchObject({
      state: 'cancelled',
      next_attempt_at: null,
      renew_at: null,
      has_certificate: before['has_certificate'],
    });
    for (const request of ['retry', 'renew']) {
      const error = await refusal(shop.app.unsafe(`select acme.${request}($1)`, [id]));
      expect(error.message).toMatch(`csr ${id} is cancelled`);
      expect(error.hint).toBe('Insert the certificate signing request anew.');
    }
  },
);

test('acme.renew of a rejected csr raises and says what to do', async () => {
  const id = await csrIn('rejected');
  expect(await refusal(shop.app`select acme.renew(${id})`)).toMatchObject({
    message: `csr ${id} is rejected and has nothing to renew.`,
    hint: expect.stringContaining('insert a CSR that is right') as unknown,
  });
});

test('renewal = off stops the renewal of an issued csr, reuse plans it again', async () => {
  const id = await csrIn('issued');
  await shop.app`update acme.csr set renewal = 'off' where id = ${id}`;
  expect(await shop.jobs()).toMatchObject([{ task: 'attend', key: null }]);
  await shop.attend(id);
  expect(await shop.status(id)).toMatchObject({ state: 'issued', renew_at: null });
  await shop.app`update acme.csr set renewal = 'reuse' where id = ${id}`;
  await shop.attend(id);
  expect((await shop.status(id))['renew_at']).toBeInstanceOf(Date);
});

describe('acme.pause', () => {
  test.each([
    ['server', 'ca', 'server_paused'],
    ['account', 'main', 'account_paused'],
  ])(
    'of a %s is shown with its reason to all who wait there, until acme.resume',
    async (scope, name, code) => {
      const queued = await csrIn('queued');
      const renewing = await csrIn('renewing');
      const issued = await csrIn('issued');
      const before = await shop.status(queued);
      await admin`select acme.pause(${scope}, ${name}, 'The CA has an outage.')`;
      for (const id of [queued, renewing]) {
        expect(await shop.status(id)).toMatchObject({
          state: 'paused',
          reason_code: code,
          reason: `The ${scope} ${name} is paused: The CA has an outage.`,
          next_attempt_at: null,
        });
      }
      expect(await shop.status(issued)).toMatchObject({ state: 'issued', reason_code: null });
      await shop.sql`select acme_private.dispatch(null, null, null, 8)`;
      expect(await shop.sql`select from acme_private."order"`).toHaveLength(0);
      await shop.clearJobs();
      await admin`select acme.resume(${scope}, ${name})`;
      expect((await shop.jobs()).map(({ task }) => task)).toContain('dispatch');
      expect(await shop.status(queued)).toEqual(before);
    },
  );

  test.each([
    [['server', 'nowhere', 'x'], 'There is no server nowhere.'],
    [['account', 'nobody', 'x'], 'There is no account nobody.'],
    [['csr', '1', 'x'], "The scope is 'csr'; it must be server or account."],
    [[null, 'ca', 'x'], 'The scope is NULL; it must be server or account.'],
    [['server', 'ca', ''], 'Give a reason: whoever waits will read it.'],
    [['server', 'ca', null], 'Give a reason: whoever waits will read it.'],
  ])('%j is refused', async (call, message) => {
    expect((await refusal(admin.unsafe('select acme.pause($1, $2, $3)', call))).message).toBe(
      message,
    );
  });

  test('acme.resume of what does not exist is refused', async () => {
    expect((await refusal(admin`select acme.resume('server', 'nowhere')`)).message).toBe(
      'There is no server nowhere.',
    );
    expect((await refusal(admin`select acme.resume('csr', '1000000')`)).message).toBe(
      'There is no csr 1000000.',
    );
    expect((await refusal(admin`select acme.resume('domain', 'example.org')`)).message).toBe(
      'No server limits the domain example.org at the moment.',
    );
    expect((await refusal(admin`select acme.resume('world', 'all')`)).message).toBe(
      "The scope is 'world'; it must be server, account, domain or csr.",
    );
  });
});

describe('acme.explain tells in words', () => {
  const explain = async (id: string) => {
    const [row] = await shop.app<[{ text: string }]>`select acme.explain(${id}) as text`;
    return row.text;
  };

  test('that no worker has looked', async () => {
    const id = await shop.insert({ ref: 'shop-1' });
    expect(await explain(id)).toBe(
      `csr ${id} 'shop-1' (names not read yet) is received.\n` +
        'No worker has looked at it yet. If this lasts, look at acme.worker_status: is one running? [waiting_for_worker]',
    );
  });

  test('why it was rejected', async () => {
    const id = await csrIn('rejected');
    await set(shop.sql, 'csr', id, { reason_code: 'no_solver', reason: 'No solver serves it.' });
    expect(await explain(id)).toBe(
      `csr ${id} (csr-${id}.example.org) is rejected.\nNo solver serves it. [no_solver]`,
    );
  });

  test('that the account is not ready, and then for what it waits', async () => {
    const id = await csrIn('queued');
    expect(await explain(id)).toContain(
      'The account main is new and not registered yet. [account_not_ready]',
    );
    await registerDefaultAccount(shop.sql);
    expect(await explain(id)).toContain('at most 50 for server ca). [waiting_for_room]');
  });

  test('which csr it waits for, where that has the same names', async () => {
    await registerDefaultAccount(shop.sql);
    const [first, second] = [await csrIn('ordering'), await csrIn('queued')];
    const [names] = await shop.sql<[{ identifiers: string[]; identifiers_key: Buffer }]>`
      select identifiers, identifiers_key from acme_private.csr_state where csr_id = ${first}`;
    await set(shop.sql, 'csr', second, names);
    expect(await explain(second)).toContain(
      `It waits for csr ${first}, which has the same names and is being ordered by the same account. [waiting_for_room]`,
    );
  });

  test('when it is tried next, and what happened', async () => {
    const id = await csrIn('retrying');
    await set(shop.sql, 'csr', id, {
      reason_code: 'validation_failed',
      reason: 'It was not reached.',
      next_attempt_at: new Date('2100-01-02T03:04:05Z'),
    });
    const { role } = await shop.database.login('acme_app');
    await add(shop.sql, 'event', {
      event: 'order_failed',
      tenant: role,
      csr_id: id,
      detail: shop.sql`'{"reason": "connection refused"}'`,
    });
    const text = await explain(id);
    expect(text).toContain('is retrying.\nIt was not reached. [validation_failed]\nNext try: 21');
    expect(text).toMatch(/Last events:\n {2}[-\d]+ [:\d]+ order_failed: connection refused$/);
  });

  test('until when its certificate is good and when it is renewed', async () => {
    const id = await csrIn('issued');
    expect(await explain(id)).toMatch(
      /is issued\.\nIts certificate \d+ is good until .*; renewal is due .*\d/,
    );
    await set(shop.sql, 'csr', id, { renew_at: null });
    expect(await explain(id)).toContain('; it is not renewed');
  });

  test('of an id that does not exist nothing: it raises', async () => {
    expect((await refusal(shop.app`select acme.explain(987654321)`)).message).toBe(
      'There is no csr 987654321.',
    );
  });
});

test('acme.http01_response answers only for what is published', async () => {
  const long = 'x'.repeat(513);
  const records = [
    { token: 'published', state: 'published' },
    { token: 'removing', state: 'removing' },
    { token: 'intended', state: 'intended' },
    { token: 'removed', state: 'removed' },
    { token: long, state: 'published' },
    { token: 'dns', state: 'published', type: 'dns-01' },
  ].map((row) => ({
    ...{
      tenant: 't',
      solver: 's',
      method: 'manual',
      type: 'http-01',
      identifier: 'a.example.org',
      value: `${row.token}.key`,
    },
    ...row,
  }));
  for (const record of records) await add(shop.sql, 'record', record);
  const responder = await shop.database.as('acme_responder');
  const answers = async (token: string | null) => {
    const [row] = await responder<
      [{ value: string | null }]
    >`select acme.http01_response(${token}) as value`;
    return row.value;
  };
  expect(await answers('published')).toBe('published.key');
  await add(shop.sql, 'record', {
    tenant: 't',
    solver: 's',
    method: 'manual',
    type: 'http-01',
    identifier: 'b.example.org',
    token: 'published',
    value: 'of another CA',
    state: 'published',
  });
  const byHost = await responder`
    select acme.http01_response('published', 'a.example.org') as a, acme.http01_response('published', 'B.example.org.') as b`;
  expect(byHost).toEqual([{ a: 'published.key', b: 'of another CA' }]);
  expect(await answers('removing')).toBe('removing.key');
  for (const token of [
    'intended',
    'removed',
    'dns',
    'unknown',
    '',
    "' or true --",
    '%',
    '../x',
    long,
    'y'.repeat(100_000),
    null,
  ]) {
    expect(await answers(token), token?.slice(0, 20)).toBeNull();
  }
});
