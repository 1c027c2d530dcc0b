import { describe, expect, test } from 'vitest';
import {
  answerChallenge,
  deactivateAuthorization,
  downloadCertificate,
  finalizeOrder,
  generateAccountKey,
  getAuthorization,
  getNewOrder,
  getOrder,
  newAccount,
  newOrder,
} from '../../src/acme/index.ts';
import { jws } from './helpers/jws.ts';
import { json, rawCa } from './helpers/raw-ca.ts';

const BAD = expect.objectContaining({ code: 'ERR_ACME_BAD_ANSWER' }) as Error;

const ORDER = {
  status: 'pending',
  expires: '2026-11-24T00:00:00.000Z',
  identifiers: [{ type: 'dns', value: 'a.example' }],
  authorizations: ['https://ca.example/authz/1'],
  finalize: 'https://ca.example/finalize/1',
};

const CHALLENGE = {
  type: 'http-01',
  url: 'https://ca.example/c/1',
  status: 'pending',
  token: 'tok',
};

test('newAccount signs with the key itself and tells a new account from a known one', async () => {
  const ca = await rawCa();
  const key = await generateAccountKey();
  let status = 201;
  ca.on['/new-account'] = (request, response) =>
    json({ status: 'valid', contact: ['mailto:a@b.example', 7] }, status, {
      location: '/account/9',
    })(request, response);
  const server = ca.server();
  const request = { contact: ['mailto:a@b.example'], termsOfServiceAgreed: true };
  expect(await newAccount(server, key, request)).toEqual({
    url: `${ca.url}/account/9`,
    created: true,
    account: { status: 'valid', contact: ['mailto:a@b.example'] },
  });
  const { header, payload } = jws(ca.seen.at(-1));
  expect(header).toMatchObject({ alg: 'ES256', jwk: key.publicJwk, url: `${ca.url}/new-account` });
  expect(header).not.toHaveProperty('kid');
  expect(JSON.parse(payload)).toEqual(request);
  status = 200;
  expect((await newAccount(server, key, { onlyReturnExisting: true })).created).toBe(false);
  expect(jws(ca.seen.at(-1)).payload).toBe('{"onlyReturnExisting":true}');
});

test('newOrder gives the URL of Location and the wait that the CA asks for', async () => {
  const ca = await rawCa();
  const account = await ca.account();
  const location = `${ca.url}/order/%7e1`;
  const order = { ...ORDER, authorizations: [`${ca.url}/authz/1`], finalize: `${ca.url}/f/1` };
  ca.on['/new-order'] = json({ ...order, profile: 'tlsserver', unknown: 1 }, 201, {
    location,
    'retry-after': '5',
  });
  const identifiers = [{ type: 'dns', value: 'a.example' }];
  const answer = await newOrder(account, { identifiers, profile: 'tlsserver' });
  expect(answer).toEqual({
    url: location,
    retryAfterMs: 5000,
    value: { ...order, profile: 'tlsserver' },
  });
  const { header, payload } = jws(ca.seen.at(-1));
  expect(header).toMatchObject({ kid: account.url });
  expect(header).not.toHaveProperty('jwk');
  expect(JSON.parse(payload)).toEqual({ identifiers, profile: 'tlsserver' });
  ca.on['/new-order'] = json(order, 201);
  await expect(newOrder(account, { identifiers })).rejects.toThrow(BAD);
});

test('finalize sends the DER it was given, from the middle of a buffer too', async () => {
  const ca = await rawCa();
  ca.on['/finalize'] = json({ ...ORDER, status: 'processing' });
  const der = Uint8Array.from([9, 251, 255, 254, 9]).subarray(1, 4);
  const { value } = await finalizeOrder(
    await ca.account(),
    { finalize: `${ca.url}/finalize` },
    der,
  );
  expect(value.status).toBe('processing');
  expect(jws(ca.seen.at(-1)).payload).toBe('{"csr":"-__-"}');
});

describe('orders', () => {
  test.each([
    ['no status', { ...ORDER, status: undefined }],
    ['an unknown status', { ...ORDER, status: 'odd' }],
    ['no certificate although valid', { ...ORDER, status: 'valid' }],
    ['not an object', [ORDER]],
  ])('with %s are a bad answer', async (_, order) => {
    const ca = await rawCa();
    ca.on['/order'] = json(order);
    await expect(getOrder(await ca.account(), `${ca.url}/order`)).rejects.toThrow(BAD);
  });

  test.each([
    ['no identifiers', { identifiers: undefined }, { identifiers: [] }],
    [
      'a NUL in an identifier',
      { identifiers: [{ type: 'dns', value: 'a\0' }] },
      { identifiers: [] },
    ],
    ['authorizations that are no URLs', { authorizations: ['x y'] }, { authorizations: [] }],
    ['null authorizations', { authorizations: null }, { authorizations: [] }],
    ['no finalize', { finalize: null }, { finalize: undefined }],
    ['an empty certificate', { certificate: '' }, { certificate: undefined }],
  ])('with %s are read without', async (_, odd, read) => {
    const ca = await rawCa();
    ca.on['/order'] = json({ ...ORDER, ...odd });
    const { value } = await getOrder(await ca.account(), `${ca.url}/order`);
    expect({ ...read, ...value }).toEqual(expect.objectContaining(read));
  });

  test('that do not say where the CSR goes are not finalized', async () => {
    const ca = await rawCa();
    await expect(finalizeOrder(await ca.account(), {}, Uint8Array.of(1))).rejects.toThrow(
      /read it again/,
    );
  });

  test('that newOrder made without telling what is needed are named by the error', async () => {
    const ca = await rawCa();
    for (const body of ['', { ...ORDER, authorizations: null }, { ...ORDER, status: 'odd' }]) {
      ca.on['/new-order'] = json(body, 201, { location: '/orders/1' });
      const made = newOrder(await ca.account(), { identifiers: [] });
      await expect(made).rejects.toMatchObject({ location: `${ca.url}/orders/1` });
    }
  });

  test('that newOrder made are read once more, as strictly as its answer', async () => {
    const ca = await rawCa();
    const url = `${ca.url}/orders/1`;
    const order = { ...ORDER, authorizations: [`${ca.url}/authz/1`], finalize: `${ca.url}/f/1` };
    ca.on['/orders/1'] = json(order);
    expect((await getNewOrder(await ca.account(), url)).value).toEqual(order);
    expect(jws(ca.seen.at(-1)).payload).toBe('');
    for (const useless of [
      { ...order, authorizations: null },
      { ...order, authorizations: [] },
    ]) {
      ca.on['/orders/1'] = json(useless);
      await expect(getNewOrder(await ca.account(), url)).rejects.toThrow(BAD);
    }
    for (const elsewhere of [
      { ...order, authorizations: ['ftp://ca.example/authz/1'] },
      { ...order, finalize: 'ftp://ca.example/f/1' },
    ]) {
      ca.on['/orders/1'] = json(elsewhere);
      await expect(getNewOrder(await ca.account(), url)).rejects.toThrow(/ftp:/);
    }
    // Nothing more is to be proved.
    ca.on['/orders/1'] = json({ ...order, status: 'ready', authorizations: [] });
    expect((await getNewOrder(await ca.account(), url)).value.status).toBe('ready');
  });

  test('keep the problem that ended them, and lose what is not a time', async () => {
    const ca = await rawCa();
    const error = { type: 'urn:ietf:params:acme:error:badCSR', detail: 'no\0' };
    ca.on['/order'] = json({ ...ORDER, status: 'invalid', expires: 'soon', error });
    const { value } = await getOrder(await ca.account(), `${ca.url}/order`);
    expect(value.expires).toBeUndefined();
    expect(value.error).toEqual({
      type: 'badCSR',
      detail: 'no',
      subproblems: [],
      document: { ...error, detail: 'no\\u0000' },
    });
    expect(jws(ca.seen.at(-1)).payload).toBe('');
  });

  test('with the status of a lost authorization, as Pebble 2.4 has, are invalid', async () => {
    const ca = await rawCa();
    ca.on['/order'] = json({ ...ORDER, status: 'deactivated' });
    const { value } = await getOrder(await ca.account(), `${ca.url}/order`);
    expect(value.status).toBe('invalid');
  });
});

describe('authorizations', () => {
  const AUTHZ = {
    status: 'pending',
    identifier: { type: 'dns', value: 'a.example' },
    wildcard: false,
    challenges: [CHALLENGE],
  };

  test('keep challenges of unknown types, with or without a token, and skip what is none', async () => {
    const ca = await rawCa();
    const persist = { type: 'dns-persist-01', url: 'https://ca.example/c/2', status: 'pending' };
    const odd = { ...persist, type: 'odd-02', token: '../../etc' };
    const challenges = [
      CHALLENGE,
      persist,
      odd,
      { type: 'x' },
      { ...persist, status: 'new' },
      null,
    ];
    ca.on['/authz'] = json({ ...AUTHZ, challenges });
    const { value } = await getAuthorization(await ca.account(), `${ca.url}/authz`);
    expect(value).toMatchObject({ status: 'pending', wildcard: false });
    expect(value.challenges).toEqual([
      { ...CHALLENGE, raw: CHALLENGE },
      { ...persist, raw: persist },
      { ...persist, type: 'odd-02', raw: odd },
    ]);
  });

  test.each([
    ['A.Example', false],
    ['*.a.example', true],
    ['*.A.EXAMPLE', true],
  ])('have their name as orders compare it, however it is spelled: %s', async (value, wildcard) => {
    const ca = await rawCa();
    ca.on['/authz'] = json({ ...AUTHZ, identifier: { type: 'dns', value } });
    const { value: read } = await getAuthorization(await ca.account(), `${ca.url}/authz`);
    expect(read.identifier).toEqual({ type: 'dns', value: 'a.example' });
    expect(read.wildcard).toBe(wildcard);
  });

  test.each(['http-01', 'dns-01', 'tls-alpn-01'])(
    'whose %s token is not base64url are left out, unless they are over',
    async (type) => {
      const ca = await rawCa();
      const account = await ca.account();
      for (const token of ['../x', 'a=', '', 7, undefined, 'x'.repeat(513)]) {
        ca.on['/authz'] = json({ ...AUTHZ, challenges: [{ ...CHALLENGE, type, token }] });
        const { value } = await getAuthorization(account, `${ca.url}/authz`);
        expect(value.challenges).toEqual([]);
      }
      const over = { ...CHALLENGE, type, token: undefined, status: 'valid' };
      ca.on['/authz'] = json({ ...AUTHZ, status: 'valid', challenges: [over] });
      const { value } = await getAuthorization(account, `${ca.url}/authz`);
      expect(value.challenges[0]?.status).toBe('valid');
    },
  );

  test('are given up by a payload, not by an empty one', async () => {
    const ca = await rawCa();
    ca.on['/authz'] = json({ ...AUTHZ, status: 'deactivated' });
    const { value } = await deactivateAuthorization(await ca.account(), `${ca.url}/authz`);
    expect(value.status).toBe('deactivated');
    expect(jws(ca.seen.at(-1)).payload).toBe('{"status":"deactivated"}');
  });
});

test('a challenge is answered with an empty object and comes back with its error', async () => {
  const ca = await rawCa();
  const error = { type: 'urn:ietf:params:acme:error:dns', detail: 'NXDOMAIN' };
  ca.on['/c'] = json({ ...CHALLENGE, status: 'processing', error });
  const { value } = await answerChallenge(await ca.account(), `${ca.url}/c`);
  expect(value).toMatchObject({ status: 'processing', error: { type: 'dns', detail: 'NXDOMAIN' } });
  expect(jws(ca.seen.at(-1)).payload).toBe('{}');
});

describe('certificates', () => {
  const block = (name: string, base64 = 'AAAABBBB') =>
    `-----BEGIN ${name}-----\n${base64}\n-----END ${name}-----\n`;
  const cert = block('CERTIFICATE');

  test('come with LF and without empty lines, and with the alternates that may be fetched', async () => {
    const ca = await rawCa();
    ca.on['/cert'] = (_, response) => {
      response.setHeader('link', [
        `<${ca.url}/cert/1>;rel="alternate", </dir>;rel="index"`,
        '</cert/2>;rel="alternate", <https://elsewhere.example/3>;rel="alternate"',
      ]);
      const sent = `\n${cert}\n${cert}\n`.replaceAll('AAAA', 'AAAA\n');
      response.end(sent.replaceAll('\n', '\r\n'));
    };
    expect(await downloadCertificate(await ca.account(), `${ca.url}/cert`)).toEqual({
      chainPem: cert + cert,
      alternates: [`${ca.url}/cert/1`, `${ca.url}/cert/2`],
    });
    expect(ca.seen.at(-1)?.headers.accept).toBe('application/pem-certificate-chain');
  });

  test('come without the text around them', async () => {
    const ca = await rawCa();
    ca.on['/cert'] = (_request, response) =>
      response.end(`subject=a\n${cert}\n# issuer: c2VjcmV0\0\n${cert}behind\n`);
    const { chainPem } = await downloadCertificate(await ca.account(), `${ca.url}/cert`);
    expect(chainPem).toBe(cert + cert);
  });

  test.each([
    ['a private key', cert + block('PRIVATE KEY', 'c2VjcmV0')],
    ['a private key first', block('EC PRIVATE KEY', 'c2VjcmV0') + cert],
    ['no end', cert.replace(/-----END.*/, '')],
    ['no base64', block('CERTIFICATE', 'c2Vj*cmV0')],
    ['an empty block', block('CERTIFICATE', '')],
    ['nothing', ''],
    ['JSON', '{"secret":"c2VjcmV0"}'],
    ['a megabyte of spaces', `-----BEGIN CERTIFICATE-----${' '.repeat(1_000_000)}`],
  ])('with %s are refused and not shown', async (_, body) => {
    const ca = await rawCa();
    ca.on['/cert'] = (_request, response) => response.end(body);
    const error: unknown = await downloadCertificate(await ca.account(), `${ca.url}/cert`).catch(
      (caught: unknown) => caught,
    );
    expect(error).toMatchObject({ code: 'ERR_ACME_BAD_ANSWER' });
    expect(JSON.stringify(error) + String(error)).not.toMatch(/secret|c2Vj/);
  });
});
