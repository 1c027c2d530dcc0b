import { describe, expect, test } from 'vitest';
import {
  changeKey,
  generateAccountKey,
  getAccount,
  listOrders,
  newAuthorization,
  newOrder,
  revokeCertificate,
  updateAccount,
} from '../../src/acme/index.ts';
import { decoded, jws } from './helpers/jws.ts';
import { json, problem, rawCa } from './helpers/raw-ca.ts';

test('an account is read by an empty payload, and changed by the members that change', async () => {
  const ca = await rawCa();
  const account = await ca.account();
  ca.on['/account/1'] = json({ status: 'valid', externalAccountBinding: { a: 'x\0' }, orders: 7 });
  expect(await getAccount(account)).toEqual({
    status: 'valid',
    contact: [],
    externalAccountBinding: { a: 'x\\u0000' },
  });
  expect(jws(ca.seen.at(-1)).payload).toBe('');
  await updateAccount(account, { termsOfServiceAgreed: true });
  expect(jws(ca.seen.at(-1)).payload).toBe('{"termsOfServiceAgreed":true}');
  await updateAccount(account, { contact: [] });
  expect(jws(ca.seen.at(-1)).payload).toBe('{"contact":[]}');
});

describe('a key change', () => {
  test('is signed by both keys, the new one inside and without a nonce (RFC 8555 §7.3.5)', async () => {
    const ca = await rawCa();
    const account = await ca.account();
    const key = await generateAccountKey('ES384');
    ca.on['/key-change'] = json('', 200);
    await changeKey(account, key);
    const url = `${ca.url}/key-change`;
    const { header, payload } = jws(ca.seen.at(-1));
    expect(header).toMatchObject({ alg: 'ES256', kid: account.url, url });
    const inner = decoded(JSON.parse(payload));
    expect(inner.header).toEqual({ alg: 'ES384', jwk: key.publicJwk, url });
    expect(JSON.parse(inner.payload)).toEqual({
      account: account.url,
      oldKey: account.key.publicJwk,
    });
  });

  test('to a key that is taken says whose it is', async () => {
    const ca = await rawCa();
    const account = await ca.account();
    ca.on['/key-change'] = (request, response) => {
      response.setHeader('location', '/account/2');
      problem('malformed', 409)(request, response);
    };
    const attempt = changeKey(account, await generateAccountKey());
    await expect(attempt).rejects.toMatchObject({ status: 409, location: `${ca.url}/account/2` });
  });
});

describe('the list of orders', () => {
  /** A server whose account has a list, with what `page` says at each further place that is asked for. */
  async function paging(page: (asked: number, url: string) => ReturnType<typeof json>) {
    const ca = await rawCa();
    const account = await ca.account();
    ca.on['/account/1'] = json({ status: 'valid', orders: `${ca.url}/orders` });
    let asked = 0;
    Object.setPrototypeOf(ca.on, new Proxy({}, { get: () => page(++asked, ca.url) }));
    return { account, asked: () => asked };
  }

  test.each([
    ['as RFC 8555 has them', (orders: unknown) => ({ orders })],
    ["that are bare arrays, as Smallstep's library sends them", (orders: unknown) => orders],
  ])('of many pages %s is read to its end, and no further than is asked for', async (_, pageOf) => {
    const { account, asked } = await paging((page, url) =>
      json(pageOf([`${url}/o/${page}`]), 200, {
        ...(page % 350 === 0 ? {} : { link: `</orders/${page}>;rel="next"` }),
      }),
    );
    const listed = await listOrders(account);
    expect(listed).toHaveLength(350);
    expect(listed.at(-1)).toMatch(/\/o\/350$/);
    expect(await listOrders(account, { max: 7 })).toHaveLength(7);
    expect(asked()).toBe(357);
  });

  test.each([[null], [[]], [{ orders: null }], [{ orders: [] }]])(
    'without orders: %j',
    async (none) => {
      const { account } = await paging(() => json(none));
      expect(await listOrders(account)).toEqual([]);
    },
  );

  test.each([[{}], [{ orders: 'no list' }], [[7]]])(
    'of another shape is a bad answer: %j',
    async (odd) => {
      const { account } = await paging(() => json(odd));
      await expect(listOrders(account)).rejects.toThrow(/"orders" missing or not a list of URLs/);
    },
  );

  test('that leads back to itself is a bad answer', async () => {
    const { account } = await paging((page, url) =>
      json({ orders: [`${url}/o/${page}`] }, 200, { link: '</orders>;rel="next"' }),
    );
    await expect(listOrders(account)).rejects.toThrow(
      /answered with a list of orders that does not end/,
    );
  });

  test('that goes on and on ends with a page that names no other order', async () => {
    const { account, asked } = await paging((page, url) =>
      json({ orders: [`${url}/o/${Math.min(page, 3)}`] }, 200, {
        link: `</orders/${page}>;rel="next"`,
      }),
    );
    expect(await listOrders(account)).toHaveLength(3);
    expect(asked()).toBe(4);
  });

  test('is missing at most CAs, and that is told', async () => {
    const ca = await rawCa();
    ca.on['/account/1'] = json({ status: 'valid' });
    await expect(listOrders(await ca.account())).rejects.toMatchObject({
      code: 'ERR_ACME_UNSUPPORTED',
      message: `The account ${ca.url}/account/1 has no list of orders; this CA does not offer it.`,
    });
  });
});

test('a pre-authorization has the URL of Location', async () => {
  const ca = await rawCa();
  const identifier = { type: 'dns', value: 'a.example' };
  ca.on['/new-authz'] = json({ status: 'pending', identifier, challenges: [] }, 201, {
    location: '/authz/1',
  });
  expect(await newAuthorization(await ca.account(), identifier)).toEqual({
    url: `${ca.url}/authz/1`,
    value: { status: 'pending', identifier, challenges: [] },
  });
  expect(jws(ca.seen.at(-1)).payload).toBe(JSON.stringify({ identifier }));
});

test('an order asks for its times, its profile and what it replaces', async () => {
  const ca = await rawCa();
  const request = {
    identifiers: [{ type: 'dns', value: 'a.example' }],
    notBefore: '2026-11-24T00:00:00Z',
    notAfter: '2026-12-24T00:00:00Z',
    replaces: 'aa.bb',
    profile: 'classic',
  };
  const { profile, ...rest } = request;
  const order = { ...rest, status: 'pending', authorizations: [`${ca.url}/z`] };
  ca.on['/new-order'] = json({ ...order, finalize: `${ca.url}/f`, profile }, 201, {
    location: '/order/1',
  });
  const { value } = await newOrder(await ca.account(), request);
  expect(value).toMatchObject({ replaces: 'aa.bb', notAfter: '2026-12-24T00:00:00.000Z' });
  expect(JSON.parse(jws(ca.seen.at(-1)).payload)).toEqual(request);
});

test("a revocation is signed by the account's key under its URL, or by a certificate's key", async () => {
  const ca = await rawCa();
  const account = await ca.account();
  ca.on['/revoke'] = json('', 200);
  const der = Uint8Array.from([9, 251, 255, 254, 9]).subarray(1, 4);
  await revokeCertificate(account, der, 0);
  const first = jws(ca.seen.at(-1));
  expect(first.header).toMatchObject({ kid: account.url });
  expect(first.payload).toBe('{"certificate":"-__-","reason":0}');
  await revokeCertificate({ server: account.server, key: account.key }, der);
  const second = jws(ca.seen.at(-1));
  expect(second.header).toMatchObject({ jwk: account.key.publicJwk });
  expect(second.header).not.toHaveProperty('kid');
  expect(second.payload).toBe('{"certificate":"-__-"}');
});
