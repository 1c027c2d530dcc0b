import { expect, test } from 'vitest';
import {
  deactivateAuthorization,
  generateAccountKey,
  getAuthorization,
  getOrder,
  newAccount,
  newOrder,
} from '../../src/acme/index.ts';
import {
  answerAll,
  clientOf,
  csrFor,
  easyServer,
  issue,
  join,
  orderOf,
  testServer,
} from './acme-client.ts';

const dns = (value: string) => ({ type: 'dns', value });

test('a key has one account, found again and never made by onlyReturnExisting', async () => {
  const ca = await testServer();
  const server = clientOf(ca);
  const key = await generateAccountKey();
  const request = { termsOfServiceAgreed: true, contact: ['mailto:a@example.org'] };
  await expect(newAccount(server, key, { onlyReturnExisting: true })).rejects.toMatchObject({
    type: 'accountDoesNotExist',
  });
  await expect(newAccount(server, key, {})).rejects.toMatchObject({
    type: 'userActionRequired',
    termsOfServiceUrl: 'https://ca.example/terms/v1',
  });
  for (const [contact, type] of [
    ['tel:1', 'unsupportedContact'],
    ['mailto:a@b.example?cc=c@d.example', 'invalidContact'],
  ] as const) {
    const refused = newAccount(server, key, { ...request, contact: [contact] });
    await expect(refused).rejects.toMatchObject({ type });
  }
  const made = await newAccount(server, key, request);
  expect(made).toMatchObject({ created: true, account: { contact: ['mailto:a@example.org'] } });
  const found = await newAccount(server, key, { onlyReturnExisting: true });
  expect(found).toMatchObject({ created: false, url: made.url });
  await server.post({ key, url: made.url }, made.url, { status: 'deactivated' });
  await expect(newAccount(server, key, request)).rejects.toMatchObject({ type: 'unauthorized' });
  await expect(server.fetch({ key, url: made.url }, made.url)).rejects.toMatchObject({
    type: 'unauthorized',
  });
});

test("another account's order, authorization and certificate are refused", async () => {
  const ca = await easyServer();
  const server = clientOf(ca);
  const [owner, stranger] = [await join(server), await join(server)];
  const issued = await issue(owner, await csrFor('l.example.com'), 'l.example.com');
  const { value } = await getOrder(owner, issued.url);
  for (const url of [issued.url, issued.certificate, ...value.authorizations, owner.url]) {
    await expect(server.fetch(stranger, url)).rejects.toMatchObject({ type: 'unauthorized' });
  }
});

test('a deactivated authorization makes its order invalid', async () => {
  const account = await join(clientOf(await easyServer()));
  const url = await orderOf(account, 'm.example.com');
  const { value } = await getOrder(account, url);
  await deactivateAuthorization(account, value.authorizations[0] ?? '');
  expect((await getOrder(account, url)).value.status).toBe('invalid');
});

test("orders and authorizations expire by the server's clock, or are gone", async () => {
  const ca = await easyServer({ orderLifetimeMs: 60_000, authorizationLifetimeMs: 30_000 });
  const account = await join(clientOf(ca));
  const first = await orderOf(account, 'n.example.com');
  const second = await newOrder(account, { identifiers: [dns('o.example.com')] });
  const { value } = await getOrder(account, first);
  expect(value.status).toBe('ready');
  ca.options.clockOffsetMs = 31_000;
  const authorization = await getAuthorization(account, value.authorizations[0] ?? '');
  expect(authorization.value.status).toBe('expired');
  expect((await getOrder(account, first)).value.status).toBe('invalid');
  expect((await getOrder(account, second.url)).value.status).toBe('pending');
  ca.options.clockOffsetMs = 61_000;
  ca.options.expiredOrders = 'gone';
  await expect(getOrder(account, second.url)).rejects.toMatchObject({ status: 404 });
  ca.options.expiredOrders = 'invalid';
  expect((await getOrder(account, second.url)).value.status).toBe('invalid');
});

test('orders and authorizations are used again only where the options say so', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const request = { identifiers: [dns('p.example.com')] };
  const first = await newOrder(account, request);
  expect((await newOrder(account, request)).url).not.toBe(first.url);
  ca.options.reuseOrders = true;
  expect((await newOrder(account, request)).url).toBe(first.url);
  ca.options.reuseOrders = false;
  ca.options.authzReuse = 'valid';
  const fresh = await newOrder(account, request);
  expect(fresh.value.authorizations).not.toEqual(first.value.authorizations);
  await answerAll(account, first.value);
  const again = await newOrder(account, request);
  expect(again.value).toMatchObject({
    status: 'ready',
    authorizations: first.value.authorizations,
  });
  const stranger = await join(account.server);
  expect((await newOrder(stranger, request)).value.status).toBe('pending');
  ca.options.authzReuse = 'valid-and-pending';
  const pending = { identifiers: [dns('q.example.com')] };
  const { value } = await newOrder(account, pending);
  expect((await newOrder(account, pending)).value.authorizations).toEqual(value.authorizations);
});

test('a server that forgot knows neither accounts nor orders', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const url = await orderOf(account, 'r.example.com');
  ca.forgetOrders();
  await expect(getOrder(account, url)).rejects.toMatchObject({ status: 404, type: 'malformed' });
  ca.forgetAccounts();
  await expect(getOrder(account, url)).rejects.toMatchObject({ type: 'accountDoesNotExist' });
  const again = await newAccount(account.server, account.key, { termsOfServiceAgreed: true });
  expect(again.created).toBe(true);
  expect(again.url).not.toBe(account.url);
});
