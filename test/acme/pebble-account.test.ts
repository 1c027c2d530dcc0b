import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  changeKey,
  deactivateAccount,
  externalAccountKey,
  generateAccountKey,
  getAccount,
  importAccountKey,
  listOrders,
  newAccount,
  newOrder,
  updateAccount,
} from '../../src/acme/index.ts';
import type { PebbleBinaries } from '../../src/local/pebble.ts';
import {
  newestPebble,
  pebbleForTests,
  pebbleOfThisRelease,
  type TestPebbleOptions,
} from '../helpers/pebble.ts';
import { freshName, join, serverOf } from './helpers/pebble-ca.ts';

const MAIL = ['mailto:a@example.org'];
// 48 bytes, which is enough for HS256 and HS384.
const MAC = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W';

/** 2.10 or newer, and an old one, as some CAs are. */
const versions: Record<string, () => Promise<PebbleBinaries | undefined>> = {
  'the newest Pebble': newestPebble,
  "the release's own Pebble": pebbleOfThisRelease,
};

describe.each(Object.keys(versions))('an account at %s', (which) => {
  const start = async (options: TestPebbleOptions = {}) => {
    const binaries = await versions[which]?.();
    if (binaries === undefined) throw new Error('There is no apt-get to fetch this Pebble with.');
    return pebbleForTests({ ...options, binaries });
  };

  test('is read, changed, found by its key, and deactivated for good', async () => {
    const server = serverOf(await start());
    const account = await join(server, { contact: MAIL });
    const { orders, ...read } = await getAccount(account);
    expect(read).toEqual({ status: 'valid', contact: MAIL });
    expect(orders).toMatch(/^https:/);
    const changed = ['mailto:b@example.org', 'mailto:c@example.org'];
    expect((await updateAccount(account, { contact: changed })).contact).toEqual(changed);
    expect((await getAccount(account)).contact).toEqual(changed);
    expect((await updateAccount(account, { contact: [] })).contact).toEqual([]);
    const found = await newAccount(server, account.key, { onlyReturnExisting: true });
    expect(found).toMatchObject({ url: account.url, created: false });
    const other = newAccount(server, await generateAccountKey(), { onlyReturnExisting: true });
    await expect(other).rejects.toMatchObject({ type: 'accountDoesNotExist' });
    expect((await deactivateAccount(account)).status).toBe('deactivated');
    await expect(getAccount(account)).rejects.toMatchObject({ type: 'unauthorized', status: 403 });
  });

  test('is not made without consent to the terms, and the refusal says where they are', async () => {
    const pebble = await start();
    const server = serverOf(pebble);
    const refused = join(server, { termsOfServiceAgreed: false });
    const { termsOfService } = (await server.directory()).meta;
    await expect(refused).rejects.toMatchObject({
      type: pebble.version === '2.4' ? 'agreementRequired' : 'userActionRequired',
      termsOfServiceUrl: termsOfService,
    });
  });

  test('gets a new key, of another kind too, and then only that one works', async () => {
    const account = await join(serverOf(await start()), { contact: MAIL });
    const key = await generateAccountKey('RS256');
    expect(await changeKey(account, key)).toBeUndefined();
    expect((await getAccount({ ...account, key })).contact).toEqual(MAIL);
    await expect(getAccount(account)).rejects.toMatchObject({ code: 'ERR_ACME_PROBLEM' });
  });

  test('keeps its key when the new one has an account: only a read tells what Pebble did', async () => {
    const pebble = await start();
    const server = serverOf(pebble);
    const [account, other] = [await join(server), await join(server)];
    const attempt = changeKey(account, other.key);
    // RFC 8555 §7.3.5 wants 409: the one answers 500, and the other 200 as if it were done.
    if (pebble.version === '2.4') {
      await expect(attempt).rejects.toMatchObject({ status: 500, type: 'serverInternal' });
    } else {
      await attempt;
    }
    expect((await getAccount(account)).status).toBe('valid');
    const changed = getAccount({ ...account, key: other.key });
    await expect(changed).rejects.toMatchObject({ code: 'ERR_ACME_PROBLEM' });
  });

  test('lists all its orders, page by page, and as many as wanted', async () => {
    const pebble = await start({ env: { PEBBLE_WFE_ORDERS_PER_PAGE: '2' } });
    const account = await join(serverOf(pebble));
    expect(await listOrders(account)).toEqual([]);
    const made: string[] = [];
    for (let count = 0; count < 5; count++) {
      const identifiers = [{ type: 'dns', value: freshName() }];
      made.push((await newOrder(account, { identifiers })).url);
    }
    const listed = await listOrders(account);
    expect(new Set(listed)).toEqual(new Set(made));
    expect(await listOrders(account, { max: 3 })).toEqual(listed.slice(0, 3));
  });
});

describe('a Pebble that wants external accounts', () => {
  const eab = { 'kid-1': MAC, 'kid-2': randomBytes(64).toString('base64url') };
  const bound = (kid: string, alg?: 'HS256' | 'HS384' | 'HS512', key = MAC) => ({
    externalAccountBinding: { kid, hmacKey: externalAccountKey(key), ...(alg ? { alg } : {}) },
  });

  test('says so in its directory and refuses an account without one', async () => {
    const server = serverOf(await pebbleForTests({ eab }));
    expect((await server.directory()).meta.externalAccountRequired).toBe(true);
    await expect(join(server)).rejects.toMatchObject({ type: 'externalAccountRequired' });
  });

  test.each([
    ['kid-1', undefined, MAC],
    ['kid-1', 'HS384', MAC],
    ['kid-2', 'HS512', eab['kid-2']],
  ] as const)('binds with %s and %s, and shows the binding', async (kid, alg, key) => {
    const server = serverOf(await pebbleForTests({ eab }));
    const account = await join(server, bound(kid, alg, key));
    const { externalAccountBinding } = await getAccount(account);
    const { protected: head, payload } = externalAccountBinding ?? {};
    const json = (part: unknown) =>
      JSON.parse(Buffer.from(String(part), 'base64url').toString()) as unknown;
    const { newAccount: url } = await server.directory();
    expect(json(head)).toEqual({ alg: alg ?? 'HS256', kid, url });
    expect(json(payload)).toEqual(account.key.publicJwk);
  });

  test('refuses a wrong key and an unknown key id', async () => {
    const server = serverOf(await pebbleForTests({ eab }));
    const unknown = join(server, bound('kid-9'));
    await expect(unknown).rejects.toMatchObject({ type: 'unauthorized' });
    const wrong = join(server, bound('kid-1', 'HS256', randomBytes(32).toString('base64')));
    await expect(wrong).rejects.toMatchObject({ type: 'unauthorized' });
  });

  test('a key of RFC 7515 that has an account already is found without a binding', async () => {
    const server = serverOf(await pebbleForTests({ eab }));
    const key = await importAccountKey((await generateAccountKey('ES384')).privateJwk);
    const { url } = await newAccount(server, key, {
      termsOfServiceAgreed: true,
      ...bound('kid-1'),
    });
    const found = await newAccount(server, key, { onlyReturnExisting: true });
    expect(found).toMatchObject({ url, created: false });
  });
});
