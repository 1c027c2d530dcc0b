import { expect, test } from 'vitest';
import { getOrder, newAccount, newOrder } from '../../src/acme/index.ts';
import { type Fault, startAcmeServer } from '../helpers/acme-server/index.ts';
import { until } from '../helpers/until.ts';
import {
  clientOf,
  csrFor,
  easyServer,
  issue,
  join,
  orderOf,
  raw,
  testServer,
} from './acme-client.ts';

const identifiers = [{ type: 'dns', value: 'a.example.com' }];

test('a problem strikes as often, after as many, and for what it was told', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const limited = ca.on('newOrder', {
    problem: { type: 'rateLimited', status: 429, detail: 'Too many.', nul: '\u0000' },
    headers: { 'Retry-After': '60' },
    after: 1,
    times: 2,
    when: ({ payload }) => JSON.stringify(payload).includes('a.example.com'),
  });
  const order = (value: string) =>
    newOrder(account, { identifiers: [{ type: 'dns', value }] }).then(
      () => 'made',
      (error: unknown) => error,
    );
  expect(await order('b.example.com')).toBe('made');
  expect(await order('a.example.com')).toBe('made');
  expect(await order('a.example.com')).toMatchObject({
    type: 'rateLimited',
    status: 429,
    retryAfterMs: 60_000,
    document: { detail: 'Too many.' },
  });
  expect(await order('b.example.com')).toBe('made');
  expect(await order('a.example.com')).toMatchObject({ type: 'rateLimited' });
  expect(await order('a.example.com')).toBe('made');
  expect(limited.hits).toBe(2);
  expect(ca.store.orders.size).toBe(4);
  const forever = ca.on('*', { status: 503, times: Infinity });
  expect(await order('a.example.com')).toMatchObject({ status: 503 });
  forever.remove();
  expect(await order('a.example.com')).toBe('made');
});

test('before: the request is not carried out; after: it is, and the answer is lost', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  for (const fault of [{ cut: 'before-headers' }, { status: 500 }, { html: true }] as const) {
    for (const [phase, made] of [
      ['before', 0],
      ['after', 1],
    ] as const) {
      ca.forgetOrders();
      ca.on('newOrder', { ...fault, phase });
      await expect(newOrder(account, { identifiers })).rejects.toThrow();
      expect(ca.store.orders.size, JSON.stringify([fault, phase])).toBe(made);
    }
  }
});

test('each kind of broken answer reaches the client as what it is', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const failure = async (fault: Fault) => {
    const handle = ca.on('newOrder', fault);
    // Short only where it shall be over: a busy machine may take its time for an answer that comes.
    const timeoutMs = fault.nothing || fault.delayMs !== undefined ? 500 : 30_000;
    const error: unknown = await newOrder(account, { identifiers }, { timeoutMs }).then(
      () => 'made',
      (caught: unknown) => caught,
    );
    expect(handle.hits).toBe(1);
    return error;
  };
  const code = (name: string) => ({ code: `ERR_ACME_${name}` });
  expect(await failure({ cut: 'before-headers' })).toMatchObject(code('NETWORK'));
  expect(await failure({ cut: 'mid-body' })).toMatchObject(code('NETWORK'));
  expect(await failure({ nothing: true })).toMatchObject(code('TIMEOUT'));
  expect(await failure({ delayMs: 2000 })).toMatchObject(code('TIMEOUT'));
  expect(await failure({ bytes: 10_000_000 })).toMatchObject(code('TOO_LARGE'));
  expect(await failure({ redirect: 'https://other.example/' })).toMatchObject({
    ...code('REDIRECT'),
    status: 307,
  });
  expect(await failure({ truncateJson: true })).toMatchObject(code('NOT_JSON'));
  expect(await failure({ headers: { location: undefined } })).toMatchObject(code('BAD_ANSWER'));
  expect(await failure({ headers: { Location: 'https://other.example/1' } })).toMatchObject(
    code('FORBIDDEN_URL'),
  );
  expect(await failure({ rewrite: ({ status: _status, ...rest }) => rest })).toMatchObject(
    code('BAD_ANSWER'),
  );
  expect(await failure({ body: '[1]', status: 201 })).toMatchObject(code('BAD_ANSWER'));
  expect(await failure({ delayMs: 1 })).toBe('made');
  ca.on('directory', { html: true });
  await expect(account.server.directory({ refresh: true })).rejects.toMatchObject({
    ...code('NOT_JSON'),
    contentType: 'text/html; charset=utf-8',
  });
});

test('a fault carries its own nonce, so that badNonce is retried with it', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  ca.on('newOrder', { problem: { type: 'badNonce' }, times: 3 });
  await newOrder(account, { identifiers });
  expect(ca.count('newOrder')).toBe(4);
  expect(ca.count('newNonce')).toBe(1);
});

test('it lists what it saw, with kid, payload and the status it answered', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const url = await orderOf(account, 'a.example.com');
  ca.on('order', { cut: 'before-headers' });
  await expect(getOrder(account, url)).rejects.toThrow();
  expect(ca.seen.map(({ method, resource, status }) => [method, resource, status])).toEqual([
    ['GET', 'directory', 200],
    ['HEAD', 'newNonce', 200],
    ['POST', 'newAccount', 201],
    ['POST', 'newOrder', 201],
    ['POST', 'authorization', 200],
    ['POST', 'challenge', 200],
    ['POST', 'order', undefined],
  ]);
  expect(ca.seen[3]).toMatchObject({ kid: account.url, payload: { identifiers } });
  expect(ca.seen[4]).toMatchObject({ payload: '' });
  expect(ca.seen[2]?.kid).toBeUndefined();
});

test('stop closes at once what hangs, and leaves no timer, socket or port behind', async () => {
  const ca = await startAcmeServer({
    options: { validation: 'valid', finalizeDelayMs: 3_600_000 },
  });
  const server = clientOf(ca);
  const account = await join(server);
  const issued = issue(account, await csrFor('a.example.com'), 'a.example.com');
  await expect(issued).rejects.toThrow('processing');
  ca.on('directory', { nothing: true });
  ca.on('newOrder', { delayMs: 3_600_000 });
  const hanging = [server.directory({ refresh: true }), newOrder(account, { identifiers })];
  const ends = Promise.allSettled(hanging);
  const arrived = () => ca.count('directory') + ca.count('newOrder') === 4;
  await until(arrived, { what: 'both requests hang' });
  await ca.stop();
  expect((await ends).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  // By turns of the loop: `until` has a timer of its own.
  while (handles().length > 0) await new Promise((resolve) => setImmediate(resolve));
}, 10_000);

test('a server started again on port and certificate of the last one is the same to a client', async () => {
  const first = await testServer();
  const server = clientOf(first);
  const { key } = await join(server);
  const { port, tls } = first;
  await first.stop();
  const second = await testServer({ port, tls });
  expect(second.directoryUrl).toBe(first.directoryUrl);
  const again = await newAccount(server, key, { termsOfServiceAgreed: true });
  expect(again.created).toBe(true);
  expect((await raw(second, second.directoryUrl, { method: 'GET' })).status).toBe(200);
});

/** What keeps this process alive, of the kinds that a server could leave. */
function handles(): string[] {
  return process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Timeout/.test(name));
}
