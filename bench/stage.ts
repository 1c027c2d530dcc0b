import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Cas, casFor, startCas } from './ca.ts';
import type { Cluster, Database } from './cluster.ts';
import { makeCsrs } from './csrs.ts';
import { startWorkers, type Workers } from './workers.ts';

/** How a measurement of pgacme is set up. */
export interface StageOptions {
  inFlight: number;
  workers: number;
  /** One that is filled already; else a fresh one is made and dropped. */
  database?: Database;
  profileDir?: string | undefined;
}

/** A database, CAs that it knows, and workers that are warm. */
export interface Stage {
  cluster: Cluster;
  database: Database;
  cas: Cas;
  workers: Workers;
  /** Accounts, one at each CA. */
  accounts: readonly string[];
  /** How many csrs are known to be issued, and notifications heard, since the stage was set. */
  heard: { issued: number; notifies: number };
  /** Called at the next notification; with one csr at a time, when it is issued. */
  onIssued(told: () => void): void;
  /** Inserts CSRs over all accounts in one statement and waits until they are all issued. */
  issue(csrs: readonly { pem: string }[]): Promise<void>;
  strike(): Promise<void>;
}

const WARM_UP = 60;

/** Sets it up: fresh CAs, their servers and accounts, workers, and some certificates to warm up. */
export async function setStage(cluster: Cluster, options: StageOptions): Promise<Stage> {
  const { inFlight, workers: count } = options;
  const { cas: caCount, each } = casFor(inFlight);
  const cas = await startCas(caCount);
  const database = options.database ?? (await cluster.database());
  const { sql, app } = database;
  const waiting: (() => void)[] = [];
  const heard = { issued: 0, notifies: 0 };
  const onJob = await sql.listen('jobs:insert', () => (heard.notifies += 1));
  const onEvent = await sql.listen('acme', () => {
    heard.notifies += 1;
    for (const told of waiting.splice(0)) told();
  });
  let cursor = '';
  const readChanges = async (): Promise<number> => {
    for (;;) {
      const rows = await sql<{ cursor: string; event: string }[]>`
        select cursor, event from acme.changes(${cursor}, 10000)`;
      cursor = rows.at(-1)?.cursor ?? cursor;
      heard.issued += rows.filter(({ event }) => event === 'issued').length;
      if (rows.length < 10_000) return heard.issued;
    }
  };
  const label = randomBytes(3).toString('hex');
  const accounts = cas.servers.map((_, i) => `bench-${label}-${i}`);
  for (const [i, { directoryUrl, caPem }] of cas.servers.entries()) {
    const name = accounts[i] ?? '';
    await sql`
      insert into acme.server (name, directory_url, ca_bundle, max_orders_in_flight)
      values (${name}, ${directoryUrl}, ${caPem}, ${each})`;
    await sql`insert into acme.account (name, server, terms_agreed) values (${name}, ${name}, true)`;
  }
  const workers = await startWorkers({
    count,
    databaseUrl: database.workerUrl,
    secretKey: randomBytes(32).toString('base64'),
    concurrency: Math.max(10, Math.ceil(inFlight / count)),
    httpPort: cas.httpPort,
    profileDir: options.profileDir,
  });
  const stage: Stage = {
    cluster,
    database,
    cas,
    workers,
    accounts,
    heard,
    onIssued: (told) => waiting.push(told),
    async issue(csrs) {
      const wanted = (await readChanges()) + csrs.length;
      const named = csrs.map((_, i) => accounts[i % accounts.length] ?? '');
      await app`
        insert into acme.csr (pem, account)
        select * from unnest(${csrs.map(({ pem }) => pem)}::text[], ${named}::text[])`;
      await issuedUntil(readChanges, wanted);
    },
    async strike() {
      await workers.stop();
      await onJob.unlisten();
      await onEvent.unlisten();
      if (options.database === undefined) await database.drop();
      await cas.stop();
    },
  };
  await stage.issue(await makeCsrs(WARM_UP));
  return stage;
}

/** Waits for the n-th; gives up when nothing comes for 30 s: a frozen Pebble, or work that got lost. */
async function issuedUntil(issued: () => Promise<number>, wanted: number): Promise<void> {
  let last = await issued();
  let since = performance.now();
  while (last < wanted) {
    await delay(20);
    const now = await issued();
    if (now !== last) {
      last = now;
      since = performance.now();
    } else if (performance.now() - since > 30_000) {
      throw new Error(`Nothing was issued for 30 s; ${wanted - last} certificates are missing.`);
    }
  }
}
