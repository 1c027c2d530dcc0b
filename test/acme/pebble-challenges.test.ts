import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import {
  type Account,
  answerChallenge,
  canonicalIp,
  type Challenge,
  deactivateAuthorization,
  dns01Value,
  dnsAccount01Name,
  getAuthorization,
  http01Path,
  type Identifier,
  keyAuthorization,
  newOrder,
  tlsAlpn01,
} from '../../src/acme/index.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { until } from '../helpers/until.ts';
import { freshName, join, serverOf } from './helpers/pebble-ca.ts';
import { tlsAlpnResponder } from './helpers/tls-alpn.ts';

/** Orders one identifier, and proves it by challenges of this type, published as told. */
async function proved(
  account: Account,
  identifier: Identifier,
  type: string,
  publish: (keyAuthorization: string, challenge: Challenge) => unknown,
) {
  const { value: order } = await newOrder(account, { identifiers: [identifier] });
  const [url = ''] = order.authorizations;
  const { value: authorization } = await getAuthorization(account, url);
  expect(authorization.identifier).toEqual(identifier);
  const challenge = authorization.challenges.find((each) => each.type === type);
  if (challenge?.token === undefined) throw new Error(`There is no ${type} challenge.`);
  await publish(keyAuthorization(challenge.token, account.key), challenge);
  await answerChallenge(account, challenge.url);
  const done = await until(
    async () => {
      const { value } = await getAuthorization(account, url);
      return value.status !== 'pending' && value;
    },
    { what: 'the authorization is decided' },
  );
  const failed = done.challenges.find(({ error }) => error !== undefined);
  expect(failed?.error?.detail).toBeUndefined();
  expect(done.status).toBe('valid');
  // So that no later order finds it proved already.
  await deactivateAuthorization(account, url);
}

test('http-01 proves an IP address', async () => {
  const pebble = await pebbleForTests();
  const account = await join(serverOf(pebble));
  const answers = new Map<string, string>();
  const server = createServer((request, response) => response.end(answers.get(request.url ?? '')));
  await new Promise<void>((resolve) => server.listen(pebble.httpPort, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  await proved(account, { type: 'ip', value: '127.0.0.1' }, 'http-01', (text, { token = '' }) =>
    answers.set(http01Path(token), text),
  );
});

test('dns-account-01 proves a name by a record of this account alone', async () => {
  const pebble = await pebbleForTests();
  const account = await join(serverOf(pebble));
  const name = freshName();
  await proved(account, { type: 'dns', value: name }, 'dns-account-01', (text) =>
    pebble.dns.addTxt(`${dnsAccount01Name(name, account.url)}.`, dns01Value(text)),
  );
});

test.each(['name', 'address'])('tls-alpn-01 proves a %s by its certificate', async (what) => {
  const pebble = await pebbleForTests();
  const account = await join(serverOf(pebble));
  const identifier =
    what === 'name' ? { type: 'dns', value: freshName() } : { type: 'ip', value: '127.0.0.1' };
  await proved(account, identifier, 'tls-alpn-01', (text) =>
    tlsAlpnResponder(pebble.tlsPort, tlsAlpn01(identifier, text)),
  );
});

test('Pebble writes an IPv6 address as canonicalIp does', async () => {
  const account = await join(serverOf(await pebbleForTests()));
  const value = '2001:DB8:0:0::1';
  const { value: order } = await newOrder(account, { identifiers: [{ type: 'ip', value }] });
  expect(order.identifiers).toEqual([{ type: 'ip', value: canonicalIp(value) }]);
});
