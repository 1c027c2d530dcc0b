import { expect, test } from 'vitest';
import { generateAccountKey } from '../../src/acme/index.ts';
import { clientOf, easyServer, join, nonceOf, raw, sign } from './acme-client.ts';

const URN = 'urn:ietf:params:acme:error:';

test('a nonce comes by HEAD and GET and with every answer to a POST, and serves once', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const url = ca.link('newNonce');
  const head = await raw(ca, url, { method: 'HEAD' });
  const get = await raw(ca, url, { method: 'GET' });
  expect([head.status, get.status]).toEqual([200, 204]);
  expect(get.headers['cache-control']).toBe('no-store');
  const nonce = String(get.headers['replay-nonce']);
  const header = { kid: account.url, url: account.url, nonce };
  const body = JSON.stringify(await sign(account.key, header, ''));
  expect((await raw(ca, account.url, { body })).status).toBe(200);
  const again = await raw(ca, account.url, { body });
  expect(again).toMatchObject({ status: 400, json: { type: `${URN}badNonce` } });
  expect(again.headers['content-type']).toBe('application/problem+json');
  expect(again.headers['replay-nonce']).toMatch(/^[\w-]{22}$/);
  expect(again.headers['replay-nonce']).not.toBe(nonce);
});

test('a request that breaks RFC 8555 §6 is refused with the right problem', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const stranger = await generateAccountKey();
  const { key, url: kid } = account;
  const send = async (header: object, payload: unknown = '', signer = key, url = kid) => {
    const nonce = await nonceOf(ca);
    const body = JSON.stringify(await sign(signer, { nonce, url, ...header }, payload));
    return raw(ca, url, { body });
  };
  const jwk = key.publicJwk;
  const newAccount = ca.link('newAccount');
  const newOrder = ca.link('newOrder');
  const identifiers = [{ type: 'dns', value: 'a.example.com' }];
  const wrong = {
    'another url': [await send({ kid, url: `${kid}x` }), 403, 'unauthorized'],
    'no nonce': [await send({ kid, nonce: undefined }), 400, 'badNonce'],
    'kid and jwk': [await send({ kid, jwk }), 400, 'malformed'],
    'neither kid nor jwk': [await send({}), 400, 'malformed'],
    'jwk for an order': [await send({ jwk }, { identifiers }, key, newOrder), 400, 'malformed'],
    'kid for a new account': [await send({ kid }, {}, key, newAccount), 400, 'malformed'],
    'an unknown kid': [await send({ kid: `${kid}x` }), 400, 'accountDoesNotExist'],
    "another key's signature": [await send({ kid }, '', stranger), 400, 'malformed'],
    'no payload for an order': [await send({ kid }, '', key, newOrder), 400, 'malformed'],
    'a private key as jwk': [
      await send({ jwk: { ...jwk, d: 'x' } }, {}, key, newAccount),
      400,
      'malformed',
    ],
    'a key that is none': [
      await send({ jwk: { kty: 'EC', crv: 'P-256', x: '', y: '' } }, {}, key, newAccount),
      400,
      'badPublicKey',
    ],
    'nothing to update': [await send({ kid }, {}), 400, 'malformed'],
  } as const;
  for (const [what, [answer, status, type]] of Object.entries(wrong)) {
    expect(answer, what).toMatchObject({ status, json: { type: URN + type, status } });
  }
  expect(wrong['a private key as jwk'][0].json['detail']).toContain('private');
  expect(wrong['no payload for an order'][0].json['detail']).toContain('payload');
  expect((await send({ kid })).status).toBe(200);
});

test('what is no JWS, or comes by the wrong method or type, is refused', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const good = async () => {
    const header = { kid: account.url, url: account.url, nonce: await nonceOf(ca) };
    return sign(account.key, header, '');
  };
  const post = async (body: object | string, headers: Record<string, string> = {}) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return (await raw(ca, account.url, { body: text, headers })).status;
  };
  expect(await post(await good())).toBe(200);
  expect(await post('<html>')).toBe(400);
  expect(await post({ ...(await good()), header: {} })).toBe(400);
  const padded = await good();
  expect(await post({ ...padded, signature: `${padded.signature}==` })).toBe(400);
  expect(await post({ ...(await good()), protected: 'e30' })).toBe(400);
  expect(await post(await good(), { 'content-type': 'application/json' })).toBe(415);
  expect(await post(await good(), { 'replay-nonce': 'x' })).toBe(400);
  expect(await post(await good(), { 'user-agent': '' })).toBe(400);
  expect((await raw(ca, account.url, { method: 'GET' })).status).toBe(405);
  expect((await raw(ca, `${ca.directoryUrl}x`, { method: 'GET' })).status).toBe(404);
});

test('an algorithm that is not taken is refused with those that are', async () => {
  const ca = await easyServer({ algorithms: ['RS256'] });
  const key = await generateAccountKey();
  const url = ca.link('newAccount');
  const header = { url, nonce: await nonceOf(ca), jwk: key.publicJwk };
  const answer = await raw(ca, url, { body: JSON.stringify(await sign(key, header, {})) });
  expect(answer.json).toMatchObject({ type: `${URN}badSignatureAlgorithm`, algorithms: ['RS256'] });
});

test('the links of a directory, an order and a challenge lead where RFC 8555 says', async () => {
  const ca = await easyServer({ profiles: { classic: '90 days' } });
  const { json } = await raw(ca, ca.directoryUrl, { method: 'GET' });
  expect(json).toMatchObject({
    newOrder: ca.link('newOrder'),
    meta: { termsOfService: 'https://ca.example/terms/v1', profiles: { classic: '90 days' } },
  });
  const account = await join(clientOf(ca));
  const post = (url: string, payload: unknown) =>
    nonceOf(ca)
      .then((nonce) => sign(account.key, { kid: account.url, url, nonce }, payload))
      .then((jws) => raw(ca, url, { body: JSON.stringify(jws) }));
  const identifiers = [{ type: 'dns', value: 'a.example.com' }];
  const index = `<${ca.directoryUrl}>;rel="index"`;
  const order = await post(ca.link('newOrder'), { identifiers, profile: 'classic' });
  expect(order).toMatchObject({
    status: 201,
    json: { profile: 'classic' },
    headers: { link: index },
  });
  const unknown = await post(ca.link('newOrder'), { identifiers, profile: 'toString' });
  expect(unknown.json['type']).toBe(`${URN}invalidProfile`);
  expect((await post(String(order.headers['location']), '')).json['status']).toBe('pending');
  const [authorization = ''] = order.json['authorizations'] as string[];
  const { challenges } = (await post(authorization, '')).json as { challenges: { url: string }[] };
  const url = challenges[0]?.url ?? '';
  expect(await post(url, { keyAuthorization: 'x' })).toMatchObject({ status: 400 });
  const answered = await post(url, {});
  expect(answered.json['status']).toBe('valid');
  expect(answered.headers['link']).toEqual([index, `<${authorization}>;rel="up"`]);
});
