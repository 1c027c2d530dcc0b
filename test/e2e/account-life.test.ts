import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { eabBinding } from '../../src/secrets/account-keys.ts';
import { seal, sealingKeys } from '../../src/secrets/seal.ts';
import { account, once, valid } from '../helpers/account.ts';
import { accountsChanged, all, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld } from '../helpers/world.ts';

test('a change of contacts reaches the server, and those that it does not give back stay ours', async () => {
  const { pebble, ...world } = await pebbleWorld();
  await world.worker();
  await valid(world);
  await world.sql`
    update acme.account set contact = '{mailto:new@example.org}' where name = 'main'`;
  await valid(world);
  const [event] = await world.sql<[{ detail: unknown }]>`
    select detail from acme.event where event = 'account_updated'`;
  expect(event.detail).toEqual({
    status: 'valid',
    contact_at_server: ['mailto:new@example.org'],
  });
  expect(pebble.directoryUrl).toContain('127.0.0.1');
  const [row] = await world.sql`select contact from acme.account where name = 'main'`;
  expect(row).toEqual({ contact: ['mailto:new@example.org'] });
});

test('contacts that no server may take are refused at once, each with a sentence', async () => {
  const { sql } = await pebbleWorld();
  const bad: [string, RegExp][] = [
    ['ops@example.org', /is a URL such as mailto:/],
    ['mailto:ops@example.org?subject=x', /no header fields/],
    ['mailto:a@example.org,b@example.org', /one address/],
    ['mailto:ops', /one address/],
  ];
  for (const [contact, sentence] of bad) {
    await expect(
      sql`update acme.account set contact = ${[contact]} where name = 'main'`,
      contact,
    ).rejects.toThrow(sentence);
  }
  await sql`update acme.account set contact = '{tel:+1-201-555-0123}' where name = 'main'`;
});

test('an account is found by its key, and its URL compared with the stored one', async () => {
  const { pebble, ...world } = await pebbleWorld();
  await world.worker();
  const before = await valid(world);
  await world.sql`select acme.verify_account('main')`;
  const after = await once(
    world,
    (row) => row.verified_at > before.verified_at && !row.has_pending_change,
    'the account is verified',
  );
  expect(after.state).toBe('valid');
  const elsewhere = `${new URL(pebble.directoryUrl).origin}/my-account/other`;
  await set(world.sql, 'account', all, { url: elsewhere });
  await accountsChanged(world.sql);
  await world.sql`select acme.verify_account('main')`;
  const differs = await once(
    world,
    (row) => row.reason_code === 'account_url_differs',
    'the difference is told',
  );
  expect(differs.reason).toContain(before.url);
  expect(differs.reason).toContain(elsewhere);
});

test('an answer to a worker that spoke for the account as it was before says nothing of the csr', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  await valid(world);
  const struck = ca.on('newOrder', {
    problem: { type: 'malformed', status: 400, detail: 'JWS verification error' },
    delayMs: 1500,
  });
  const id = await world.insert({ names: [freshName()] });
  await until(() => ca.count('newOrder') > 0, { what: 'the request is under way' });
  // As after a roll-over by another worker.
  await accountsChanged(world.sql);
  expect(await world.reach(id, 'issued')).toMatchObject({ attempts: 0 });
  expect(struck.hits).toBe(1);
  expect(await world.events(id)).not.toContain('order_failed');
});

test('an account is deactivated for good: its csrs are cancelled with the reason, certificates stay', async () => {
  const world = await pebbleWorld();
  await world.worker();
  await valid(world);
  const issued = await world.insert({ names: [freshName()] });
  await world.reach(issued, 'issued');
  await world.sql`select acme.pause('account', 'main', 'for the test')`;
  const queued = await world.insert({ names: [freshName()] });
  await world.reach(queued, 'paused');
  await world.sql`select acme.deactivate_account('main')`;
  const row = await once(world, ({ state }) => state === 'deactivated', 'it is deactivated');
  expect(row.reason).toContain('on request');
  for (const id of [issued, queued]) {
    expect(await world.reach(id, 'cancelled')).toMatchObject({
      reason: 'Its account main was deactivated.',
    });
  }
  expect(await world.status(issued)).toMatchObject({ has_certificate: true });
  await expect(world.sql`select acme.roll_over_key('main')`).rejects.toThrow(
    'The account main is deactivated, for good.',
  );
  await expect(world.sql`select acme.deactivate_account('nobody')`).rejects.toThrow(
    'There is no account nobody.',
  );
  // There is nobody left to tell.
  await world.sql`update acme.account set contact = '{mailto:new@example.org}', roll_over_request = 1`;
  const [closed] = await world.sql`
    select state, has_pending_change from acme.account_status where name = 'main'`;
  expect(closed).toEqual({ state: 'deactivated', has_pending_change: false });
  await until(
    async () =>
      (await world.sql`select from acme_worker.jobs where task_identifier = 'register'`).length ===
      0,
    { what: 'the job of the update is done' },
  );
  await world.sql.begin(async (tx) => {
    await tx`select acme_private.reconcile()`;
    const jobs = await tx`select from acme_worker.jobs where task_identifier = 'register'`;
    expect(jobs, 'and nothing to come back to').toHaveLength(0);
  });
});

test('new terms of service hold the account and its csrs, with the URL, until a person agrees', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  await valid(world);
  const terms = ca.on('newOrder', {
    problem: {
      type: 'userActionRequired',
      status: 403,
      detail: 'Terms of service have changed',
      instance: 'https://ca.example/agree/1',
    },
    headers: { link: '<https://ca.example/terms/v2>;rel="terms-of-service"' },
    times: Infinity,
  });
  const id = await world.insert({ names: [freshName()] });
  const held = await once(
    world,
    (row) => row.reason_code === 'user_action_required',
    'the account says so',
  );
  expect(held).toMatchObject({ state: 'needs_person', terms_url: 'https://ca.example/terms/v2' });
  expect(held.reason).toContain('https://ca.example/agree/1');
  const waits = await until(
    async () => {
      const row = await world.status(id);
      return row.reason_code === 'account_not_ready' && row;
    },
    { what: 'the csr waits for its account' },
  );
  expect(waits).toMatchObject({ state: 'queued', attempts: 0 });
  expect(waits.reason).toContain('https://ca.example/agree/1');
  terms.remove();
  await world.sql`select acme.agree_terms('main')`;
  await world.reach(id, 'issued');
  expect(ca.count('newOrder')).toBe(2);
});

test('a lost account is replaced: its csrs move, and the new one proves control anew', async () => {
  const world = await pebbleWorld({ authzReuse: 100 });
  await world.worker();
  const old = await valid(world);
  const moved = await world.insert({ names: [freshName()] });
  await world.reach(moved, 'issued');
  await world.sql`select acme.pause('account', 'main', 'its key is lost')`;
  const queued = await world.insert({ names: [freshName()] });
  await world.reach(queued, 'paused');
  await world.sql`
    insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
  const admin = await world.database.as('acme_admin');
  expect(await admin`select acme.replace_account('main', 'second') as count`).toEqual([
    { count: '2' },
  ]);
  await world.reach(queued, 'issued');
  await world.sql`select acme.renew(${moved})`;
  await until(async () => (await world.events(moved)).filter((e) => e === 'issued').length === 2, {
    what: 'the moved csr is renewed',
    timeoutMs: 30_000,
  });
  const orders = await world.sql`
    select a.name, count(*)::int as orders
      from acme."order" o join acme.account a on a.id = o.account_id group by 1 order by 1`;
  expect(orders).toEqual([
    { name: 'main', orders: 1 },
    { name: 'second', orders: 2 },
  ]);
  const proved = (await world.events(moved)).filter((event) => event === 'authorization_valid');
  expect(proved).toHaveLength(2);
  expect(await world.sql`select name from acme.account where is_default`).toEqual([
    { name: 'second' },
  ]);
  expect(old.url).not.toBe((await account(world, 'second')).url);
  for (const [from, to, sentence] of [
    ['main', 'main', /cannot take its own place/],
    ['main', 'nobody', /no account nobody/],
    ['nobody', 'main', /no account nobody/],
  ] as const) {
    await expect(admin`select acme.replace_account(${from}, ${to})`).rejects.toThrow(sentence);
  }
});

const MAC = randomBytes(32).toString('base64url');

test('an account that a CA wants bound says so before anything is sent, and is registered once it is', async () => {
  const { pebble, ...world } = await pebbleWorld({ eab: { 'kid-1': MAC } });
  await world.worker();
  const asked = await once(
    world,
    (row) => row.reason_code === 'external_account_required',
    'the binding is asked for',
  );
  expect(asked.state).toBe('needs_person');
  const origin = new URL(pebble.directoryUrl).origin;
  const keys = await sealingKeys(world.secretKey);
  const sealedFor = (account: string) => seal(keys, eabBinding({ account, origin }), MAC);
  const set = (jwe: string) => world.sql`
    update acme.account set eab_kid = 'kid-1', eab_hmac = ${jwe} where name = 'main'`;
  await expect(set(MAC)).rejects.toThrow('The eab_hmac of account main is not sealed.');
  await expect(set(MAC)).rejects.not.toThrow(MAC);
  await expect(set(await sealedFor('other'))).rejects.toThrow('was sealed for something else');
  await set(await sealedFor('main'));
  await valid(world);
  // It is kept where nobody reads it.
  expect(await world.sql`select eab_kid, eab_hmac from acme.account`).toEqual([
    { eab_kid: 'kid-1', eab_hmac: null },
  ]);
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued');
});

test('a binding with the wrong key is refused by the server, with what to do, and can be put right', async () => {
  const { pebble, ...world } = await pebbleWorld({ eab: { 'kid-1': MAC } });
  const origin = new URL(pebble.directoryUrl).origin;
  const keys = await sealingKeys(world.secretKey);
  const wrong = randomBytes(32).toString('base64url');
  const set = async (mac: string) => {
    const jwe = await seal(keys, eabBinding({ account: 'main', origin }), mac);
    await world.sql`
      update acme.account set eab_kid = 'kid-1', eab_hmac = ${jwe} where name = 'main'`;
  };
  await set(wrong);
  await world.worker();
  const refused = await once(
    world,
    (row) => row.reason_code === 'account_refused',
    'the refusal is told',
  );
  expect(refused.reason).not.toContain(wrong);
  expect(refused.reason).toContain(
    "What binds it to an account of the CA's was not right: update eab_kid and eab_hmac (pgacme seal --for account:main --server ca prints the latter).",
  );
  await set(MAC);
  await valid(world);
});

test('what the server does not let an account do is told with what is known of it', async () => {
  const { ca, ...world } = await faultyWorld();
  const problem = { type: 'unauthorized', status: 403, detail: 'not you' };
  ca.on('newAccount', { problem });
  await world.worker();
  const refused = await once(world, (row) => row.reason_code === 'account_refused', 'it is told');
  expect(refused.reason).toBe(
    'The server answered unauthorized: not you. The server does not let it register: ask the CA. acme.verify_account tries again.',
  );
  await world.sql`select acme.verify_account('main')`;
  await valid(world);
  ca.on('account', { problem });
  await world.sql`update acme.account set contact = '{mailto:new@example.org}'`;
  const closed = await once(world, (row) => row.reason_code === 'account_refused', 'it is told');
  expect(closed.reason).toBe(
    'The server answered unauthorized: not you. The key was replaced elsewhere, or the account was closed there. Import a newer export of it under another name (pgacme account import), or insert another account; then acme.replace_account(old, new). acme.verify_account looks again.',
  );
});
