import { expect, test, vi } from 'vitest';
import {
  type AccountKey,
  changeKey,
  generateAccountKey,
  getAccount,
  Server,
} from '../../src/acme/index.ts';
import { sealedAccountKeys } from '../../src/secrets/account-keys.ts';
import { sealingKeys } from '../../src/secrets/seal.ts';
import { spkiSha256OfJwk } from '../../src/x509/index.ts';
import { events, once, openKey, valid } from '../helpers/account.ts';
import {
  accountId,
  accountsChanged,
  addAccountKey,
  ago,
  all,
  now,
  set,
} from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld } from '../helpers/world.ts';

vi.setConfig({ testTimeout: 60_000 });

/** The account `main`, and its key as it was before somebody rolled it over without this database. */
async function worldOfReplacedKey(
  replacement?: (origin: string, secret: string) => Promise<AccountKey>,
) {
  const { pebble, ...world } = await pebbleWorld();
  await world.worker();
  const before = await valid(world);
  const { origin } = new URL(pebble.directoryUrl);
  const key = await openKey(world, origin);
  const next =
    replacement === undefined
      ? await generateAccountKey('ES256')
      : await replacement(origin, world.secretKey);
  const server = new Server({ directoryUrl: pebble.directoryUrl, caBundle: pebble.caPem });
  await changeKey({ server, url: before.url, key }, next);
  await server.close();
  const { directoryUrl, caPem } = pebble;
  return { ...world, before, next, directoryUrl, caPem };
}

test('a key that was replaced elsewhere is told, and makes no second account', async () => {
  const { before, ...world } = await worldOfReplacedKey();
  await world.sql`select acme.verify_account('main')`;
  const row = await once(
    world,
    ({ reason_code }) => reason_code === 'account_key_unknown',
    'the account says so',
  );
  expect(row.url).toBe(before.url);
  // The URL is the row's own; in acme.attention an address would become "the server".
  expect(row.reason).toMatch(
    /^The server still has this account, but knows no account with this key: the key was replaced/,
  );
  expect(row.reason).toContain('acme.replace_account(old, new)');
  expect(await events(world)).toEqual([
    'account_key_made',
    'account_registered',
    'account_needs_attention',
  ]);
  // Another account takes its place.
  await world.sql`insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
  await world.sql`select acme.replace_account('main', 'second')`;
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
});

test('a roll-over whose account has another key by now says what to do', async () => {
  const world = await worldOfReplacedKey();
  await world.sql`select acme.roll_over_key('main')`;
  const row = await once(world, ({ state }) => state === 'needs_person', 'the account says so');
  expect(row.reason_code).toBe('account_key_unknown');
  expect(row.reason).toMatch(/^The server takes neither the old nor the new key of this account/);
  expect(row.reason).toContain(
    'the key was replaced elsewhere, or the account was closed there. Import a newer export of it under another name (pgacme account import), or insert another account; then acme.replace_account(old, new).',
  );
});

test('an account that the server lost is registered again when it is verified', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  await valid(world);
  const problem = { type: 'accountDoesNotExist', status: 400, detail: 'no such account' };
  const isAsked = ({ payload }: { payload?: unknown }) =>
    (payload as { onlyReturnExisting?: boolean } | undefined)?.onlyReturnExisting === true;
  ca.on('newAccount', { when: isAsked, problem });
  ca.on('account', { problem });
  await world.sql`select acme.verify_account('main')`;
  await until(async () => (await events(world)).includes('account_lost'), { what: 'it is lost' });
  await valid(world);
});

test('an order that meets a key that was replaced elsewhere has the account looked at', async () => {
  const world = await worldOfReplacedKey();
  await set(world.sql, 'account', all, { verified_at: ago('2 minutes') });
  const id = await world.insert({ names: [freshName()] });
  const row = await world.reach(id, 'retrying');
  expect(row).toMatchObject({ reason_code: 'server_refused' });
  await once(
    world,
    ({ reason_code }) => reason_code === 'account_key_unknown',
    'the account says what is wrong',
  );
  expect(await events(world)).not.toContain('account_lost');
});

/** The key that replaced the account's is one of ours, which the server had seemed to refuse. */
async function worldOfKeptKey() {
  let stored = '';
  const { next, ...world } = await worldOfReplacedKey(async (origin, secret) => {
    const made = await sealedAccountKeys(await sealingKeys(secret)).make(
      { account: 'main', origin },
      'ES256',
    );
    stored = made.stored;
    return made.key;
  });
  // As account_roll_over_refused leaves it.
  await addAccountKey(world.sql, await accountId(world.sql), next.thumbprint, {
    state: 'retired',
    jwe: stored,
    spki_sha256: await spkiSha256OfJwk(next.publicJwk),
    retired_at: now(),
  });
  await accountsChanged(world.sql);
  return { ...world, next };
}

test('a key that the server took after it had seemed to refuse it is used from then on', async () => {
  const { before, next, ...world } = await worldOfKeptKey();
  await world.sql`select acme.verify_account('main')`;
  const after = await once(
    world,
    (row) => row.thumbprint === next.thumbprint && !row.has_pending_change,
    'the key is used',
  );
  expect(after).toMatchObject({ state: 'valid', reason_code: null, url: before.url });
  expect(
    await world.sql`select state, jwe is null as is_gone from acme_private.account_key order by id`,
  ).toEqual([
    { state: 'retired', is_gone: true },
    { state: 'current', is_gone: false },
  ]);
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
});

test('an account whose key somebody replaced is not said to be closed: that one has it still', async () => {
  const { before, ...world } = await worldOfReplacedKey();
  await world.sql`select acme.deactivate_account('main')`;
  const row = await once(
    world,
    ({ state }) => state === 'needs_person',
    'the account says that it is open',
  );
  expect(row).toMatchObject({ reason_code: 'account_key_unknown', url: before.url });
  expect(row.reason).toContain('not closed at the server');
});

test('an account is closed by a key that the server took late', async () => {
  const { before, next, ...world } = await worldOfKeptKey();
  await world.sql`select acme.deactivate_account('main')`;
  await once(world, ({ state }) => state === 'deactivated', 'it is closed');
  const { directoryUrl, caPem } = world;
  const server = new Server({ directoryUrl, caBundle: caPem });
  await expect(getAccount({ server, url: before.url, key: next })).rejects.toThrow('unauthorized');
  await server.close();
});
