import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  type AccountKey,
  changeKey,
  deactivateAccount,
  externalAccountKey,
  generateAccountKey,
  getAccount,
  getAuthorization,
  getOrder,
  listOrders,
  newAccount,
  newAuthorization,
  newOrder,
  updateAccount,
} from '../../src/acme/index.ts';
import {
  answerAll,
  clientOf,
  csrFor,
  easyServer,
  issue,
  join,
  nonceOf,
  orderOf,
  raw,
  reach,
  responder,
  sign,
  testServer,
} from './acme-client.ts';

const dns = (value: string) => ({ type: 'dns', value });
const wish = (value: string) => ({ identifiers: [dns(value)] });
const MAC = Buffer.from('m'.repeat(32)).toString('base64url');
const AGREED = { termsOfServiceAgreed: true };

test('changed terms stop orders, with the page to visit, until the account agrees', async () => {
  const ca = await easyServer({ preAuthorization: true });
  const account = await join(clientOf(ca));
  const url = await orderOf(account, 'a.example.com');
  ca.options.termsOfService = 'https://ca.example/terms/v2';
  const refusal = {
    type: 'userActionRequired',
    status: 403,
    termsOfServiceUrl: 'https://ca.example/terms/v2',
    instance: expect.stringMatching(/^https:\/\/ca\.example\/agree\//) as string,
  };
  await expect(newOrder(account, wish('b.example.com'))).rejects.toMatchObject(refusal);
  await expect(newAuthorization(account, dns('b.example.com'))).rejects.toMatchObject(refusal);
  // What was ordered before can still be read, and so can the account.
  expect((await getOrder(account, url)).value.status).toBe('ready');
  expect((await getAccount(account)).status).toBe('valid');
  await updateAccount(account, AGREED);
  await newOrder(account, wish('b.example.com'));
});

test('a CA may want a person to agree on its page, and then an update is not enough', async () => {
  const ca = await easyServer({ termsByUpdate: false });
  const account = await join(clientOf(ca));
  const terms = (ca.options.termsOfService = 'https://ca.example/terms/v2');
  await updateAccount(account, AGREED);
  const refused = newOrder(account, wish('b.example.com'));
  await expect(refused).rejects.toMatchObject({ type: 'userActionRequired' });
  ca.account(account.url).agreedTerms = terms;
  await newOrder(account, wish('b.example.com'));
});

test('an account is bound to an external one, by a MAC that verifies, once if told so', async () => {
  const ca = await easyServer({ externalAccounts: { k1: MAC } });
  const server = clientOf(ca);
  expect((await server.directory()).meta.externalAccountRequired).toBe(true);
  const bound = (kid: string, key = MAC) => ({
    ...AGREED,
    externalAccountBinding: { kid, hmacKey: externalAccountKey(key) },
  });
  const make = async (request: object) => newAccount(server, await generateAccountKey(), request);
  await expect(make(AGREED)).rejects.toMatchObject({ type: 'externalAccountRequired' });
  const wrong = Buffer.from('w'.repeat(32)).toString('base64url');
  for (const request of [bound('k2'), bound('k1', wrong)]) {
    await expect(make(request)).rejects.toMatchObject({ type: 'unauthorized' });
  }
  const { account } = await make(bound('k1'));
  expect(account.externalAccountBinding).toHaveProperty('signature');
  await make(bound('k1'));
  ca.options.externalAccountsOnce = true;
  await expect(make(bound('k1'))).rejects.toMatchObject({ type: 'unauthorized' });
});

test("a binding with a nonce, another url, another key or a key's signature is refused", async () => {
  const ca = await easyServer({ externalAccounts: { k1: MAC } });
  const key = await generateAccountKey();
  const url = ca.link('newAccount');
  const mac: AccountKey = {
    ...key,
    sign: (bytes) => createHmac('sha256', Buffer.from(MAC, 'base64url')).update(bytes).digest(),
  };
  const outcome = async (header: object, jwk: object, signer = mac) => {
    const inner = await sign(signer, { alg: 'HS256', kid: 'k1', url, ...header }, jwk);
    const payload = { ...AGREED, externalAccountBinding: inner };
    const outer = { jwk: key.publicJwk, url, nonce: await nonceOf(ca) };
    const body = JSON.stringify(await sign(key, outer, payload));
    const { json, status } = await raw(ca, url, { body });
    return json['detail'] ?? status;
  };
  const stranger = (await generateAccountKey()).publicJwk;
  expect(await outcome({ nonce: 'x' }, key.publicJwk)).toMatch(/nonce/);
  expect(await outcome({ url: `${url}x` }, key.publicJwk)).toMatch(/url/);
  expect(await outcome({}, stranger)).toMatch(/another key/);
  expect(await outcome({ alg: 'ES256' }, key.publicJwk, key)).toMatch(/MAC/);
  expect(await outcome({}, key.publicJwk)).toBe(201);
});

test('a key change counts at once, keeps the account, and is refused for a key that is taken', async () => {
  const http = await responder();
  const ca = await testServer({ httpPort: http.port });
  const server = clientOf(ca);
  const [account, other] = [await join(server), await join(server)];
  const refused = changeKey(account, other.key);
  await expect(refused).rejects.toMatchObject({ status: 409, location: other.url });
  const key = await generateAccountKey('ES384');
  await changeKey(account, key);
  await expect(getAccount(account)).rejects.toMatchObject({ type: 'malformed' });
  const changed = { ...account, key };
  expect((await getAccount(changed)).status).toBe('valid');
  expect((await newAccount(server, key, { onlyReturnExisting: true })).url).toBe(account.url);
  // The thumbprint in key authorizations is the new one.
  const { url, value } = await newOrder(changed, wish('c.example.com'));
  const authorization = await getAuthorization(changed, value.authorizations[0] ?? '');
  http.publish('c.example.com', authorization.value.challenges[0]?.token ?? '', key);
  await answerAll(changed, value);
  await reach(changed, url, 'ready');
});

test('a key change may be answered and not done, or done and not answered', async () => {
  const ca = await easyServer({ keyChangeDoesNothing: true });
  const account = await join(clientOf(ca));
  const key = await generateAccountKey();
  await changeKey(account, key);
  expect((await getAccount(account)).status).toBe('valid');
  ca.options.keyChangeDoesNothing = false;
  ca.on('keyChange', { phase: 'after', cut: 'before-headers' });
  await expect(changeKey(account, key)).rejects.toMatchObject({ code: 'ERR_ACME_NETWORK' });
  expect((await getAccount({ ...account, key })).status).toBe('valid');
});

test('a key change that is not signed by both keys for this account is refused', async () => {
  const ca = await easyServer();
  const server = clientOf(ca);
  const account = await join(server);
  const [key, stranger] = [await generateAccountKey(), await generateAccountKey()];
  const url = ca.link('keyChange');
  const good = { account: account.url, oldKey: account.key.publicJwk };
  const attempt = async (header: object, payload: object, signer = key) =>
    server.post(account, url, await sign(signer, { jwk: key.publicJwk, url, ...header }, payload));
  const malformed = { type: 'malformed' };
  await expect(attempt({ url: `${url}x` }, good)).rejects.toMatchObject(malformed);
  await expect(attempt({ nonce: 'x' }, good)).rejects.toMatchObject(malformed);
  await expect(attempt({}, good, stranger)).rejects.toMatchObject(malformed);
  await expect(attempt({}, { ...good, account: 'x' })).rejects.toMatchObject(malformed);
  const another = attempt({}, { ...good, oldKey: stranger.publicJwk });
  await expect(another).rejects.toMatchObject(malformed);
  await attempt({}, good);
});

test('orders are listed in pages, where the CA has lists', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  await expect(listOrders(account)).rejects.toMatchObject({ code: 'ERR_ACME_UNSUPPORTED' });
  ca.options.ordersPerPage = 2;
  const urls: string[] = [];
  for (const name of ['d.example.com', 'e.example.com', 'f.example.com']) {
    urls.push((await newOrder(account, wish(name))).url);
  }
  expect(await listOrders(account)).toEqual(urls);
  expect(ca.count('orders')).toBe(2);
});

test('an account that the server revoked, or its owner deactivated, may do nothing more', async () => {
  const ca = await easyServer();
  const server = clientOf(ca);
  const [revoked, left] = [await join(server), await join(server)];
  ca.account(revoked.url).status = 'revoked';
  await deactivateAccount(left);
  for (const account of [revoked, left]) {
    const unauthorized = { type: 'unauthorized', status: 403 };
    await expect(getAccount(account)).rejects.toMatchObject(unauthorized);
    await expect(newOrder(account, wish('g.example.com'))).rejects.toMatchObject(unauthorized);
    await expect(join(server, account.key)).rejects.toMatchObject(unauthorized);
  }
});

test('a CA may take contacts and keep none', async () => {
  const ca = await easyServer({ keepsContacts: false });
  const account = await join(clientOf(ca));
  const contact = ['mailto:a@example.org'];
  expect((await updateAccount(account, { contact })).contact).toEqual([]);
  expect(ca.account(account.url).contact).toEqual(contact);
});

test('a limit, an overload in HTML and a compound problem reach the client as what they are', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const order = () => newOrder(account, wish('h.example.com'));
  ca.on('newOrder', {
    problem: { type: 'rateLimited', status: 429 },
    headers: { 'retry-after': '60', link: '<https://ca.example/limits>;rel="help"' },
  });
  await expect(order()).rejects.toMatchObject({
    type: 'rateLimited',
    retryAfterMs: 60_000,
    helpUrl: 'https://ca.example/limits',
  });
  ca.on('newOrder', { html: true, status: 503, headers: { 'retry-after': '7' } });
  await expect(order()).rejects.toMatchObject({
    code: 'ERR_ACME_HTTP',
    status: 503,
    retryAfterMs: 7000,
  });
  const parts = ['caa', 'dns', 'tls'].map((type) => ({
    type: `urn:ietf:params:acme:error:${type}`,
    detail: type,
    identifier: dns(`${type}.example.com`),
  }));
  ca.on('newOrder', { problem: { type: 'compound', subproblems: parts } });
  await expect(order()).rejects.toMatchObject({
    type: 'compound',
    subproblems: [{ type: 'caa' }, { type: 'dns' }, { type: 'tls' }],
  });
  expect(await issue(account, await csrFor('h.example.com'), 'h.example.com')).toBeDefined();
});
