import { expect, test } from 'vitest';
import { travel } from '../helpers/clock.ts';
import { refusal } from '../helpers/refusal.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

// A limit holds what the server names, and nothing else: other names, tenants and renewals go on.

const DOCS = 'https://letsencrypt.org/docs/rate-limits/';
const AFTER = 'retry after 2027-01-01 07:31:44 UTC';

/** Boulder's words (its ratelimits package). */
const said = {
  set: `too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, ${AFTER}: see ${DOCS}#new-certificates-per-exact-set-of-identifiers`,
  setBefore: `too many certificates (5) already issued for this exact set of domains in the last 168h0m0s, ${AFTER}: see ${DOCS}#new-certificates-per-exact-set-of-hostnames`,
  setOfOwnPage: `too many certificates (5) already issued for this exact set of domains in the last 168 hours: a, ${AFTER}: see https://letsencrypt.org/docs/duplicate-certificate-limit/`,
  domain: (name: string) =>
    `too many certificates (50) already issued for "${name}" in the last 168h0m0s, ${AFTER}: see ${DOCS}#new-certificates-per-registered-domain`,
  name: (name: string) =>
    `too many failed authorizations (5) for "${name}" in the last 1h0m0s, ${AFTER}: see ${DOCS}#authorization-failures-per-identifier-per-account`,
  nameBefore: (name: string) =>
    `too many failed authorizations (5) for "${name}" in the last 1h0m0s, ${AFTER}: see ${DOCS}#authorization-failures-per-hostname-per-account`,
  registrations: `too many new registrations (10) from this IP address 192.0.2.7 in the last 3h0m0s, ${AFTER}: see ${DOCS}#new-registrations-per-ip-address`,
  registrationsBefore: `too many registrations for this IP: see https://letsencrypt.org/docs/too-many-registrations-for-this-ip/`,
  orders: `too many new orders (300) from this account in the last 3h0m0s, ${AFTER}: see ${DOCS}#new-orders-per-account`,
};

const HOUR = 3600;

function limited(detail: string, retryAfter = HOUR, more: object = {}) {
  return {
    problem: { type: 'rateLimited', status: 429, detail, ...more },
    headers: { 'Retry-After': String(retryAfter) },
  };
}

/** The next order with this name is refused. */
const with_ = (name: string) => ({
  when: ({ payload }: { payload?: unknown }) => JSON.stringify(payload).includes(`"${name}"`),
});

/** A name at another registered domain. */
const elsewhere = () => freshName().replace('example.org', 'example.net');

async function ready() {
  const world = await faultyWorld();
  await world.worker();
  return world;
}

const secondsLeft = (time: Date | null) => ((time?.getTime() ?? 0) - Date.now()) / 1000;

const cooldowns = (world: World) =>
  world.sql`select scope, value, account, limit_name from acme.cooldown order by id`;

test.each([
  ['exact set of identifiers', said.set],
  ['exact set of hostnames', said.setBefore],
  ['page of its own', said.setOfOwnPage],
])('a limit of one set of names holds the csrs of this set: %s', async (_, words) => {
  const { ca, ...world } = await ready();
  const name = freshName();
  ca.on('newOrder', limited(words));
  const first = await world.insert({ names: [name] });
  const row = await world.reach(first, 'limited');
  expect(row).toMatchObject({ reason_code: 'limited', attempts: 0 });
  expect(row.reason).toMatch(/^The server takes no orders for this set of names until /);
  expect(row.reason).toContain(`: ${words}`);
  expect(secondsLeft(row.next_attempt_at)).toBeGreaterThan(HOUR - 60);
  const same = await world.insert({ names: [name] });
  expect((await world.reach(same, 'limited')).reason).toBe(row.reason);
  await world.reach(await world.insert({ names: [name, freshName()] }), 'issued');
  expect(ca.count('newOrder')).toBe(2);
  expect(await world.events(first)).toContain('limited');
  await world.sql`select acme.resume('csr', ${first})`;
  await world.reach(first, 'issued');
  await world.reach(same, 'issued');
});

test('a limit of a registered domain holds its new sets of names: a renewal and a new CSR for a set that was issued go on', async () => {
  const { ca, ...world } = await ready();
  const name = freshName();
  const issued = await world.insert({ names: [name] });
  await world.reach(issued, 'issued');
  ca.on('newOrder', limited(said.domain('example.org')));
  const refused = await world.insert({ names: [freshName()] });
  const row = await world.reach(refused, 'limited');
  expect(row.reason).toMatch(
    /^The server takes no orders for new sets of names of example\.org until /,
  );
  expect(row.reason).toContain(said.domain('example.org'));
  const second = await world.insert({ names: [freshName()] }, { tenant: 'other' });
  const other = await world.reach(second, 'limited');
  expect(other.reason).toBe(row.reason);
  expect(JSON.stringify(other)).not.toContain(row.identifiers?.[0]);
  const orders = ca.count('newOrder');
  expect(orders).toBe(2);
  await world.reach(await world.insert({ names: [elsewhere()] }), 'issued');
  await world.reach(await world.insert({ names: [name] }), 'issued');
  await world.sql`select acme.renew(${issued})`;
  await until(
    async () => (await world.sql`select from acme.certificate where csr_id = ${issued}`).length > 1,
    { what: 'the renewal is issued' },
  );
  expect(ca.count('newOrder')).toBe(orders + 3);
  expect(await cooldowns(world)).toEqual([
    {
      scope: 'domain',
      value: 'example.org',
      account: null,
      limit_name: 'new-certificates-per-registered-domain',
    },
  ]);
  await world.sql`select acme.resume('domain', 'example.org')`;
  await world.reach(refused, 'issued');
  await world.reach(second, 'issued');
  expect((await refusal(world.sql`select acme.resume('domain', 'example.org')`)).message).toBe(
    'No server limits the domain example.org at the moment.',
  );
});

test('a domain that is quoted and is none of the order holds this csr alone', async () => {
  const { ca, ...world } = await ready();
  ca.on('newOrder', limited(said.domain('example.com')));
  const refused = await world.insert({ names: [freshName()] });
  await world.reach(refused, 'limited');
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  expect(await cooldowns(world)).toMatchObject([{ scope: 'csr', value: refused }]);
});

test("a limit of an account's new orders holds new sets of names, and a renewal is issued", async () => {
  const { ca, ...world } = await ready();
  const issued = await world.insert({ names: [freshName()] });
  await world.reach(issued, 'issued');
  ca.on('newOrder', limited(said.orders));
  const refused = await world.insert({ names: [freshName()] });
  const row = await world.reach(refused, 'limited');
  expect(row).toMatchObject({ reason_code: 'limited', attempts: 0 });
  expect(row.reason).toContain(said.orders);
  const second = await world.insert({ names: [elsewhere()] });
  expect((await world.reach(second, 'limited')).reason).toBe(row.reason);
  expect(ca.count('newOrder')).toBe(2);
  await world.sql`select acme.renew(${issued})`;
  await until(
    async () => (await world.sql`select from acme.certificate where csr_id = ${issued}`).length > 1,
    { what: 'the renewal is issued' },
  );
  expect(await world.sql`select state, reason_code, reason from acme.account_status`).toEqual([
    { state: 'limited', reason_code: 'limited', reason: row.reason },
  ]);
  await world.sql`select acme.resume('account', 'main')`;
  await world.reach(refused, 'issued');
  await world.reach(second, 'issued');
  expect(await world.sql`select state from acme.account_status`).toEqual([{ state: 'valid' }]);
});

test.each([
  ['a domain', said.domain('example.org')],
  ['an account', said.orders],
])('a renewal that is itself refused for the limit of %s waits alone', async (_, words) => {
  const { ca, ...world } = await ready();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued');
  ca.on('newOrder', limited(words));
  await world.sql`select acme.renew(${id})`;
  const row = await world.reach(id, 'limited');
  expect(row.has_certificate).toBe(true);
  expect(row.reason).toContain(words);
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  await world.sql`select acme.resume('csr', ${id})`;
  await world.reach(id, 'issued');
});

test.each([
  ['in the words', (name: string) => limited(said.name(name))],
  ['in the words of before', (name: string) => limited(said.nameBefore(name))],
  [
    'in subproblems',
    (name: string) =>
      limited('some names are limited', HOUR, {
        subproblems: [
          {
            type: 'urn:ietf:params:acme:error:rateLimited',
            detail: 'too many',
            identifier: { type: 'dns', value: name },
          },
        ],
      }),
  ],
])('a name that is limited holds the csrs with it: named %s', async (_, fault) => {
  const { ca, ...world } = await ready();
  const name = freshName();
  ca.on('newOrder', fault(name));
  const refused = await world.insert({ names: [freshName(), name] });
  expect((await world.reach(refused, 'limited')).reason).toMatch(
    new RegExp(`^The server takes no orders with the name ${name} until `),
  );
  await world.reach(await world.insert({ names: [name] }), 'limited');
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  expect(ca.count('newOrder')).toBe(2);
  expect(await cooldowns(world)).toMatchObject([
    { scope: 'identifier', value: name, account: 'main' },
  ]);
});

test('a limit without a name holds one csr; the account for minutes once other names are refused, too', async () => {
  const { ca, ...world } = await ready();
  const [one, two] = [freshName(), freshName()];
  ca.on('newOrder', { ...limited(`slow down, ${one}`), ...with_(one), times: 9 });
  const first = await world.insert({ names: [one] });
  expect((await world.reach(first, 'limited')).reason).toContain(`slow down, ${one}`);
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  await world.sql`select acme.retry(${first})`;
  await world.reach(first, 'limited');
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  ca.on('newOrder', { ...limited(`slow down, ${two}`), ...with_(two), times: 9 });
  const second = await world.insert({ names: [two] });
  await world.reach(second, 'limited');
  const third = await world.insert({ names: [elsewhere()] }, { tenant: 'other' });
  const waits = await world.reach(third, 'limited');
  expect(waits.reason).toMatch(
    /^The server takes no new orders of this account until [-0-9: ]+UTC\.$/,
  );
  expect(secondsLeft(waits.next_attempt_at)).toBeLessThanOrEqual(300);
  ca.clearFaults();
  await world.sql`select acme.resume('account', 'main')`;
  await world.reach(third, 'issued');
  expect((await world.status(first)).state).toBe('limited');
});

test.each([
  ['address', said.registrations],
  ['page of its own', said.registrationsBefore],
])(
  'a limit of new accounts holds all that are new to the server, and none that it knows: %s',
  async (_, words) => {
    const { ca, ...world } = await ready();
    const { sql } = world;
    const account = async (name: string, state: string) =>
      until(
        async () => {
          const [row] = await sql<{ state: string; reason: string; next_attempt_at: Date }[]>`
            select * from acme.account_status where name = ${name}`;
          if (row?.state === state && (state === 'valid') === (row.reason === null)) return row;
          throw new Error(`${name} is ${row?.state}: ${row?.reason}`);
        },
        { what: `${name} is ${state}` },
      );
    await account('main', 'valid');
    const before = ca.count('newAccount');
    ca.on('newAccount', limited(words));
    await sql`insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
    const refused = await account('second', 'registering');
    expect(refused.reason).toContain(words.slice(0, 25));
    expect(secondsLeft(refused.next_attempt_at)).toBeGreaterThan(HOUR - 60);
    await sql`insert into acme.account (name, server, terms_agreed) values ('third', 'ca', true)`;
    const third = await account('third', 'new');
    expect(third.reason).toMatch(/^The server registers no new accounts until /);
    expect(third.reason).not.toContain('192.0.2.7');
    expect(secondsLeft(third.next_attempt_at)).toBeGreaterThan(HOUR - 60);
    expect(ca.count('newAccount')).toBe(before + 1);
    expect(await cooldowns(world)).toMatchObject([{ scope: 'registrations', account: null }]);
    await world.reach(await world.insert({ names: [freshName()] }), 'issued');
    await sql`select acme.resume('server', 'ca')`;
    await account('second', 'valid');
    await account('third', 'valid');
  },
);

test('a server that is out of service for a time takes no new orders and looks at none, until it is resumed', async () => {
  const { ca, ...world } = await ready();
  const busy = {
    problem: { type: 'serverInternal', status: 503, detail: 'maintenance' },
    headers: { 'Retry-After': String(HOUR) },
  };
  ca.on('newOrder', busy);
  const refused = await world.insert({ names: [freshName()] });
  const row = await world.reach(refused, 'limited');
  expect(row.reason).toMatch(/^The server takes no new orders until /);
  await world.reach(await world.insert({ names: [freshName()] }), 'limited');
  expect(ca.count('newOrder')).toBe(1);
  expect(await cooldowns(world)).toMatchObject([{ scope: 'server', value: null, account: null }]);
  ca.on('authorization', busy);
  await world.sql`select acme.resume('server', 'ca')`;
  // The first is ordered, and meets it again on its way: it waits for its own time then.
  await until(
    async () =>
      (await world.sql`select from acme_private.authorization where reason_code = 'limited'`)
        .length > 0,
    { what: 'an authorization waits' },
  );
  await world.sql`select acme.resume('server', 'ca')`;
  await until(
    async () => (await world.sql`select from acme.csr_status where state = 'issued'`).length === 2,
    { what: 'both are issued' },
  );
});

test.each([
  [7, 7],
  [30, 8],
])('a Retry-After of %i days is kept for %i', async (asked, kept) => {
  const { ca, ...world } = await ready();
  ca.on('newOrder', limited(said.set, asked * 86_400));
  const id = await world.insert({ names: [freshName()] });
  const days = secondsLeft((await world.reach(id, 'limited')).next_attempt_at) / 86_400;
  expect(days).toBeGreaterThan(kept - 0.01);
  expect(days).toBeLessThanOrEqual(kept);
});

test('a csr whose limit is over is ordered by itself', async () => {
  const { ca, ...world } = await ready();
  const name = freshName();
  ca.on('newOrder', limited(said.set, 2));
  const first = await world.insert({ names: [name] });
  const same = await world.insert({ names: [name] });
  await world.reach(first, 'issued', 20_000);
  await world.reach(same, 'issued', 20_000);
});

test('many csrs of a limited domain hold neither a place nor the next one in line', async () => {
  const { ca, ...world } = await ready();
  ca.on('newOrder', { ...limited(said.domain('example.org')), times: 99 });
  await world.reach(await world.insert({ names: [freshName()] }), 'limited');
  const names = Array.from({ length: 30 }, () => freshName());
  for (const name of names) await world.insert({ names: [name] });
  ca.clearFaults();
  await world.reach(await world.insert({ names: [elsewhere()] }), 'issued');
  expect(ca.count('newOrder')).toBe(2);
  await until(
    async () =>
      (await world.sql`select from acme.csr_status where state = 'limited'`).length === 31,
    { what: 'all of them wait as limited' },
  );
  expect(await world.sql`select from acme.order where finished_at is null`).toHaveLength(0);
});

test('a name that the server paused needs a person, whose page only acme_admin sees', async () => {
  const { ca, ...world } = await ready();
  const name = freshName();
  const page = 'https://portal.letsencrypt.org/sfe/v1/unpause?jwt=abc.def.ghi';
  const words = `Your account is temporarily prevented from requesting certificates for ${name} and possibly others.`;
  const problem = { type: 'rateLimited', status: 429, detail: `${words} Please visit: ${page}` };
  ca.on('newOrder', { problem });
  const id = await world.insert({ names: [name] });
  const row = await world.reach(id, 'needs_person');
  expect(row.reason_code).toBe('name_paused');
  expect(row.reason).toContain(words.slice(0, -1));
  expect(row.reason).toContain(`select acme.retry(${id})`);
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  const everything = await world.sql<{ text: string }[]>`
    select t::text as text from acme.csr_status t
    union all select t::text from acme.event t
    union all select t::text from acme.order t
    union all select acme.explain(${id})`;
  expect(everything.map(({ text }) => text).join()).not.toContain('abc.def.ghi');
  const admin = await world.database.as('acme_admin');
  expect(await admin`select csr_id, identifiers, page_url from acme.paused_csr`).toEqual([
    { csr_id: id, identifiers: [name], page_url: page },
  ]);
  for (const role of ['acme_app', 'acme_reader', 'acme_worker'] as const) {
    const sql = await world.database.as(role);
    expect((await refusal(sql`select from acme.paused_csr`)).message, role).toContain(
      'permission denied',
    );
  }
  await world.sql`select acme.retry(${id})`;
  await world.reach(id, 'issued');
  expect(await admin`select from acme.paused_csr`).toHaveLength(0);
});

test('a csr that waits for a limit of its account goes on with the one that takes its place', async () => {
  const { ca, ...world } = await ready();
  const name = freshName();
  ca.on('newOrder', limited('too many of whatever it is'));
  const id = await world.insert({ names: [name] });
  await world.reach(id, 'limited');
  await world.sql`
    insert into acme.account (name, server, contact, terms_agreed)
    values ('second', 'ca', '{mailto:ops@example.org}', true)`;
  await world.sql`select acme.replace_account('main', 'second')`;
  await world.reach(id, 'issued');
});

test('a limit of a csr that nobody waits for any more is no matter for attention', async () => {
  const { ca, ...world } = await ready();
  ca.on('newOrder', limited('too many of whatever it is', 48 * HOUR));
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'limited');
  const shown = () => world.sql`select from acme.attention where code = 'server_cooldown'`;
  expect(await shown()).toHaveLength(1);
  await world.sql`select acme.cancel(${id})`;
  await world.reach(id, 'cancelled');
  expect(await shown()).toHaveLength(0);
});

test.each(['challenge', 'finalize'] as const)(
  'acme.resume of a csr lets its order go on that was limited at its %s',
  async (resource) => {
    const { ca, ...world } = await ready();
    ca.on(resource, limited('too many of whatever it is', 24 * HOUR));
    const id = await world.insert({ names: [freshName()] });
    const row = await world.reach(id, 'limited');
    expect(secondsLeft(row.next_attempt_at)).toBeGreaterThan(HOUR);
    await world.sql`select acme.resume('csr', ${id})`;
    await world.reach(id, 'issued');
    expect(ca.count('newOrder')).toBe(1);
  },
);

test('a limit that holds every account holds the one that takes the place of another', async () => {
  const { ca, ...world } = await ready();
  const name = freshName();
  ca.on('newOrder', limited(said.set));
  const id = await world.insert({ names: [name] });
  const { reason } = await world.reach(id, 'limited');
  await world.sql`
    insert into acme.account (name, server, contact, terms_agreed)
    values ('second', 'ca', '{mailto:ops@example.org}', true)`;
  await world.sql`select acme.replace_account('main', 'second')`;
  await until(async () => (await world.events(id)).includes('account_replaced'), {
    what: 'it is moved',
  });
  expect(await world.reach(id, 'limited')).toMatchObject({ reason });
  expect(ca.count('newOrder')).toBe(1);
});

test('an application sees limits of what it waits for, and none of others', async () => {
  const { ca, ...world } = await ready();
  const name = freshName();
  ca.on('newOrder', limited(said.name(name)));
  await world.reach(await world.insert({ names: [name] }), 'limited');
  const app = await world.database.as('acme_app');
  expect((await refusal(app`select from acme.cooldown`)).message).toContain('permission denied');
  const rows = await app<{ text: string }[]>`select t::text as text from acme.csr_status t`;
  expect(rows).toEqual([]);
});

test('a profile at a server without profiles is told, and nothing is ordered', async () => {
  const { ca, ...world } = await ready();
  const id = await world.insert({ names: [freshName()] }, { profile: 'shortlived' });
  const row = await world.reach(id, 'needs_person');
  expect(row).toMatchObject({
    reason_code: 'invalid_profile',
    reason:
      'The server has no profiles, and the csr asks for the profile shortlived. Cancel this csr, and insert the CSR anew without a profile.',
  });
  expect(ca.count('newOrder')).toBe(0);
});

/** A csr whose order is refused as malformed with this status, again after its account was found valid. */
async function malformedTwice(status: number) {
  const { ca, ...world } = await ready();
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  const detail = 'Order cannot contain more than 25 identifiers';
  ca.on('newOrder', { problem: { type: 'malformed', status, detail }, times: 9 });
  await travel(world.sql, 2 / 1440);
  const id = await world.insert({ names: [freshName()] });
  const row = await world.reach(id, 'retrying');
  expect(row).toMatchObject({ reason_code: 'server_refused', attempts: 1 });
  await until(
    async () =>
      (
        await world.sql`select from acme.account_status where has_pending_change or state <> 'valid'`
      ).length === 0,
    { what: 'the account was asked for' },
  );
  await travel(world.sql, 4 / 1440);
  await world.sql`select acme.retry(${id})`;
  return { ca, world, id, detail };
}

test('an order that is malformed twice, by an account that is valid, is refused for good', async () => {
  const { ca, world, id, detail } = await malformedTwice(400);
  const failed = await world.reach(id, 'failed');
  expect(failed.reason_code).toBe('refused_for_good');
  expect(failed.reason).toBe(
    `The server answered malformed: ${detail}. The account is valid, so that the same request will be refused again. Cancel this csr, and insert a CSR that the server takes, or name another profile.`,
  );
  expect(ca.count('newOrder')).toBe(3);
});

test('malformed with another status than 400 is tried again', async () => {
  const { ca, world, id } = await malformedTwice(409);
  await until(() => ca.count('newOrder') === 3, { what: 'it is ordered again' });
  await world.reach(id, 'retrying');
  expect(await world.status(id)).toMatchObject({
    state: 'retrying',
    reason_code: 'server_refused',
  });
});

test.each(['answered', 'found later'])(
  'a CAA refusal at finalize, %s, is a failed validation, with the record to add',
  async (how) => {
    const { ca, ...world } = await ready();
    const name = freshName();
    ca.on('directory', {
      times: 99,
      rewrite: (json) => ({
        ...json,
        meta: { ...(json['meta'] as object), caaIdentities: ['ca.example'] },
      }),
    });
    const problem = {
      type: 'caa',
      status: 403,
      detail: `Rechecking CAA for "${name}" and 0 more identifiers failed.`,
      subproblems: [
        {
          type: 'urn:ietf:params:acme:error:caa',
          detail: `CAA record for ${name} prevents issuance`,
          identifier: { type: 'dns', value: name },
        },
      ],
    };
    if (how === 'answered') ca.on('finalize', { problem });
    else ca.options.issuanceProblem = problem;
    const id = await world.insert({ names: [name] });
    const row = await world.reach(id, 'retrying');
    expect(row).toMatchObject({ reason_code: 'caa_forbids', attempts: 1 });
    expect(row.reason).toContain(`The server may not issue for ${name}: caa: Rechecking CAA`);
    expect(row.reason).toContain('Add one that names this CA: 0 issue "ca.example"');
    expect(
      await world.sql`select identifier, failures from acme_private.identifier_failure`,
    ).toEqual([{ identifier: name, failures: 1 }]);
    ca.options.issuanceProblem = undefined;
    await world.sql`select acme.retry(${id})`;
    await world.reach(id, 'issued');
  },
);
