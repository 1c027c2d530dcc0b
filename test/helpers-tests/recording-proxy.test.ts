import { expect, onTestFinished, test } from 'vitest';
import {
  type Account,
  AcmeTrouble,
  answerChallenge,
  downloadCertificate,
  finalizeOrder,
  generateAccountKey,
  getAuthorization,
  getOrder,
  keyAuthorization,
  newAccount,
  newOrder,
  Server,
} from '../../src/acme/index.ts';
import { startHttp01 } from '../../src/solver/http01.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import {
  finalizations,
  ordersMade,
  type RecordingProxy,
  sentAgain,
  startRecordingProxy,
} from '../helpers/recording-proxy/index.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import { csrFor } from './acme-client.ts';

async function accountBehind(
  options: { nonceReject?: number } = {},
): Promise<{ proxy: RecordingProxy; account: Account; httpPort: number }> {
  const pebble = await pebbleForTests(options);
  const proxy = await startRecordingProxy(pebble);
  onTestFinished(() => proxy.stop());
  const server = new Server({ directoryUrl: proxy.directoryUrl, caBundle: proxy.caPem });
  onTestFinished(() => server.close());
  const key = await generateAccountKey();
  const { url } = await newAccount(server, key, { termsOfServiceAgreed: true });
  return { proxy, account: { server, url, key }, httpPort: pebble.httpPort };
}

function order(account: Account, name = freshName('proxy')) {
  return newOrder(account, { identifiers: [{ type: 'dns', value: name }] });
}

test('a whole issuance passes, and each request is told by kind and order', async () => {
  const { proxy, account, httpPort } = await accountBehind();
  const lookUp = (token: string) => Promise.resolve(keyAuthorization(token, account.key));
  const responder = await startHttp01({ host: '127.0.0.1', port: httpPort, lookUp });
  onTestFinished(() => responder.stop());
  const name = freshName('proxy');
  const { url, value } = await order(account, name);
  const [authorization = ''] = value.authorizations;
  const { challenges } = (await getAuthorization(account, authorization)).value;
  const challenge = challenges.find(({ type }) => type === 'http-01');
  await answerChallenge(account, challenge?.url ?? '');
  const reach = (status: string) =>
    until(
      async () => {
        const current = (await getOrder(account, url)).value;
        return current.status === status && current;
      },
      { what: `the order is ${status}` },
    );
  await finalizeOrder(account, await reach('ready'), await csrFor(name));
  const { certificate = '' } = await reach('valid');
  expect((await downloadCertificate(account, certificate)).chainPem).toContain('BEGIN CERTIFICATE');

  const origin = new URL(proxy.directoryUrl).origin;
  expect(url.startsWith(origin)).toBe(true);
  const steps = proxy.records.filter(({ kind }) => kind !== 'order');
  expect(steps.map(({ method, kind, order }) => [method, kind, order])).toEqual([
    ['GET', 'directory', undefined],
    ['HEAD', 'newNonce', undefined],
    ['POST', 'newAccount', undefined],
    ['POST', 'newOrder', url],
    ['POST', 'authorization', url],
    ['POST', 'challenge', url],
    ['POST', 'finalize', url],
    ['POST', 'certificate', url],
  ]);
  const made = proxy.records.find(({ kind }) => kind === 'newOrder');
  expect(made).toMatchObject({
    kid: account.url,
    payload: { identifiers: [{ type: 'dns', value: name }] },
    status: 201,
    location: url,
  });
  const read = proxy.records.find(({ kind }) => kind === 'order');
  expect(read).toMatchObject({ payload: 'POST-as-GET', order: url, status: 200 });
  expect(steps.every(({ isDelivered, answeredAt }) => isDelivered && answeredAt)).toBe(true);
  expect(ordersMade(proxy.records)).toEqual([{ url, identifiers: [name] }]);
  expect([...finalizations(proxy.records)]).toEqual([[url, { sent: 1, succeeded: 1 }]]);
  expect(sentAgain(proxy.records)).toEqual([]);
});

test('an answer can be lost after the CA has acted, and what is then sent again is counted', async () => {
  const { proxy, account } = await accountBehind();
  proxy.dropAnswers(({ kind, status }) => kind === 'newOrder' && status === 201);
  const name = freshName('proxy');
  const lost = await order(account, name).catch((error: unknown) => error);
  expect(lost).toBeInstanceOf(AcmeTrouble);
  expect(lost).toMatchObject({ code: 'ERR_ACME_NETWORK' });
  const record = proxy.records.find(({ kind }) => kind === 'newOrder');
  expect(record).toMatchObject({ status: 201, isDelivered: false });

  const { url } = await order(account, name);
  expect(record?.location).not.toBe(url);
  expect(ordersMade(proxy.records).map((made) => made.url)).toEqual([record?.location, url]);
  expect(sentAgain(proxy.records)).toMatchObject([
    { kind: 'newOrder', times: 2, statuses: [201, 201] },
  ]);

  // A finalize that the CA refuses was sent, and did not succeed; the second is another payload.
  const { value } = await getOrder(account, url);
  for (const other of [name, freshName('proxy')]) {
    await expect(finalizeOrder(account, value, await csrFor(other))).rejects.toThrow();
  }
  expect([...finalizations(proxy.records)]).toEqual([[url, { sent: 2, succeeded: 0 }]]);
  expect(sentAgain(proxy.records)).toHaveLength(1);
});

test('an answer can be held back', async () => {
  const { proxy, account } = await accountBehind();
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const lift = proxy.holdAnswers(
    ({ kind }) => kind === 'newOrder',
    () => gate,
  );
  const ordered = order(account);
  const record = await until(
    () => proxy.records.find(({ kind, status }) => kind === 'newOrder' && status === 201),
    { what: 'the CA has made the order' },
  );
  expect(record.isDelivered).toBe(false);
  // Others pass meanwhile.
  await account.server.directory({ refresh: true });
  lift();
  await order(account);
  expect(record.isDelivered).toBe(false);
  open();
  expect((await ordered).url).toBe(record.location);
  await until(() => record.isDelivered, { what: 'the held answer is delivered' });
});

test('what was refused for its nonce does not count as sent again', async () => {
  const { proxy, account } = await accountBehind({ nonceReject: 50 });
  await until(
    async () => {
      await order(account);
      return proxy.records.some(
        ({ kind, problem }) => kind === 'newOrder' && problem === 'badNonce',
      );
    },
    { what: 'a nonce was refused', everyMs: 0 },
  );
  expect(sentAgain(proxy.records)).toEqual([]);
});
