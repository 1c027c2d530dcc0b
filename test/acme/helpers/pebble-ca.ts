import { randomBytes, X509Certificate } from 'node:crypto';
import { onTestFinished } from 'vitest';
import {
  type Account,
  type AccountRequest,
  answerChallenge,
  type Authorization,
  dns01Name,
  dns01Value,
  downloadCertificate,
  finalizeOrder,
  generateAccountKey,
  getAuthorization,
  getOrder,
  keyAuthorization,
  newAccount,
  newOrder,
  type OrderRequest,
  Server,
} from '../../../src/acme/index.ts';
import { csrDer, makeCsr } from '../../../src/x509/index.ts';
import type { TestPebble } from '../../helpers/pebble.ts';
import { until } from '../../helpers/until.ts';

/** A client of Pebble, closed after the test. */
export function serverOf(pebble: TestPebble): Server {
  const server = new Server({ directoryUrl: pebble.directoryUrl, caBundle: pebble.caPem });
  onTestFinished(() => server.close());
  return server;
}

/** A new account of its own key. */
export async function join(server: Server, request: AccountRequest = {}): Promise<Account> {
  const key = await generateAccountKey();
  const { url } = await newAccount(server, key, { termsOfServiceAgreed: true, ...request });
  return { server, url, key };
}

/** A name that no other test has. */
export function freshName(): string {
  return `t${randomBytes(6).toString('hex')}.example.org`;
}

/** Proves an authorization by dns-01, with real records that go afterwards, and awaits its end. */
export async function prove(
  { dns }: TestPebble,
  account: Account,
  url: string,
): Promise<Authorization> {
  const { value: authorization } = await getAuthorization(account, url);
  const found = authorization.challenges.find(({ type }) => type === 'dns-01');
  if (authorization.status !== 'pending' || found?.token === undefined) return authorization;
  const record = `${dns01Name(authorization.identifier.value)}.`;
  await dns.addTxt(record, dns01Value(keyAuthorization(found.token, account.key)));
  await answerChallenge(account, found.url);
  const done = await until(
    async () => {
      const { value } = await getAuthorization(account, url);
      return value.status !== 'pending' && value;
    },
    { what: 'the authorization is decided' },
  );
  await dns.clearTxt(record);
  return done;
}

/** Orders a certificate for a fresh name, or as asked, all the way. */
export async function issue(
  pebble: TestPebble,
  account: Account,
  request: Partial<OrderRequest> = {},
) {
  const { identifiers = [{ type: 'dns', value: freshName() }] } = request;
  const { url, value: order } = await newOrder(account, { ...request, identifiers });
  for (const each of order.authorizations) await prove(pebble, account, each);
  const { pem, keyPem } = await makeCsr({ names: identifiers.map(({ value }) => value) });
  const ready = await until(
    async () => {
      const { value } = await getOrder(account, url);
      return value.status === 'ready' && value;
    },
    { what: 'the order is ready' },
  );
  await finalizeOrder(account, ready, csrDer(pem));
  const valid = await until(
    async () => {
      const { value } = await getOrder(account, url);
      return value.status === 'valid' && value;
    },
    { what: 'the order is valid' },
  );
  const { chainPem } = await downloadCertificate(account, valid.certificate ?? '');
  const certificate = new X509Certificate(chainPem);
  return { order: valid, identifiers, keyPem, certificate, der: new Uint8Array(certificate.raw) };
}
