import type postgres from 'postgres';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  add,
  frozenCopy,
  noCopy,
  putInState,
  registerDefaultAccount,
} from '../helpers/state/index.ts';

/** A row of acme.attention. */
interface Row {
  severity: string;
  code: string;
  since: Date | null;
  csr_id: string | null;
  ref: string | null;
  tenant: string | null;
  identifiers: string[] | null;
  account: string | null;
  server: string | null;
  worker: string | null;
  sentence: string;
  what_to_do: string;
}

let shop: Shop;
let reader: postgres.Sql;

beforeAll(async () => {
  shop = await openShop();
  reader = await shop.database.as('acme_reader');
});

/** All tests have one database, which each begins as it was: it takes seconds to make another. */
beforeEach(async () => {
  const { sql } = shop;
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`truncate acme.csr, acme_private.csr_state, acme_private.request, acme_private.worker, acme.account restart identity cascade`;
  });
  await sql`delete from acme.server where name <> 'ca'`;
  await sql`update acme.server set directory_url = 'https://ca.example.org/dir', paused_at = null`;
  await sql`update acme.solver set method = 'responder'`;
  await sql`delete from acme_private.server_contact`;
  await sql`delete from acme.attention_settings`;
  await sql`insert into acme.attention_settings default values`;
  await noCopy(sql);
  await sql`insert into acme.account (name, server) values ('main', 'ca')`;
  await registerDefaultAccount(sql);
  // Else a worker is missed.
  await worker();
});

/** Signs of life of a worker that answers http-01, held by nobody: it is as young as a worker that beats. */
async function worker(columns: Record<string, string> = {}): Promise<void> {
  const all = {
    host: `'h'`,
    pid: '1',
    version: `'1'`,
    concurrency: '1',
    http01: `'0.0.0.0:80'`,
    ...columns,
  };
  await shop.sql.unsafe(
    `insert into acme_private.worker (${Object.keys(all).join(', ')}) values (${Object.values(all).join(', ')})`,
  );
}

const look = (on: postgres.Sql = reader) => on<Row[]>`select * from acme.attention`;
const codes = async (on: postgres.Sql = reader) =>
  (await look(on)).map(({ severity, code }) => `${severity} ${code}`);

/** Changes rows as if workers had done it, without triggers. */
async function set(table: string, columns: Record<string, string>, where = 'true'): Promise<void> {
  const list = Object.entries(columns).map(([name, value]) => `${name} = ${value}`);
  await shop.sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx.unsafe(`update ${table} set ${list.join(', ')} where ${where}`);
  });
}

async function inState(state: string, columns: Record<string, string> = {}): Promise<string> {
  const id = await shop.insert();
  await putInState(shop.sql, id, state);
  if (Object.keys(columns).length > 0) {
    await set('acme_private.csr_state', columns, `csr_id = ${id}`);
  }
  return id;
}

const hours = (n: number) => `now() + interval '${n} hours'`;
const dates = (planned: number, notAfter: number, notBefore = -2000) => ({
  planned_renewal_at: hours(planned),
  not_before: hours(notBefore),
  not_after: hours(notAfter),
});

test('nothing needs attention where all is well', async () => {
  for (const state of ['received', 'queued', 'ordering', 'issued', 'renewing', 'cancelled']) {
    await inState(state);
  }
  expect(await codes()).toEqual([]);
  expect(await codes(shop.app)).toEqual([]);
  expect(await codes(shop.sql)).toEqual([]);
});

test('each code is documented, is stable, and says what to do', async () => {
  const rows = await reader<{ code: string; severity: string; what_to_do: string }[]>`
    select * from acme.attention_code order by position`;
  for (const { severity, what_to_do: what } of rows) {
    expect(['warning', 'critical', 'warning or critical']).toContain(severity);
    expect(what).toMatch(/[.;)]$|pgacme worker/);
  }
  expect(rows.map(({ code }) => code)).toEqual([
    'database_copied',
    'no_worker',
    'certificate_expired',
    'renewal_overdue',
    'certificate_ends',
    'validation_failed',
    'needs_person',
    'needs_new_csr',
    'rejected',
    'failed',
    'no_account',
    'account_closed',
    'account_key_unknown',
    'terms_not_agreed',
    'account_lost',
    'account_cannot_order',
    'server_unreachable',
    'server_cooldown',
    'worker_key_wrong',
    'no_http01_responder',
    'clock_off',
    'stuck',
    'changes_frozen',
    'notify_queue_filling',
  ]);
});

describe('a certificate', () => {
  // Planned 30 days (720 h) before its end.
  test.each([
    ['on time', dates(1, 721), []],
    ['just due', dates(-1, 719), []],
    ['a third of what was left is over', dates(-241, 479), ['warning renewal_overdue']],
    ['two thirds of it', dates(-481, 239), ['critical renewal_overdue']],
    ['expired', dates(-721, -1), ['critical certificate_expired']],
    ['short-lived: a third over', dates(-25, 47, -97), ['warning renewal_overdue']],
    ['short-lived: two thirds over', dates(-49, 23, -121), ['critical renewal_overdue']],
  ])('%s', async (_, columns, expected) => {
    await inState('renewing');
    await set('acme_private.certificate', columns);
    expect(await codes()).toEqual(expected);
    expect(await codes(shop.app)).toEqual(expected);
  });

  test('is measured from the renewal first planned, which retries do not move', async () => {
    const id = await inState('renewing', {
      state: `'retrying'`,
      next_attempt_at: hours(20),
      reason_code: `'server_refused'`,
      reason: `'The server answered malformed: no.'`,
      renew_at: hours(500),
    });
    await set('acme_private.certificate', dates(-481, 239));
    const [row] = await look();
    expect(row).toMatchObject({
      severity: 'critical',
      code: 'renewal_overdue',
      csr_id: id,
      identifiers: [`csr-${id}.example.org`],
      account: 'main',
      server: 'ca',
      sentence: expect.stringMatching(
        /^The renewal is overdue since \d{4}-.*\. The server answered malformed: no\. The certificate expires \d{4}-.*\.$/,
      ) as string,
      what_to_do: expect.stringContaining(`acme.retry(${id})`) as string,
    });
    const [planned] = await shop.sql<
      [{ at: Date }]
    >`select planned_renewal_at as at from acme_private.certificate`;
    expect(row?.since).toEqual(planned.at);
  });

  test.each([
    ['a third of the lifetime left', 300, ['warning certificate_ends']],
    ['a tenth left', 90, ['critical certificate_ends']],
    ['half of it left', 500, []],
    ['expired', -1, ['critical certificate_expired']],
  ])('that is not renewed: %s', async (_, left, expected) => {
    await inState('issued', { renew_at: 'null' });
    await set('acme.csr', { renewal: `'off'` });
    await set('acme_private.certificate', dates(left - 340, left, left - 1000));
    expect(await codes()).toEqual(expected);
  });

  test.each([
    ['issued', `'off'`, {}, 'It is not renewed (renewal is off).', `renewal = 'reuse' where id =`],
    ['issued', `'reuse'`, {}, 'No worker has begun the renewal.', 'acme.retry('],
    ['needs_person', `'reuse'`, {}, 'Act.', 'Do what the sentence says'],
    ['needs_new_csr', `'reuse'`, {}, 'Act.', 'Make a new key'],
    ['failed', `'reuse'`, {}, 'Act.', 'Insert a corrected request'],
    ['retrying', `'reuse'`, { reason_code: `'validation_failed'` }, 'Act.', 'Check the DNS'],
    ['retrying', `'reuse'`, { reason_code: `'server_refused'` }, 'Act.', 'Fix the cause'],
  ])(
    'that has expired in %s with renewal %s (%j): the cause, and what helps there',
    async (state, renewal, columns, cause, whatToDo) => {
      const reason = state === 'issued' ? 'null' : `'Act'`;
      const times = {
        renew_at: renewal === `'off'` ? 'null' : hours(-700),
        ...(state === 'retrying' ? { next_attempt_at: hours(1) } : {}),
      };
      await inState('renewing', { state: `'${state}'`, reason, ...times, ...columns });
      await set('acme.csr', { renewal });
      await set('acme_private.certificate', dates(-721, -1));
      const [row] = await look(shop.app);
      expect(row?.code).toBe('certificate_expired');
      expect(row?.sentence).toBe(
        `The certificate expired ${row?.sentence.match(/\d{4}-\S+ \S+ \w+/)?.[0] ?? ''}. ${cause}`,
      );
      expect(row?.what_to_do).toContain(whatToDo);
    },
  );

  test('whose renewal waits for the end of a pause: the statement that ends it', async () => {
    await inState('renewing');
    await set('acme_private.csr_state', { order_id: 'null' });
    await set('acme_private.certificate', dates(-481, 239));
    await shop.sql`select acme.pause('account', 'main', 'audit')`;
    expect((await look())[0]).toMatchObject({
      sentence: expect.stringMatching(
        / The account main is paused: audit\. The certificate expires /,
      ) as string,
      what_to_do: `End the pause: select acme.resume('account', 'main');`,
    });
    await shop.sql`select acme.pause('server', 'ca', 'moving')`;
    const [row] = await look();
    expect(row?.what_to_do).toBe(`End the pause: select acme.resume('server', 'ca');`);
    await shop.sql`select acme.resume('server', 'ca')`;
  });

  test.each(['needs_person', 'failed', 'needs_new_csr'])(
    'of a csr in %s: its row becomes critical when a tenth of the lifetime is left',
    async (state) => {
      const id = await inState('renewing', { state: `'${state}'`, reason: `'Act.'` });
      await set('acme_private.certificate', dates(-1, 300, -700));
      expect(await codes()).toEqual([`warning ${state}`]);
      expect((await look())[0]?.sentence).toMatch(/^Act\. The certificate expires \d{4}-/);
      await set('acme_private.certificate', dates(-200, 90, -910));
      expect(await codes()).toEqual([`critical ${state}`]);
      await shop.sql`select acme.cancel(${id})`;
      await shop.attend(id);
      expect(await codes()).toEqual([]);
    },
  );

  test.each(['needs_new_csr', 'failed', 'rejected'])(
    'of a csr in %s: what to do is typed in that order',
    async (state) => {
      const id = await inState(state, { reason: `'Act.'` });
      await set('acme.csr', { ref: `'shop'` }, `id = ${id}`);
      await set('acme_private.csr_state', { ref: `'shop'` }, `csr_id = ${id}`);
      const what = (await look(shop.app))[0]?.what_to_do ?? '';
      for (const step of what.match(
        /select acme\.cancel\(\d+\);|[Ii]nsert a (corrected )?request/g,
      ) ?? []) {
        if (step.startsWith('select')) {
          await shop.app.unsafe(step);
          await shop.attend(id);
        } else {
          await shop.insert({ ref: 'shop' });
        }
      }
      expect(await codes()).not.toContain(`warning ${state}`);
    },
  );

  test('of a cancelled csr concerns nobody', async () => {
    const id = await inState('issued');
    await set('acme_private.certificate', dates(-721, -1));
    await set('acme_private.csr_state', { renew_at: hours(1) });
    expect(await codes()).toEqual(['critical certificate_expired']);
    await shop.sql`select acme.cancel(${id})`;
    await shop.attend(id);
    expect(await codes()).toEqual([]);
  });

  test('that has expired says so wherever it is read, and is served', async () => {
    const id = await inState('renewing');
    await set('acme_private.certificate', dates(-721, -30));
    expect(await shop.status(id)).toMatchObject({ is_expired: true, has_certificate: true });
    const [left] = await shop.app<[{ hours: number }]>`
      select round(extract(epoch from expires_in) / 3600)::int as hours from acme.csr_status where id = ${id}`;
    expect(left.hours).toBe(-30);
    expect([...(await shop.app`select is_expired from acme.current_certificate`)]).toEqual([
      { is_expired: true },
    ]);
    for (const k of await shop.sql<{ name: string; certificate_id: string; tenant: string }[]>`
      select identifiers[1] as name, id as certificate_id, tenant from acme.certificate`) {
      await add(shop.sql, 'certificate_name', k);
    }
    expect([
      ...(await shop.app`select is_expired from acme.certificate_for(${`csr-${id}.example.org`})`),
    ]).toEqual([{ is_expired: true }]);
    const [told] = await shop.app<[{ text: string }]>`select acme.explain(${id}) as text`;
    expect(told.text).toMatch(/^Its certificate \d+ expired \d{4}-.*; renewal is due /m);
    expect(told.text).not.toContain('good until');
    const fresh = await inState('issued');
    expect(await shop.status(fresh)).toMatchObject({ is_expired: false });
  });
});

test.each([
  ['needs_person', 'warning needs_person'],
  ['needs_new_csr', 'warning needs_new_csr'],
  ['rejected', 'warning rejected'],
  ['failed', 'warning failed'],
])('a csr in %s', async (state, expected) => {
  const id = await inState(state, { reason: `'This is why.'` });
  for (const on of [reader, shop.app]) {
    expect(await codes(on)).toEqual([expected]);
    expect((await look(on))[0]).toMatchObject({ csr_id: id, sentence: 'This is why.' });
  }
});

test('a failed validation is told at once, with the words of the CA', async () => {
  await inState('retrying', {
    reason_code: `'validation_failed'`,
    reason: `'dns: no such name.'`,
    next_attempt_at: hours(1),
  });
  expect((await look(shop.app)).map(({ code, sentence }) => [code, sentence])).toEqual([
    ['validation_failed', 'dns: no such name.'],
  ]);
});

test('an application sees its own requests, and neither accounts, servers, workers nor another tenant', async () => {
  const other = await shop.database.as('acme_app', { login: 'other' });
  await inState('needs_person', { reason: `'mine'` });
  await set('acme_private.account_state', { state: `'deactivated'` });
  await set('acme_private.worker', { http01: 'null', clock_ahead: `interval '2 hours'` });
  expect(await codes(other)).toEqual([]);
  expect(await codes(shop.app)).toEqual(['warning needs_person']);
  expect((await codes()).sort()).toEqual([
    'critical account_closed',
    'critical clock_off',
    'critical no_http01_responder',
    'warning needs_person',
  ]);
  const admin = await shop.database.as('acme_admin');
  expect(await codes(admin)).toEqual(await codes());
});

test('no sentence tells where a CA is', async () => {
  await set('acme.server', { directory_url: `'https://ca.internal.example:14000/dir'` });
  const said = `'https://ca.internal.example:14000/order/7 answered 500; ca.internal.example is away, myca.internal.example.org is not.'`;
  await inState('needs_person', { reason: said });
  await set('acme_private.account_state', {
    reason_code: `'terms_not_agreed'`,
    reason: said,
    state: `'registering'`,
    next_attempt_at: `'infinity'`,
  });
  const rows = await look();
  expect(rows.map(({ code }) => code)).toEqual(['terms_not_agreed', 'needs_person']);
  for (const { sentence } of rows) {
    expect(sentence).toContain(
      'the server answered 500; the server is away, myca.internal.example.org is not.',
    );
  }
});

describe('an account', () => {
  const waits = (code: string) => ({
    reason_code: `'${code}'`,
    reason: `'Act.'`,
    next_attempt_at: `'infinity'`,
  });
  test.each([
    ['deactivated and needed', { state: `'deactivated'` }, 'critical account_closed'],
    ['revoked and needed', { state: `'revoked'` }, 'critical account_closed'],
    ['whose key is unknown', { ...waits('account_key_unknown') }, 'critical account_key_unknown'],
    ['that is refused', { ...waits('account_refused') }, 'critical account_key_unknown'],
    [
      'whose terms nobody agreed to',
      { state: `'registering'`, ...waits('terms_not_agreed') },
      'critical terms_not_agreed',
    ],
    [
      'that needs a binding',
      { state: `'registering'`, ...waits('external_account_required') },
      'critical account_cannot_order',
    ],
    [
      'that was lost, and cannot be registered again',
      {
        state: `'registering'`,
        reason_code: `'account_lost'`,
        reason: `'Lost.'`,
        registered_at: hours(-9),
        updated_at: hours(-1),
        next_attempt_at: hours(1),
      },
      'critical account_lost',
    ],
  ])('%s', async (_, columns, expected) => {
    await set('acme_private.account_state', columns);
    expect(await codes()).toEqual([expected]);
    expect((await look())[0]).toMatchObject({ account: 'main', server: 'ca' });
    // What cannot order does not look as if it could.
    const [status] = await reader<[{ state: string }]>`select state from acme.account_status`;
    expect(status.state).not.toBe('valid');
  });

  test('that is closed and needed by nothing is no matter', async () => {
    await shop.sql`insert into acme.account (name, server) values ('old', 'ca')`;
    await set('acme_private.account_state', { state: `'deactivated'` }, 'account_id = 2');
    expect(await codes()).toEqual([]);
    const id = await shop.insert({ account: 'old' });
    await putInState(shop.sql, id, 'issued');
    expect(await codes()).toEqual(['critical account_closed']);
  });

  test('whose key is unknown is no matter once another one has taken its place', async () => {
    const id = await shop.insert({ account: 'main' });
    await putInState(shop.sql, id, 'issued');
    await shop.sql`insert into acme.account (name, server) values ('new', 'ca')`;
    await set('acme_private.account_state', waits('account_key_unknown'), 'account_id = 1');
    await set('acme.account', { is_default: `name = 'new'` });
    expect(await codes(), 'a request names it').toEqual(['critical account_key_unknown']);
    await shop.sql`select acme.replace_account('main', 'new')`;
    expect(await codes()).toEqual([]);
  });

  test('that takes news badly but orders is no matter', async () => {
    await set('acme_private.account_state', waits('contact_refused'));
    expect(await codes()).toEqual([]);
  });

  test('is missed when requests wait for one', async () => {
    await set('acme.account', { is_default: 'false' });
    expect(await codes()).toEqual([]);
    await shop.insert();
    expect(await codes()).toEqual(['critical no_account']);
  });
});

describe('a server', () => {
  const answered = (reason: string | null) =>
    shop.sql`select acme_private.server_answered((select id from acme.server), ${reason})`;

  test('that does not answer is a warning, then critical, until it answers', async () => {
    await answered(null);
    await answered('It refuses connections (ECONNREFUSED)');
    expect(await codes()).toEqual([]);
    await set('acme_private.server_contact', { failing_since: `now() - interval '6 minutes'` });
    await answered('It answered 502');
    expect(await codes()).toEqual(['warning server_unreachable']);
    expect((await look())[0]?.sentence).toMatch(
      /^It answered 502\. The server ca has not answered since \d{4}-.*; its last good answer was at \d{4}-/,
    );
    await set('acme_private.server_contact', { failing_since: hours(-2) });
    expect(await codes()).toEqual(['critical server_unreachable']);
    await shop.sql`select acme.pause('server', 'ca', 'moving')`;
    expect(await codes()).toEqual([]);
    await shop.sql`select acme.resume('server', 'ca')`;
    await answered(null);
    expect(await codes()).toEqual([]);
  });

  test('is asked each quarter of an hour, sooner where it is in trouble', async () => {
    const due = async () => {
      const [row] = await shop.sql<[{ due: unknown[] }]>`
        select acme_private.servers_to_look_at(null) as due`;
      return row.due.length;
    };
    const ago = (minutes: number) =>
      set('acme_private.server_contact', { asked_at: `now() - interval '${minutes} minutes'` });
    expect(await due()).toBe(1);
    await answered(null);
    expect(await due()).toBe(0);
    await ago(14);
    expect(await due()).toBe(0);
    await ago(15);
    expect(await due()).toBe(1);
    await answered('It answered 500');
    expect(await due()).toBe(0);
    await ago(1);
    expect(await due()).toBe(1);
    await answered(null);
    await ago(1);
    expect(await due()).toBe(0);
    await inState('ordering');
    await set('acme_private."order"', { reason_code: `'remote_trouble'` });
    expect(await due()).toBe(1);
  });

  test('that cools down for longer than a day', async () => {
    await shop.sql`
      insert into acme_private.closure (server_id, account_id, scope, value, until, reason)
      select s.id, x.account, x.scope, x.value, now() + x.time, 'of a tenant'
        from acme.server s, (values ('server', null, null, interval '3 hours'), ('account', 1, null, interval '3 days'),
                                    ('csr', 1, '7', interval '4 days')) x (scope, account, value, time)`;
    expect(await codes()).toEqual(['warning server_cooldown', 'warning server_cooldown']);
    const rows = await look();
    expect(rows.map(({ account }) => account)).toEqual(['main', 'main']);
    const sentences = rows.map(({ sentence }) => sentence.replace(/\d{4}-.* \(/, '… ('));
    expect(sentences.sort()).toEqual([
      'The server takes no new orders of this account until … (server ca, account main).',
      'The server takes no order of this csr until … (server ca, account main, csr 7).',
    ]);
  });
});

describe('workers', () => {
  const gone = () => set('acme_private.worker', { heartbeat_at: `now() - interval '3 minutes'` });

  test('none for two minutes is critical; none at all where there is nothing to do is not', async () => {
    await set('acme.account', { created_at: hours(-1) });
    await set('acme_private.worker', { heartbeat_at: `now() - interval '90 seconds'` });
    expect(await codes()).toEqual([]);
    await gone();
    expect(await codes()).toEqual(['critical no_worker']);
    await set('acme_private.worker', { stopped_at: `now() - interval '1 second'` });
    expect(await codes()).toEqual([]);
    await shop.sql`delete from acme_private.worker`;
    expect(await codes()).toEqual(['critical no_worker']);
    await shop.sql`delete from acme.account`;
    expect(await codes()).toEqual([]);
  });

  test('one whose sealing key opens nothing', async () => {
    await worker({ opens_keys: 'false' });
    expect(await codes()).toEqual(['critical worker_key_wrong']);
    expect((await look())[0]).toMatchObject({ worker: '2' });
    expect([...(await reader`select id, state from acme.worker_status order by id`)]).toEqual([
      { id: '1', state: 'running' },
      { id: '2', state: 'wrong_key' },
    ]);
  });

  test('none that answers http-01, unless the own web server does, or nothing needs it', async () => {
    await set('acme_private.worker', { http01: 'null' });
    expect(await codes()).toEqual(['critical no_http01_responder']);
    const admin = await shop.database.as('acme_admin');
    await admin`update acme.attention_settings set has_own_responder = true`;
    expect(await codes()).toEqual([]);
    await admin`update acme.attention_settings set has_own_responder = false`;
    await set('acme.solver', { method: `'manual'` });
    expect(await codes()).toEqual([]);
  });

  test('a clock that is off', async () => {
    await set('acme_private.worker', { clock_ahead: `interval '-11 seconds'` });
    expect(await codes()).toEqual(['warning clock_off']);
    expect((await look())[0]?.sentence).toBe(
      'The clock of worker 1 is 11 s behind that of the database.',
    );
    await set('acme_private.worker', { clock_ahead: `interval '1 hour'` });
    expect(await codes()).toEqual(['critical clock_off']);
    await set('acme_private.worker', { clock_ahead: `interval '-2 seconds'` });
    expect(await codes()).toEqual([]);
  });
});

test('all that is stuck is in it', async () => {
  const id = await inState('retrying', { next_attempt_at: hours(-1) });
  expect(await codes()).toEqual(['warning stuck']);
  expect((await look(shop.app))[0]).toMatchObject({
    csr_id: id,
    identifiers: [`csr-${id}.example.org`],
    sentence: expect.stringMatching(new RegExp(`^csr ${id}: Its next try is due`)) as string,
  });
});

test('a copy of the database says only that', async () => {
  await inState('needs_person');
  await frozenCopy(shop.sql);
  expect(await codes()).toEqual(['critical database_copied']);
  expect(await codes(shop.app)).toEqual([]);
});

test('a threshold that cannot be is refused with a sentence, whichever it is', async () => {
  const admin = await shop.database.as('acme_admin');
  const constraints = await shop.sql<{ name: string; column: string }[]>`
    select conname as name, (regexp_match(conname, '^attention_settings_(.*)_is_'))[1] as column
      from pg_constraint
     where conrelid = 'acme.attention_settings'::regclass and contype = 'c' and conname <> 'attention_settings_is_only'`;
  expect(constraints).toHaveLength(14);
  for (const { name, column } of constraints) {
    const value = /notify|renewal|lifetime/.test(column) ? '-1' : `'-1 second'`;
    const error = await refusal(
      admin.unsafe(`update acme.attention_settings set ${column} = ${value}`),
    );
    expect(error).toMatchObject({
      code: '23514',
      constraint_name: name,
      message: expect.stringMatching(new RegExp(`^${column} must .*\\.$`)) as string,
    });
    expect(error.detail).toBeUndefined();
  }
});

test('the most urgent comes first, and thresholds are an administrator’s', async () => {
  await inState('needs_person');
  const ends = await inState('issued');
  await set('acme_private.certificate', dates(-100, 620));
  expect(await codes()).toEqual(['warning needs_person']);
  const admin = await shop.database.as('acme_admin');
  await admin`update acme.attention_settings set renewal_warning = 0.05, renewal_critical = 0.1`;
  expect((await look()).map(({ code, csr_id }) => [code, csr_id])).toEqual([
    ['renewal_overdue', ends],
    ['needs_person', '1'],
  ]);
  await expect(
    (async () => shop.app`update acme.attention_settings set renewal_warning = 1`)(),
  ).rejects.toMatchObject({ code: '42501' });
});
