import { expect, test } from 'vitest';
import { refusal } from '../helpers/refusal.ts';
import { age, all } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

// An account that somebody else closed at its server: its object or a look by its key says so, never a server's words.

interface AccountRow {
  state: string;
  reason: string | null;
  reason_code: string | null;
}

async function account(world: World, name = 'main'): Promise<AccountRow> {
  const [row] = await world.sql<[AccountRow]>`
    select state, reason, reason_code from acme.account_status where name = ${name}`;
  return row;
}

const comesTo = (world: World, state: string) =>
  until(
    async () => {
      const row = await account(world);
      if (row.state === state) return row;
      throw new Error(`it is ${row.state}: ${row.reason}`);
    },
    { what: `the account is ${state}`, timeoutMs: 20_000 },
  );

/** A world whose account was verified long ago, and how it is closed at the server. */
async function registered() {
  const world = await faultyWorld();
  await world.worker();
  const issued = await world.insert({ names: [freshName()] });
  await world.reach(issued, 'issued');
  await age(world.sql, 'account', all, '1 hour', 'verified_at');
  const [{ url }] = await world.sql<[{ url: string }]>`select url from acme.account_status`;
  return { ...world, issued, atServer: world.ca.account(url) };
}

async function second(world: World): Promise<void> {
  await world.sql`
    insert into acme.account (name, server, contact, terms_agreed)
    values ('second', 'ca', '{mailto:ops@example.org}', true)`;
}

test('an account closed at its server is deactivated; its csrs wait for it, and replace_account frees them all', async () => {
  const { ca, ...world } = await registered();
  world.atServer.status = 'deactivated';
  const orders = ca.count('newOrder');
  const first = await world.insert({ names: [freshName()] });
  const row = await comesTo(world, 'deactivated');
  expect(row).toMatchObject({
    reason_code: 'account_deactivated',
    reason:
      "The server has it as deactivated, and this database did not ask for that. Insert another account at this server; then select acme.replace_account('main', 'NEW') lets all its csrs go on.",
  });
  const rest = await Promise.all(
    Array.from({ length: 5 }, () => world.insert({ names: [freshName()] })),
  );
  await world.sql`select acme.renew(${world.issued})`;
  for (const id of [first, ...rest]) {
    await until(async () => (await world.status(id)).reason_code === 'account_not_ready', {
      what: `csr ${id} waits for its account`,
    });
    expect(await world.status(id)).toMatchObject({ state: 'queued', attempts: 0 });
  }
  expect(ca.count('newOrder')).toBe(orders + 1);
  const [event] = await world.sql<[{ event: string }]>`
    select event from acme.event where event = 'account_deactivated'`;
  expect(event).toBeDefined();
  await second(world);
  await world.sql`select acme.replace_account('main', 'second')`;
  for (const id of [first, ...rest, world.issued]) await world.reach(id, 'issued', 30_000);
});

test('a look that is refused and an object that says revoked is a revoked account', async () => {
  const { ca, ...world } = await registered();
  world.atServer.status = 'revoked';
  ca.on('account', {
    status: 200,
    body: '{"status":"revoked"}',
    contentType: 'application/json',
    times: 9,
  });
  await world.insert({ names: [freshName()] });
  expect(await comesTo(world, 'revoked')).toMatchObject({ reason_code: 'account_revoked' });
});

test('a changed contact finds a closed account, too', async () => {
  const world = await registered();
  world.atServer.status = 'deactivated';
  await world.sql`update acme.account set contact = '{mailto:new@example.org}' where name = 'main'`;
  await comesTo(world, 'deactivated');
});

test('while the account is asked for nothing else is ordered, and one that is valid goes on', async () => {
  const { ca, ...world } = await registered();
  const refused = {
    type: 'unauthorized',
    status: 403,
    detail: 'the account exists but is deactivated',
  };
  ca.on('newOrder', { problem: refused });
  const held = ca.on('newAccount', { status: 503, html: true, times: 99 });
  const orders = ca.count('newOrder');
  const first = await world.insert({ names: [freshName()] });
  await until(() => held.hits > 0, { what: 'the account is asked for' });
  const other = await world.insert({ names: [freshName()] });
  await until(async () => (await world.status(other)).reason_code === 'account_not_ready', {
    what: 'the other one waits',
  });
  expect((await world.status(first)).attempts).toBe(0);
  expect(ca.count('newOrder')).toBe(orders + 1);
  held.remove();
  await world.sql`select acme.verify_account('main')`;
  // Whatever the server said: its account is valid.
  await world.reach(first, 'issued', 30_000);
  await world.reach(other, 'issued', 30_000);
  expect(await account(world)).toMatchObject({ state: 'valid' });
});

test('a csr that is unauthorized again after its account was found valid needs a person, and it alone', async () => {
  const { ca, ...world } = await registered();
  const name = freshName();
  const problem = { type: 'unauthorized', status: 403, detail: 'not for you' };
  ca.on('newOrder', {
    problem,
    times: 9,
    when: ({ payload }) => JSON.stringify(payload).includes(name),
  });
  const orders = ca.count('newOrder');
  const id = await world.insert({ names: [name] });
  expect((await world.reach(id, 'needs_person', 20_000)).reason_code).toBe('account_refused');
  expect(ca.count('newOrder')).toBe(orders + 2);
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
});

test('a deactivated account asks nothing of its owner but another one', async () => {
  const world = await registered();
  world.atServer.status = 'deactivated';
  await world.sql`select acme.verify_account('main')`;
  await comesTo(world, 'deactivated');
  expect((await refusal(world.sql`select acme.verify_account('main')`)).message).toBe(
    'The account main is deactivated, for good.',
  );
});

test('a csr that waits for a person because of its account goes on with the one that takes its place', async () => {
  const { ca, ...world } = await registered();
  const refused = { type: 'unauthorized', status: 403, detail: 'not for this account' };
  const [{ url }] = await world.sql<[{ url: string }]>`select url from acme.account_status`;
  ca.on('newOrder', { problem: refused, times: 9, when: ({ kid }) => kid === url });
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'needs_person', 30_000);
  expect((await world.status(id)).reason_code).toBe('account_refused');
  await second(world);
  await world.sql`select acme.replace_account('main', 'second')`;
  await world.reach(id, 'issued', 30_000);
});
