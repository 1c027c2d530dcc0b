import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Account,
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
} from '#src/acme/index';
import { Pace } from '#src/tasks/pace';
import { csrDer } from '#src/x509/index';
import { makeCsrs } from './csrs.ts';

/**
 * The bare loop, a process of its own: the requests that a certificate cannot do without, by the same
 * protocol library and polling as pgacme's, without a database. The measure that pgacme is held against.
 */
export interface BareTask {
  servers: readonly { directoryUrl: string; caPem: string }[];
  httpPort: number;
  inFlight: number;
  certificates: number;
}

/** What it did. */
export interface BareResult {
  inFlight: number;
  certificates: number;
  perSecond: number;
  /** For each certificate. */
  cpuMs: number;
  /** From newOrder to the certificate. */
  medianMs: number;
  p99Ms: number;
}

const tokens = new Map<string, string>();

/** As often as pgacme's own steps look, with the same guess of how long the CA takes. */
async function poll<T>(
  first: T,
  look: () => Promise<{ value: T }>,
  isEnd: (value: T) => boolean,
  pace: Pace,
): Promise<T> {
  let value = first;
  for (let n = 0; !isEnd(value); n++) {
    await delay(pace.delay(n) ?? 3000);
    ({ value } = await look());
    if (isEnd(value)) pace.found(n);
  }
  return value;
}

async function issue(
  account: Account,
  { name, der }: { name: string; der: Uint8Array },
  pace: { validation: Pace; issuance: Pace },
): Promise<void> {
  const { url, value: order } = await newOrder(account, {
    identifiers: [{ type: 'dns', value: name }],
  });
  const [where = ''] = order.authorizations;
  const look = () => getAuthorization(account, where);
  const { value: authorization } = await look();
  if (authorization.status === 'pending') {
    const challenge = authorization.challenges.find(({ type }) => type === 'http-01');
    if (challenge?.token === undefined) throw new Error('The CA offers no http-01.');
    tokens.set(challenge.token, keyAuthorization(challenge.token, account.key));
    await answerChallenge(account, challenge.url);
    await poll(authorization, look, (value) => value.status !== 'pending', pace.validation);
    tokens.delete(challenge.token);
  }
  const { value: finalized } = await finalizeOrder(account, order, der);
  const end = await poll(
    finalized,
    () => getOrder(account, url),
    (value) => value.status !== 'processing',
    pace.issuance,
  );
  await downloadCertificate(account, end.certificate ?? '');
}

async function main(task: BareTask): Promise<BareResult> {
  const responder = createServer((request, response) => {
    const value = tokens.get(request.url?.split('/').at(-1) ?? '');
    response.writeHead(value === undefined ? 404 : 200).end(value);
  });
  await new Promise<void>((resolve) => responder.listen(task.httpPort, '127.0.0.1', resolve));
  const places = await Promise.all(
    task.servers.map(async ({ directoryUrl, caPem }) => {
      const server = new Server({ directoryUrl, caBundle: caPem });
      const key = await generateAccountKey();
      const { url } = await newAccount(server, key, { termsOfServiceAgreed: true });
      return {
        account: { server, url, key },
        pace: { validation: new Pace(), issuance: new Pace() },
      };
    }),
  );
  const warmUp = 60;
  const csrs = (await makeCsrs(task.certificates + warmUp)).map(({ name, pem }) => ({
    name,
    der: csrDer(pem),
  }));
  const times: number[] = [];
  const runAll = async (jobs: { name: string; der: Uint8Array }[]) => {
    await Promise.all(
      Array.from({ length: task.inFlight }, async (_, lane) => {
        const place = places[lane % places.length];
        if (place === undefined) return;
        for (let job = jobs.pop(); job !== undefined; job = jobs.pop()) {
          const startedAt = performance.now();
          await issue(place.account, job, place.pace);
          times.push(performance.now() - startedAt);
        }
      }),
    );
  };
  await runAll(csrs.splice(0, warmUp));
  times.length = 0;
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  await runAll(csrs);
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.ceil(times.length * share) - 1] ?? NaN;
  return {
    inFlight: task.inFlight,
    certificates: task.certificates,
    perSecond: task.certificates / seconds,
    cpuMs: (user + system) / 1000 / task.certificates,
    medianMs: at(0.5),
    p99Ms: at(0.99),
  };
}

if (process.argv[2] !== undefined) {
  process.send?.(await main(JSON.parse(process.argv[2]) as BareTask));
  process.exit(0);
}
