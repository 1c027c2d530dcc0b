import { once } from 'node:events';
import { expect, test } from 'vitest';
import { AcmeTrouble, getOrder, newOrder, type TroubleCode } from '../../src/acme/index.ts';
import { version } from '../../src/version.ts';
import { json, problem, rawCa } from './helpers/raw-ca.ts';

const MIB = 1_048_576;

async function trouble(call: Promise<unknown>, code: TroubleCode): Promise<AcmeTrouble> {
  const error: unknown = await call.then(
    () => 'no error',
    (caught: unknown) => caught,
  );
  expect(error).toMatchObject({ code });
  expect(error).toBeInstanceOf(AcmeTrouble);
  return error as AcmeTrouble;
}

const order = (url: string) => ({
  status: 'pending',
  identifiers: [{ type: 'dns', value: 'a.example' }],
  authorizations: [`${url}/authz/1`],
  finalize: `${url}/finalize/1`,
});

test('every request names the client and its language; every POST has a length and the JOSE type', async () => {
  const ca = await rawCa();
  ca.on['/order/1'] = json(order(ca.url));
  await getOrder(await ca.account({ userAgent: 'portal/2\r\n' }), `${ca.url}/order/1`);
  expect(ca.seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
    'GET /dir',
    'HEAD /nonce',
    'POST /order/1',
  ]);
  for (const { method, headers, body } of ca.seen) {
    expect(headers['user-agent']).toBe(`portal/2 pgacme/${version} (+undici)`);
    expect(headers['accept-language']).toBe('en');
    expect(headers['replay-nonce']).toBeUndefined();
    if (method !== 'POST') continue;
    expect(headers['content-length']).toBe(String(body.length));
    expect(headers['transfer-encoding']).toBeUndefined();
    expect(headers['content-type']).toBe('application/jose+json');
  }
});

test('the directory is fetched once, again when asked to or too old', async () => {
  const ca = await rawCa();
  const server = ca.server();
  await server.directory();
  await server.directory();
  expect(ca.seen).toHaveLength(1);
  await server.directory({ refresh: true });
  expect(ca.seen).toHaveLength(2);
  const impatient = ca.server({ directoryTtlMs: 0 });
  await impatient.directory();
  await impatient.directory();
  expect(ca.seen).toHaveLength(4);
});

test('without its CA bundle a private CA is not trusted, and the error tells the cure', async () => {
  const ca = await rawCa();
  const { Server } = await import('../../src/acme/index.ts');
  const stranger = new Server({ directoryUrl: `${ca.url}/dir` });
  const error = await trouble(stranger.directory(), 'ERR_ACME_NETWORK');
  expect(error.message).toMatch(/CA bundle/);
  expect(ca.seen).toHaveLength(0);
  await stranger.close();
});

test('a CA bundle that holds no certificate is told before anything is sent', async () => {
  const ca = await rawCa();
  for (const caBundle of ['', 'garbage', ca.pem.replace(/[A-Za-z0-9+/]{64}/, 'A'.repeat(64))]) {
    const error = await trouble(ca.server({ caBundle }).directory(), 'ERR_ACME_NETWORK');
    expect(error.message).toMatch(/CA bundle cannot be read/);
  }
  expect(ca.seen).toHaveLength(0);
});

test('redirects are refused, for GET too, and the place they point at is not visited', async () => {
  const ca = await rawCa();
  ca.on['/dir2'] = json('', 301, { location: `${ca.url}/dir` });
  const moved = await trouble(
    ca.server({ directoryUrl: `${ca.url}/dir2` }).directory(),
    'ERR_ACME_REDIRECT',
  );
  expect(moved).toMatchObject({ status: 301 });
  ca.on['/order/1'] = json('', 307, { location: '/order/2' });
  await trouble(getOrder(await ca.account(), `${ca.url}/order/1`), 'ERR_ACME_REDIRECT');
  expect(ca.seen.map(({ path }) => path)).toEqual(['/dir2', '/dir', '/nonce', '/order/1']);
});

test('URLs of other hosts, of http, or with a password are refused unasked', async () => {
  const ca = await rawCa();
  const other = await rawCa();
  const account = await ca.account();
  for (const url of [
    `${other.url}/order/1`,
    ca.url.replace('https:', 'http:'),
    ca.url.replace('https://', 'https://user:secret@'),
    'https://localhost/order/1',
    'file:///etc/passwd',
    'nonsense',
  ]) {
    await trouble(getOrder(account, url), 'ERR_ACME_FORBIDDEN_URL');
  }
  await trouble(
    ca.server({ directoryUrl: 'http://127.0.0.1/dir' }).directory(),
    'ERR_ACME_FORBIDDEN_URL',
  );
  // Nor may a new order point elsewhere in any of its URLs, or the directory.
  const location = `${ca.url}/order/1`;
  for (const [body, headers] of [
    [order(ca.url), { location: `${other.url}/order/1` }],
    [{ ...order(ca.url), finalize: `${other.url}/f` }, { location }],
    [{ ...order(ca.url), authorizations: [`${ca.url}/a`, `${other.url}/a`] }, { location }],
  ] as const) {
    ca.on['/new-order'] = json(body, 201, headers);
    await trouble(newOrder(account, { identifiers: [] }), 'ERR_ACME_FORBIDDEN_URL');
  }
  ca.on['/dir'] = json({
    newNonce: `${other.url}/nonce`,
    newAccount: `${ca.url}/new-account`,
    newOrder: `${ca.url}/new-order`,
  });
  await trouble(ca.server().directory(), 'ERR_ACME_FORBIDDEN_URL');
  expect(other.seen).toEqual([]);
});

test('a host that the operator allows may be pointed at', async () => {
  const ca = await rawCa();
  const other = await rawCa();
  other.on['/order/1'] = json(order(other.url));
  const account = await ca.account({ allowedHosts: [other.host], caBundle: ca.pem + other.pem });
  expect((await getOrder(account, `${other.url}/order/1`)).value.status).toBe('pending');
});

test('an HTML page instead of a directory is told as such, with a printable excerpt', async () => {
  const ca = await rawCa();
  ca.on['/dir'] = json(`<html>\u001b[31m\u202eHello\n${'x'.repeat(500)}`, 200, {
    'content-type': 'text/html',
  });
  const error = await trouble(ca.server().directory(), 'ERR_ACME_NOT_JSON');
  expect(error).toMatchObject({ status: 200, contentType: 'text/html' });
  expect(error.excerpt).toMatch(/^<html>\[31mHello x+…$/);
  expect(error.excerpt).toHaveLength(200);
});

test('a directory without the URLs that issuance needs is a bad answer', async () => {
  const ca = await rawCa();
  for (const body of ['[]', 'null', '{}', '{"newNonce":1}', '{"newNonce":"https://a\\u0000"}']) {
    ca.on['/dir'] = json(body);
    await trouble(ca.server().directory(), 'ERR_ACME_BAD_ANSWER');
  }
});

test('a body of 10 MB is not read to its end, announced or not', async () => {
  const ca = await rawCa();
  let written = 0;
  const closed: Promise<unknown>[] = [];
  ca.on['/announced'] = (_, response) => {
    response.writeHead(200, { 'content-length': 10 * MIB });
    response.write('{"a":"');
    closed.push(once(response, 'close'));
  };
  ca.on['/chunked'] = (_, response) => {
    closed.push(once(response, 'close'));
    const more = (): void => {
      while (written < 10 * MIB && !response.destroyed) {
        written += 65_536;
        if (!response.write('x'.repeat(65_536))) return void response.once('drain', more);
      }
    };
    more();
  };
  for (const path of ['/announced', '/chunked']) {
    const server = ca.server({ directoryUrl: ca.url + path });
    await trouble(server.directory(), 'ERR_ACME_TOO_LARGE');
  }
  await Promise.all(closed);
  expect(closed).toHaveLength(2);
  expect(written).toBeLessThan(10 * MIB);
});

test('an error without a problem document keeps status, type, excerpt and Retry-After', async () => {
  const ca = await rawCa();
  ca.on['/dir'] = json('<h1>Over\0loaded</h1>', 503, {
    'content-type': 'text/html; charset=utf-8',
    'retry-after': '120',
  });
  expect(await trouble(ca.server().directory(), 'ERR_ACME_HTTP')).toMatchObject({
    status: 503,
    contentType: 'text/html; charset=utf-8',
    excerpt: '<h1>Overloaded</h1>',
    retryAfterMs: 120_000,
  });
  // JSON that only looks like a problem is none, unless its type is ACME's.
  ca.on['/dir'] = json({ type: 'about:blank', detail: 'Not here.' }, 429);
  await trouble(ca.server().directory(), 'ERR_ACME_HTTP');
  ca.on['/dir'] = json({ type: 'urn:ietf:params:acme:error:rateLimited' }, 429);
  await expect(ca.server().directory()).rejects.toMatchObject({ type: 'rateLimited' });
});

test('half an answer and a cut connection are network trouble', async () => {
  const ca = await rawCa();
  ca.on['/dir'] = (_, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{"newNonce":', () => response.destroy());
  };
  await trouble(ca.server().directory(), 'ERR_ACME_NETWORK');
  ca.on['/dir'] = (_, response) => {
    response.write('{"newNonce":', () => response.destroy());
  };
  await trouble(ca.server().directory(), 'ERR_ACME_NETWORK');
  expect(ca.seen).toHaveLength(2);
});

test('a POST whose connection was cut is not sent again, on a new or a used connection', async () => {
  const ca = await rawCa();
  const account = await ca.account({ connections: 1 });
  ca.on['/order/1'] = (_, response) => response.destroy();
  await trouble(getOrder(account, `${ca.url}/order/1`), 'ERR_ACME_NETWORK');
  // Others wait for the connection meanwhile; they are sent once each.
  ca.on['/order/2'] = json(order(ca.url));
  const [first, second, third] = await Promise.allSettled([
    getOrder(account, `${ca.url}/order/2`),
    getOrder(account, `${ca.url}/order/1`),
    getOrder(account, `${ca.url}/order/2`),
  ]);
  expect([first.status, second.status, third.status]).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
  ]);
  const posts = ca.seen.filter(({ method }) => method === 'POST').map(({ path }) => path);
  expect(posts.sort()).toEqual(['/order/1', '/order/1', '/order/2', '/order/2']);
});

test('no answer ends at the time-out, also for one that drips', async () => {
  const ca = await rawCa();
  ca.on['/dir'] = () => undefined;
  await trouble(ca.server().directory({ timeoutMs: 50 }), 'ERR_ACME_TIMEOUT');
  ca.on['/dir'] = (_, response) => {
    const drip = setInterval(() => response.write(' '), 5);
    response.on('close', () => clearInterval(drip));
  };
  await trouble(ca.server().directory({ timeoutMs: 50 }), 'ERR_ACME_TIMEOUT');
});

test('a time-out of any length is one, also where it is longer than a timer can be', async () => {
  const ca = await rawCa();
  ca.on['/order/1'] = json(order(ca.url));
  const account = await ca.account();
  for (const timeoutMs of [2 ** 31, 1e12, Infinity]) {
    const { value } = await getOrder(account, `${ca.url}/order/1`, { timeoutMs });
    expect(value.status).toBe('pending');
  }
  const call = { timeoutMs: Infinity, deadline: performance.now() + 2 ** 40 };
  expect((await getOrder(account, `${ca.url}/order/1`, call)).value.status).toBe('pending');
});

test('after the deadline nothing is sent; a request under way ends there', async () => {
  const ca = await rawCa();
  const account = await ca.account({ connections: 1 });
  const past = { deadline: performance.now() };
  await trouble(account.server.directory(past), 'ERR_ACME_DEADLINE');
  expect(ca.seen).toHaveLength(0);
  await account.server.directory();
  await trouble(newOrder(account, { identifiers: [] }, past), 'ERR_ACME_DEADLINE');
  expect(ca.seen).toHaveLength(1);
  ca.on['/order/1'] = () => undefined;
  const soon = { deadline: performance.now() + 50 };
  await trouble(getOrder(account, `${ca.url}/order/1`, soon), 'ERR_ACME_TIMEOUT');
});

test('a request that waits for a connection past its deadline is never sent', async () => {
  const ca = await rawCa();
  const account = await ca.account({ connections: 1 });
  ca.on['/order/1'] = json(order(ca.url));
  // Two nonces in the pool, so that what waits below is the POST itself.
  await Promise.all([
    getOrder(account, `${ca.url}/order/1`),
    getOrder(account, `${ca.url}/order/1`),
  ]);
  let release = (): void => undefined;
  ca.on['/slow'] = (request, response) => {
    release = () => json(order(ca.url))(request, response);
  };
  const slow = getOrder(account, `${ca.url}/slow`);
  await expect.poll(() => ca.seen.at(-1)?.path).toBe('/slow');
  const seen = ca.seen.length;
  const deadline = performance.now() + 30;
  await trouble(getOrder(account, `${ca.url}/order/1`, { deadline }), 'ERR_ACME_DEADLINE');
  release();
  await slow;
  await getOrder(account, `${ca.url}/order/1`);
  expect(ca.seen.slice(seen).map(({ method, path }) => `${method} ${path}`)).toEqual([
    'POST /order/1',
  ]);
});

test('an abort ends a request at once, and one before it is not sent', async () => {
  const ca = await rawCa();
  const server = ca.server();
  ca.on['/dir'] = () => undefined;
  const stop = new AbortController();
  const call = server.directory({ signal: stop.signal });
  await expect.poll(() => ca.seen.length).toBe(1);
  stop.abort(new Error('stopping'));
  const error = await trouble(call, 'ERR_ACME_ABORTED');
  expect(error.cause).toEqual(new Error('stopping'));
  await trouble(server.directory({ signal: stop.signal }), 'ERR_ACME_ABORTED');
  expect(ca.seen).toHaveLength(1);
});

test('badNonce is repeated at once with the nonce of the error answer', async () => {
  const ca = await rawCa();
  let refusals = 9;
  ca.on['/order/1'] = (request, response) =>
    (refusals-- > 0 ? problem('badNonce') : json(order(ca.url)))(request, response);
  await getOrder(await ca.account(), `${ca.url}/order/1`);
  const posts = ca.seen.filter(({ method }) => method === 'POST');
  expect(ca.seen).toHaveLength(2 + posts.length);
  // The directory was answer 1, so the HEAD gave nonce-2 and the first refusal nonce-3.
  expect(posts.map(({ body }) => nonceIn(body))).toEqual(
    posts.map((_, index) => `nonce-${index + 2}`),
  );
  expect(posts).toHaveLength(10);
});

test('ten badNonce in a row are trouble', async () => {
  const ca = await rawCa();
  ca.on['/order/1'] = problem('badNonce');
  await trouble(getOrder(await ca.account(), `${ca.url}/order/1`), 'ERR_ACME_NONCE');
  expect(ca.seen.filter(({ method }) => method === 'POST')).toHaveLength(10);
});

test('nonces come from every answer, errors too, so that HEAD is rare', async () => {
  const ca = await rawCa();
  const account = await ca.account();
  for (let i = 0; i < 3; i += 1) {
    await expect(getOrder(account, `${ca.url}/gone`)).rejects.toThrow();
  }
  expect(ca.seen.map(({ method }) => method)).toEqual(['GET', 'HEAD', 'POST', 'POST', 'POST']);
});

test('a server that hands out no usable nonce is a bad answer', async () => {
  const ca = await rawCa();
  ca.on['/nonce'] = (_, response) => {
    response.setHeader('replay-nonce', 'not base64url!');
    response.end();
  };
  await trouble(getOrder(await ca.account(), `${ca.url}/order/1`), 'ERR_ACME_BAD_ANSWER');
});

function nonceIn(body: string): unknown {
  const { protected: header } = JSON.parse(body) as { protected: string };
  return (JSON.parse(Buffer.from(header, 'base64url').toString()) as { nonce: unknown }).nonce;
}
