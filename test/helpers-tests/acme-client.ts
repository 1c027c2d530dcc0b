import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent, request } from 'undici';
import { onTestFinished } from 'vitest';
import {
  type Account,
  type AccountKey,
  answerChallenge,
  downloadCertificate,
  finalizeOrder,
  generateAccountKey,
  getAuthorization,
  getOrder,
  keyAuthorization,
  newAccount,
  newOrder,
  type Order,
  type OrderStatus,
  Server,
} from '../../src/acme/index.ts';
import { csrDer, makeCsr } from '../../src/x509/index.ts';
import {
  type AcmeServer,
  type AcmeServerStart,
  startAcmeServer,
} from '../helpers/acme-server/index.ts';
import { until } from '../helpers/until.ts';

/** A server that stops with the test. */
export async function testServer(start: AcmeServerStart = {}): Promise<AcmeServer> {
  const ca = await startAcmeServer(start);
  onTestFinished(() => ca.stop());
  return ca;
}

/** A server of always valid challenges, so that tests of other things need no responder. */
export function easyServer(options: AcmeServerStart['options'] = {}): Promise<AcmeServer> {
  return testServer({ options: { validation: 'valid', ...options } });
}

/** The protocol library's view of a server. */
export function clientOf(ca: AcmeServer): Server {
  const server = new Server({ directoryUrl: ca.directoryUrl, caBundle: ca.caPem });
  onTestFinished(() => server.close());
  return server;
}

/** A fresh account. */
export async function join(server: Server, key?: AccountKey): Promise<Account> {
  const own = key ?? (await generateAccountKey());
  const { url } = await newAccount(server, own, { termsOfServiceAgreed: true });
  return { server, url, key: own };
}

/** Orders names and answers one challenge of each authorization; returns the order's URL. */
export async function orderOf(account: Account, ...names: string[]): Promise<string> {
  const identifiers = names.map((value) => ({ type: 'dns', value }));
  const { url, value } = await newOrder(account, { identifiers });
  await answerAll(account, value);
  return url;
}

/** Answers the first challenge of every pending authorization. */
export async function answerAll(account: Account, order: Order): Promise<void> {
  for (const each of order.authorizations) {
    const { value } = await getAuthorization(account, each);
    const [challenge] = value.challenges;
    if (value.status === 'pending' && challenge) await answerChallenge(account, challenge.url);
  }
}

/** Reads an order until it has this status, and returns it. */
export async function reach(account: Account, url: string, status: OrderStatus): Promise<Order> {
  return until(
    async () => {
      const { value } = await getOrder(account, url);
      return value.status === status && value;
    },
    { what: `the order is ${status}` },
  );
}

/** The DER of a CSR for these names. */
export async function csrFor(...names: string[]): Promise<Uint8Array> {
  return csrDer((await makeCsr({ names })).pem);
}

/** Everything from newOrder to download on a server of always valid challenges. */
export async function issue(account: Account, csr: Uint8Array, ...names: string[]) {
  const url = await orderOf(account, ...names);
  const { value: ready } = await getOrder(account, url);
  const { value: order } = await finalizeOrder(account, ready, csr);
  if (order.certificate === undefined) throw new Error(`The order is ${order.status}.`);
  const certificate = order.certificate;
  return { url, certificate, ...(await downloadCertificate(account, certificate)) };
}

/** An http-01 responder on a free port; its answers are what `publish` was given. */
export async function responder() {
  const answers = new Map<string, string>();
  const server = createServer((incoming, response) => {
    const answer = answers.get(`${incoming.headers.host}${incoming.url}`);
    response.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return {
    port: (server.address() as AddressInfo).port,
    publish: (host: string, token: string, key: AccountKey) =>
      answers.set(`${host}/.well-known/acme-challenge/${token}`, keyAuthorization(token, key)),
  };
}

/** Sends anything, right or wrong, and gives the whole answer. */
export async function raw(
  ca: AcmeServer,
  url: string,
  options: {
    method?: 'GET' | 'HEAD' | 'POST';
    headers?: Record<string, string>;
    body?: string;
  } = {},
) {
  const dispatcher = new Agent({ connect: { ca: ca.caPem }, keepAliveTimeout: 1 });
  const answer = await request(url, {
    dispatcher,
    method: options.method ?? 'POST',
    headers: { 'user-agent': 'test', 'content-type': 'application/jose+json', ...options.headers },
    body: options.body ?? null,
  });
  const text = await answer.body.text();
  await dispatcher.close();
  const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
  return { status: answer.statusCode, headers: answer.headers, json };
}

/** A nonce fetched by itself. */
export async function nonceOf(ca: AcmeServer): Promise<string> {
  const { headers } = await raw(ca, ca.link('newNonce'), { method: 'HEAD' });
  return String(headers['replay-nonce']);
}

/** A JWS with whatever header a test wants. */
export async function sign(key: AccountKey, header: object, payload: unknown) {
  const base64url = (text: string) => Buffer.from(text).toString('base64url');
  const head = base64url(JSON.stringify({ alg: key.alg, ...header }));
  const body = base64url(payload === '' ? '' : JSON.stringify(payload));
  const signature = Buffer.from(await key.sign(Buffer.from(`${head}.${body}`)));
  return { protected: head, payload: body, signature: signature.toString('base64url') };
}
