import { expect, test } from 'vitest';
import { type AccountKey, generateAccountKey, newAccount, Server } from '../../src/acme/index.ts';
import { type AccountKeys, sealedAccountKeys } from '../../src/secrets/account-keys.ts';
import { sealingKeys } from '../../src/secrets/seal.ts';
import { events, once, openKey, valid } from '../helpers/account.ts';
import { travel } from '../helpers/clock.ts';
import { until } from '../helpers/until.ts';
import { type Ca, faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';

/** Starts a worker whose second key is one that another account has there; returns that account. */
async function workerWithTakenKey(world: World, { directoryUrl, caPem }: Omit<Ca, 'httpPort'>) {
  const sealed = sealedAccountKeys(await sealingKeys(world.secretKey));
  const { origin } = new URL(directoryUrl);
  const taken = await sealed.make({ account: 'main', origin }, 'ES256');
  const server = new Server({ directoryUrl, caBundle: caPem });
  const other = await newAccount(server, taken.key, { termsOfServiceAgreed: true });
  await server.close();
  let made = 0;
  await world.worker({
    accountKeys: {
      make: (owner, alg) => (++made === 2 ? Promise.resolve(taken) : sealed.make(owner, alg)),
      open: (owner, stored) => sealed.open(owner, stored),
    },
  });
  return other;
}

test('a key is rolled over: the old one is dead, and certificates go on with the new one', async () => {
  const { pebble, ...world } = await pebbleWorld();
  await world.worker();
  const before = await valid(world);
  const { origin } = new URL(pebble.directoryUrl);
  const oldKey = await openKey(world, origin);
  const first = await world.insert({ names: [freshName()] });
  await world.reach(first, 'issued');
  await world.sql`select acme.roll_over_key('main')`;
  const after = await valid(world);
  expect(after.thumbprint).not.toBe(before.thumbprint);
  expect(after.url).toBe(before.url);
  expect(await events(world)).toEqual([
    'account_key_made',
    'account_registered',
    'account_roll_over_asked',
    'account_pending_key_made',
    'account_key_rolled_over',
  ]);
  const second = await world.insert({ names: [freshName()] });
  await world.reach(second, 'issued');
  // The old key is nobody's any more, and cannot be opened from the database either.
  const server = new Server({ directoryUrl: pebble.directoryUrl, caBundle: pebble.caPem });
  try {
    await expect(newAccount(server, oldKey, { onlyReturnExisting: true })).rejects.toMatchObject({
      type: 'accountDoesNotExist',
    });
  } finally {
    await server.close();
  }
  expect(
    await world.sql`select state, jwe is null as is_gone from acme_private.account_key order by id`,
  ).toEqual([
    { state: 'retired', is_gone: true },
    { state: 'current', is_gone: false },
  ]);
});

test('a roll-over waits for orders under way, says for which, and gives up on those by hand after an hour', async () => {
  const world = await pebbleWorld();
  await world.sql`
    insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{by-hand.example.org}')`;
  await world.worker();
  await valid(world);
  const id = await world.insert({ names: ['www.by-hand.example.org'] });
  await until(async () => (await world.status(id)).reason_code === 'waiting_for_publication', {
    what: 'it waits for a person',
  });
  await world.sql`select acme.roll_over_key('main')`;
  const waits = await once(
    world,
    (row) => row.reason_code === 'waiting_for_orders',
    'the roll-over waits',
  );
  expect(waits.state).toBe('rolling_over');
  expect(waits.reason).not.toContain(`csr ${id}`);
  const other = await world.insert({ names: [freshName()] });
  await until(async () => (await world.status(other)).reason_code === 'account_not_ready', {
    what: 'new orders are held',
  });
  await travel(world.sql, 16 / 1440);
  const named = await once(
    world,
    (row) => row.reason?.includes(`csr ${id} (order `) ?? false,
    'it says what it waits for',
  );
  expect(named.reason).toContain('to be published by hand');
  await travel(world.sql, 61 / 1440);
  await valid(world);
  expect(await events(world, 'account_key_rolled_over')).toHaveLength(1);
  await world.reach(other, 'issued');
  expect(await world.status(id)).toMatchObject({ state: 'ordering', attempts: 0 });
});

test('account keys may live elsewhere: workers sign with what the key provider gives, and the database has no key', async () => {
  const world = await pebbleWorld();
  const vault = new Map<string, AccountKey>();
  const accountKeys: AccountKeys = {
    async make({ account: name }, alg) {
      const key = await generateAccountKey(alg);
      const stored = `vault:${name}/${vault.size}`;
      vault.set(stored, key);
      return { stored, key };
    },
    open(_owner, stored) {
      const key = vault.get(stored);
      return key === undefined ? Promise.reject(new Error('no such key')) : Promise.resolve(key);
    },
  };
  await world.worker({ accountKeys });
  await valid(world);
  await world.sql`select acme.roll_over_key('main')`;
  await valid(world);
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued');
  expect(await world.sql`select jwe from acme_private.account_key where state = 'current'`).toEqual(
    [{ jwe: 'vault:main/1' }],
  );
});

test('a server that says yes to a new key and does nothing is found out, and the old key stays', async () => {
  const { pebble, ...world } = await pebbleWorld();
  // Pebble does so where the new key is another account's.
  await workerWithTakenKey(world, pebble);
  const before = await valid(world);
  await world.sql`select acme.roll_over_key('main')`;
  // It may only be slow: an account's key is remembered here and there.
  await once(world, (row) => row.reason_code === 'key_change_unconfirmed', 'it is looked at again');
  await travel(world.sql, 6 / 1440);
  const after = await once(
    world,
    (row) => row.state === 'valid' && row.reason_code === 'key_not_changed',
    'the roll-over is given up',
  );
  // Kept, should the server take it after all.
  expect(
    await world.sql`select jwe is null as is_gone from acme_private.account_key where state = 'retired'`,
  ).toEqual([{ is_gone: false }]);
  expect(after.thumbprint).toBe(before.thumbprint);
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued');
  // Another try makes another key.
  await world.sql`select acme.roll_over_key('main')`;
  const rolled = await once(
    world,
    (row) => row.thumbprint !== before.thumbprint,
    'it is rolled over',
  );
  expect(rolled).toMatchObject({ state: 'valid', reason_code: null });
});

test('a key that has an account already is told with the URL of that account, and the old key stays', async () => {
  const { ca, ...world } = await faultyWorld();
  const other = await workerWithTakenKey(world, ca);
  const before = await valid(world);
  await world.sql`select acme.roll_over_key('main')`;
  const after = await once(world, (row) => row.reason_code === 'key_in_use', 'it is told');
  expect(after).toMatchObject({ state: 'valid', thumbprint: before.thumbprint });
  expect(after.reason).toContain(other.url);
});

test('a key change whose answer is lost is found done by a look with the new key, and sent once', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  const before = await valid(world);
  ca.on('keyChange', { phase: 'after', cut: 'before-headers' });
  await world.sql`select acme.roll_over_key('main')`;
  const after = await once(
    world,
    (row) => row.state === 'valid' && row.thumbprint !== before.thumbprint,
    'the key is rolled over',
  );
  expect(after.reason_code).toBeNull();
  expect(ca.count('keyChange')).toBe(1);
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued');
});

test('a server without key roll-over says so, and the account goes on', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.on('directory', {
    rewrite: (json) => ({ ...json, keyChange: undefined }),
    times: Infinity,
  });
  await world.worker();
  await valid(world);
  await world.sql`select acme.roll_over_key('main')`;
  await once(world, (row) => row.reason_code === 'key_change_unsupported', 'it is told');
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued');
});
