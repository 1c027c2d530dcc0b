import type postgres from 'postgres';
import { expect, test, vi } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { travel } from '../helpers/clock.ts';
import { refusal } from '../helpers/refusal.ts';
import { ago, all, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 120_000 });

/** A CA with newAuthz, which neither Pebble nor Let's Encrypt has, and which hands out what is proved. */
const offering = () => faultyWorld({ preAuthorization: true, authzReuse: 'valid-and-pending' });

interface Row {
  id: string;
  state: string;
  reason_code: string | null;
  reason: string | null;
  next_attempt_at: Date | null;
}

const logins = new WeakMap<World, Map<string, Promise<postgres.Sql>>>();

/** An application's connection: one for each world and login. */
function app(world: World, login = 'shop'): Promise<postgres.Sql> {
  const known = logins.get(world) ?? new Map<string, Promise<postgres.Sql>>();
  logins.set(world, known);
  const sql = known.get(login) ?? world.database.as('acme_app', { login });
  known.set(login, sql);
  return sql;
}

async function preauthorize(world: World, name: string, solver?: string): Promise<string> {
  const sql = await app(world);
  const [{ id }] = await sql<[{ id: string }]>`
    select acme.preauthorize(${name}, solver => ${solver ?? null}) as id`;
  return id;
}

async function rowOf(world: World, id: string): Promise<Row> {
  const sql = await app(world);
  const [row] = await sql<[Row]>`
    select id, state, reason_code, reason, next_attempt_at from acme.authorization where id = ${id}`;
  return row;
}

function reaches(world: World, id: string, wanted: Partial<Row>): Promise<Row> {
  return until(
    async () => {
      const row = await rowOf(world, id);
      const is = Object.entries(wanted).every(([key, value]) => row[key as keyof Row] === value);
      if (is) return row;
      throw new Error(`it is ${row.state}: ${row.reason_code} ${row.reason}`);
    },
    { what: `authorization ${id} is ${Object.values(wanted).join(' ')}`, timeoutMs: 20_000 },
  );
}

/** Asks until an answer is there: an id of acme.challenge_todo. */
function todo(world: World, action: 'publish' | 'remove', besides?: string): Promise<string> {
  return until(
    async () => {
      const sql = await app(world);
      const rows = await sql<{ id: string }[]>`
        select id from acme.challenge_todo where action = ${action} order by id`;
      return rows.find(({ id }) => id !== besides)?.id;
    },
    { what: `something is to ${action}`, timeoutMs: 20_000 },
  );
}

async function byHand({ sql }: World): Promise<void> {
  await sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{}')`;
}

async function insertCsr(world: World, name: string, solver?: string): Promise<string> {
  const { pem } = await makeCsr({ names: [name] });
  const sql = await app(world);
  const [row] = await sql<[{ id: string }]>`
    insert into acme.csr (pem, solver) values (${pem}, ${solver ?? null}) returning id`;
  return row.id;
}

test('a name is proved before there is an order, which then has nothing to prove', async () => {
  const world = await offering();
  const name = freshName();
  const id = await preauthorize(world, `${name.toUpperCase()}.`);
  await world.worker();
  await reaches(world, id, { state: 'valid' });
  expect(await preauthorize(world, name), 'asked again').toBe(id);
  const sql = await app(world);
  const rows = sql`
    select identifier, is_preauthorization, url like 'https://%' as has_url from acme.authorization`;
  expect(await rows).toEqual([{ identifier: name, is_preauthorization: true, has_url: true }]);
  const events = await sql<{ event: string }[]>`
    select event from acme.event where detail ->> 'authorization_id' = ${id} order by id`;
  expect(events.map(({ event }) => event)).toEqual([
    'authorization_created',
    'challenge_published',
    'authorization_valid',
  ]);
  const answered = world.ca.count('challenge');
  const csr = await insertCsr(world, name);
  await world.reach(csr, 'issued');
  expect(world.ca.count('challenge'), 'no challenge is answered').toBe(answered);
  expect(await sql`select id, state from acme.authorization`).toEqual([{ id, state: 'valid' }]);
  const [feature] = await sql`
    select support from acme.server_feature where server = 'ca' and feature = 'new_authz'`;
  expect(feature).toEqual({ support: 'yes' });
});

test('a server that does not offer it says so before anything is tried, once its directory is known', async () => {
  const world = await pebbleWorld();
  // Nobody has read the directory yet: the worker finds out.
  const id = await preauthorize(world, freshName());
  await world.worker();
  const row = await reaches(world, id, { state: 'invalid', reason_code: 'server_refused' });
  // (Without its URL, which is no business of a tenant's.)
  expect(row.reason).toBe('The server has no newAuthz; this CA does not offer it.');
  const sql = await app(world);
  const told = await refusal(sql`select acme.preauthorize(${freshName()})`);
  expect(told.message).toBe(
    'The server ca offers no pre-authorization: its directory has no newAuthz (RFC 8555 §7.4.1).',
  );
  expect(told.hint).toBe('Insert the CSR: its names are proved with its order.');
});

test('what cannot be proved ahead is refused with a sentence', async () => {
  const world = await offering();
  const sql = await app(world);
  await world.sql`
    insert into acme.server (name, directory_url, account_policy)
    values ('many', 'https://ca.example.org/dir', 'per_registered_domain')`;
  await world.sql`insert into acme.account (name, server) values ('of-many', 'many')`;
  for (const [name, sentence] of [
    [
      '*.example.org',
      "The wildcard '*.example.org' cannot be proved before its order (RFC 8555 §7.4.1).",
    ],
    ['bücher.example', "'bücher.example' is no host name to prove."],
    ['localhost', "'localhost' is no host name to prove."],
    ['', "'' is no host name to prove."],
    [null, 'null is no host name to prove.'],
  ] as const) {
    expect((await refusal(sql`select acme.preauthorize(${name})`)).message).toBe(sentence);
  }
  const unknown = sql`select acme.preauthorize('www.example.org', 'nobody')`;
  expect((await refusal(unknown)).message).toBe("There is no account 'nobody'.");
  const unsolved = sql`select acme.preauthorize('www.example.org', solver => 'nothing')`;
  expect((await refusal(unsolved)).message).toBe("There is no solver 'nothing'.");
  await world.sql`update acme.account set is_default = name = 'of-many' where name = 'main'`;
  const none = sql`select acme.preauthorize('www.example.org')`;
  expect((await refusal(none)).message).toBe('There is no default account.');
  await world.sql`update acme.account set is_default = true where name = 'of-many'`;
  expect((await refusal(sql`select acme.preauthorize('www.example.org')`)).message).toBe(
    'The server many has an account for each registered domain: say which one is meant.',
  );
  expect(await sql`select from acme.authorization`).toHaveLength(0);
  // What only a worker knows.
  await world.worker();
  await world.sql`update acme.account set is_default = false where name = 'of-many'`;
  await world.sql`update acme.account set is_default = true where name = 'main'`;
  const suffix = await preauthorize(world, 'co.uk');
  const refused = await reaches(world, suffix, { state: 'invalid', reason_code: 'public_suffix' });
  expect(refused.reason).toContain('covers a public suffix');
  expect(world.ca.count('newAuthz')).toBe(0);
});

test('a name of another tenant is not asked for', async () => {
  const world = await offering();
  await world.worker();
  const name = freshName();
  const id = await preauthorize(world, name);
  await reaches(world, id, { state: 'valid' });
  const asked = world.ca.count('newAuthz');
  const other = await app(world, 'other');
  const [{ id: second }] = await other<[{ id: string }]>`
    select acme.preauthorize(${`www.${name}`}) as id`;
  const row = await until(
    async () =>
      (
        await other<Row[]>`
          select state, reason_code, reason from acme.authorization where id = ${second} and state <> 'new'`
      )[0],
    { what: 'it is refused', timeoutMs: 20_000 },
  );
  expect(row).toMatchObject({ state: 'invalid', reason_code: 'name_held' });
  expect(world.ca.count('newAuthz')).toBe(asked);
  expect(await other`select from acme.authorization where id = ${id}`).toHaveLength(0);
});

test('a failed validation is told, counted, and asked for anew by whoever wants it', async () => {
  const world = await offering();
  world.ca.options.validation = { type: 'dns', detail: 'nothing answers' };
  await world.worker();
  const name = freshName();
  const id = await preauthorize(world, name);
  const row = await reaches(world, id, { state: 'invalid', reason_code: 'validation_failed' });
  expect(row.reason).toContain('nothing answers');
  const sql = await app(world);
  const events = await sql<{ event: string }[]>`
    select event from acme.event where detail ->> 'authorization_id' = ${id} order by id desc limit 1`;
  expect(events).toEqual([{ event: 'authorization_failed' }]);
  expect(await sql`select state from acme.record`).toEqual([{ state: 'removed' }]);
  for (let failed = 1; failed < 5; failed += 1) {
    const again = await preauthorize(world, name);
    expect(again).not.toBe(id);
    await reaches(world, again, { state: 'invalid' });
  }
  // Servers count five an hour: the sixth waits until one is free.
  const last = await preauthorize(world, name);
  const waits = await reaches(world, last, { state: 'new', reason_code: 'failure_limit' });
  expect(waits.next_attempt_at?.getTime()).toBeGreaterThan(Date.now());
  world.ca.options.validation = 'fetch';
  await travel(world.sql, 13 / 1440);
  await world.sql`select acme_private.reconcile()`;
  await reaches(world, last, { state: 'valid' });
});

test('it waits for its account with a reason, and ends with it', async () => {
  const world = await offering();
  await world.worker();
  await world.sql`select acme.pause('account', 'main', 'we move')`;
  const id = await preauthorize(world, freshName());
  const row = await reaches(world, id, { state: 'new', reason_code: 'account_paused' });
  expect(row.reason).toBe('The account main is paused: we move');
  expect(row.next_attempt_at?.getTime()).toBeGreaterThan(Date.now());
  await world.sql`select acme.resume('account', 'main')`;
  await travel(world.sql, 2 / 1440);
  await world.sql`select acme_private.reconcile()`;
  await reaches(world, id, { state: 'valid' });
  await byHand(world);
  const waiting = await preauthorize(world, freshName(), 'by-hand');
  const published = await todo(world, 'publish');
  await world.sql`select acme.pause('server', 'ca', 'it moves')`;
  const late = await preauthorize(world, freshName());
  await reaches(world, late, { state: 'new', reason_code: 'server_paused' });
  await world.sql.begin(async (tx) => {
    await tx`select acme.pause('account', 'main', 'it ends')`;
    await tx`select acme.resume('server', 'ca')`;
    await tx`select acme.deactivate_account('main')`;
  });
  await until(
    async () =>
      (await world.sql`select from acme.account_status where state = 'deactivated'`).length > 0,
    { what: 'the account is deactivated', timeoutMs: 20_000 },
  );
  for (const id of [waiting, late]) {
    const { state, reason } = await rowOf(world, id);
    expect([state, reason]).toEqual([
      'invalid',
      'The account main is being deactivated; ask again with another one.',
    ]);
  }
  const sql = await app(world);
  expect(await sql`select state from acme.record where id = ${published}`).toEqual([
    { state: 'removed' },
  ]);
  const refused = await refusal(sql`select acme.preauthorize('www.example.org')`);
  expect(refused.message).toBe('The account main is deactivated.');
});

test('one that an order waits for already stands for it', async () => {
  const world = await offering();
  await byHand(world);
  await world.worker();
  const name = freshName();
  const csr = await insertCsr(world, name, 'by-hand');
  const published = await todo(world, 'publish');
  const id = await preauthorize(world, name);
  const ended = await reaches(world, id, { state: 'expired', reason_code: 'handed_back' });
  const other = /^The server handed back authorization (\d+), which stands for it\.$/.exec(
    ended.reason ?? '',
  )?.[1];
  expect(await preauthorize(world, name), 'asked again').toBe(other);
  // Wanted for its own sake now: the order's end is not its end.
  const sql = await app(world);
  await sql`select acme.cancel(${csr})`;
  await world.reach(csr, 'cancelled');
  await sql`select acme.challenge_published(${published})`;
  await reaches(world, other ?? '', { state: 'valid' });
});

test('published by hand, it survives a roll-over of the key, and can be given up', async () => {
  const world = await offering();
  await byHand(world);
  await world.worker();
  world.ca.options.validation = 'valid';
  const name = freshName();
  const id = await preauthorize(world, name, 'by-hand');
  const first = await todo(world, 'publish');
  const sql = await app(world);
  const valueOf = async (record: string) =>
    (await sql<[{ value: string }]>`select value from acme.record where id = ${record}`)[0].value;
  await world.sql`select acme.roll_over_key('main')`;
  const second = await todo(world, 'publish', first);
  const [{ thumbprint }] = await world.sql<[{ thumbprint: string }]>`
    select thumbprint from acme.account_status`;
  expect(await valueOf(second)).toContain(`.${thumbprint}`);
  expect(await valueOf(first)).not.toContain(`.${thumbprint}`);
  await sql`select acme.challenge_published(${second})`;
  await reaches(world, id, { state: 'valid' });
  await sql`select acme.challenge_removed(${await todo(world, 'remove')})`;
  await sql`select acme.deactivate_authorization(${id})`;
  await reaches(world, id, { state: 'deactivated' });
  const again = await preauthorize(world, name, 'by-hand');
  expect(again).not.toBe(id);
  await todo(world, 'publish');
  const [released] = await sql<{ kind: string; done: string }[]>`
    select kind, done from acme.release_domain(${name}) where kind = 'authorization'`;
  expect(released).toEqual({ kind: 'authorization', done: 'is deactivated' });
  await reaches(world, again, { state: 'deactivated' });
});

test('one that nobody publishes has expired when the server has forgotten it', async () => {
  const world = await offering();
  await byHand(world);
  await world.worker();
  const id = await preauthorize(world, freshName(), 'by-hand');
  await todo(world, 'publish');
  await travel(world.sql, 2 / 24);
  await world.sql`select acme_private.reconcile()`;
  await reaches(world, id, { state: 'expired', reason_code: 'authorization_expired' });
  const sql = await app(world);
  const told = await sql`
    select from acme.event where event = 'authorization_failed' and detail ->> 'authorization_id' = ${id}`;
  expect(told).toHaveLength(1);
  // What was published is not needed any more.
  expect(await sql`select from acme.record where state = 'intended'`).toHaveLength(0);
});

test('one that no worker takes is in acme.stuck, and reconcile wakes it', async () => {
  const world = await offering();
  const id = await preauthorize(world, freshName());
  const sql = await app(world);
  const jobs = () => world.sql<{ key: string | null; task: string }[]>`
    select key, task_identifier as task from acme_worker.jobs where task_identifier = 'prove' order by id`;
  expect(await jobs()).toEqual([{ key: null, task: 'prove' }]);
  expect(await sql`select from acme.stuck`).toHaveLength(0);
  await set(world.sql, 'authorization', all, { updated_at: ago('5 minutes') });
  expect(await sql`select kind, id, reason_code from acme.stuck`).toEqual([
    { kind: 'authorization', id, reason_code: 'not_taken' },
  ]);
  await world.sql`select acme_private.reconcile()`;
  expect(await jobs()).toContainEqual({ key: `pgacme:authorization:${id}`, task: 'prove' });
});
