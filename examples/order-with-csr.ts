/**
 * Orders a certificate for a CSR that was made elsewhere, so that its private key is nowhere near: proves
 * the names by http-01 from a web server of its own, and writes chain.pem.
 *
 *   node examples/order-with-csr.ts request.pem www.example.org example.org
 *
 * Wants the account.json of account-only.ts, and the CSR's names. HTTP01_PORT is the port that the names'
 * port 80 leads to; ACME_DIRECTORY and ACME_CA_BUNDLE are those of account-only.ts.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Account,
  answerChallenge,
  downloadCertificate,
  finalizeOrder,
  getAuthorization,
  getOrder,
  http01Path,
  importAccountKey,
  keyAuthorization,
  newOrder,
  type Order,
  Server,
} from 'pgacme/acme';

const [csrFile = 'request.pem', ...names] = process.argv.slice(2);
const {
  ACME_DIRECTORY = 'https://acme-staging-v02.api.letsencrypt.org/directory',
  ACME_CA_BUNDLE: bundle,
  HTTP01_PORT = '80',
} = process.env;

const server = new Server({
  directoryUrl: ACME_DIRECTORY,
  ...(bundle === undefined ? {} : { caBundle: await readFile(bundle, 'utf8') }),
});
const { url, privateJwk } = JSON.parse(await readFile('account.json', 'utf8')) as {
  url: string;
  privateJwk: Parameters<typeof importAccountKey>[0];
};
const account: Account = { server, url, key: await importAccountKey(privateJwk) };
const pem = await readFile(csrFile, 'utf8');
const csr = Buffer.from(pem.replace(/-----[^-]*-----|\s/g, ''), 'base64');

// Answers by path; whatever else is asked for is not found (RFC 8555 §11.3: never answer any token).
const answers = new Map<string, string>();
const http = createServer((request, response) => {
  const answer = answers.get(request.url ?? '');
  response.writeHead(answer === undefined ? 404 : 200, {
    'content-type': 'application/octet-stream',
  });
  response.end(answer);
}).listen(Number(HTTP01_PORT));

try {
  const identifiers = names.map((value) => ({ type: 'dns', value }));
  // The order's URL is nowhere but in this answer: whoever wants to go on after a crash stores it now.
  const { url: orderUrl, value: order } = await newOrder(account, { identifiers });
  console.log(`Ordered: ${orderUrl}`);
  for (const each of order.authorizations) await prove(each);
  // A server may hand an order back that is further than a new one, also from before a crash.
  const next = await reach(orderUrl, 'ready', 'processing', 'valid');
  if (next.status === 'ready') await finalizeOrder(account, next, csr);
  const { certificate = '' } = await reach(orderUrl, 'valid');
  const { chainPem } = await downloadCertificate(account, certificate);
  await writeFile('chain.pem', chainPem);
  console.log('The certificate and its chain are in chain.pem.');
} finally {
  http.close();
  await server.close();
}

/** Proves one name, unless the CA remembers it from before. */
async function prove(authorizationUrl: string): Promise<void> {
  const { value } = await getAuthorization(account, authorizationUrl);
  const challenge = value.challenges.find(({ type }) => type === 'http-01');
  if (value.status !== 'pending') return;
  if (challenge?.token === undefined) throw new Error('The CA does not offer http-01 here.');
  answers.set(http01Path(challenge.token), keyAuthorization(challenge.token, account.key));
  await answerChallenge(account, challenge.url);
}

/** Looks at the order as often as the CA wants, but not more than once a second, until it has a status. */
async function reach(orderUrl: string, ...wanted: Order['status'][]): Promise<Order> {
  for (;;) {
    const { value, retryAfterMs = 0 } = await getOrder(account, orderUrl);
    if (wanted.includes(value.status)) return value;
    if (value.status === 'invalid') throw new Error(await whyInvalid(value));
    await sleep(Math.max(retryAfterMs, 1000));
  }
}

async function whyInvalid(order: Order): Promise<string> {
  if (order.error) return order.error.detail;
  const authorizations = order.authorizations.map((each) => getAuthorization(account, each));
  const challenges = (await Promise.all(authorizations)).flatMap(({ value }) => value.challenges);
  return challenges.find(({ error }) => error)?.error?.detail ?? 'The order is invalid.';
}
