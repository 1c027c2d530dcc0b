import { randomBytes } from 'node:crypto';
import type postgres from 'postgres';
import { onTestFinished } from 'vitest';
import { freePort } from '../../src/local/ports.ts';
import { makeLogger } from '../../src/log.ts';
import { startWorker, type Worker, type WorkerOptions } from '../../src/worker.ts';
import { type CsrOptions, makeCsr } from '../../src/x509/index.ts';
import { type AcmeServer, type AcmeServerOptions, startAcmeServer } from './acme-server/index.ts';
import { pebbleForTests, type TestPebble, type TestPebbleOptions } from './pebble.ts';
import { type FreshDatabase, freshDatabase } from './postgres.ts';
import { until } from './until.ts';

/** A row of acme.csr_status, as far as tests look at it. */
export interface Status {
  id: string;
  ref: string | null;
  tenant: string;
  identifiers: string[] | null;
  state: string;
  reason_code: string | null;
  reason: string | null;
  next_attempt_at: Date | null;
  attempts: number;
  last_problem: { reasons?: { code: string; text: string }[] } & Record<string, unknown>;
  certificate_id: string | null;
  has_certificate: boolean;
  renew_at: Date | null;
  has_pending_request: boolean;
}

/** A database, a CA it knows as server `ca` with account `main`, and workers on demand. */
export interface World {
  database: FreshDatabase;
  sql: postgres.Sql;
  secretKey: string;
  /** Starts a worker in this process, stopped after the test. */
  worker(options?: Partial<WorkerOptions>): Promise<Worker>;
  /** Inserts a CSR as the superuser and returns its id. */
  insert(options: CsrOptions | { pem: string }, columns?: Record<string, unknown>): Promise<string>;
  status(id: string): Promise<Status>;
  /** Waits until the csr is in one of these states. */
  reach(id: string, states: string | string[], timeoutMs?: number): Promise<Status>;
  events(id: string): Promise<string[]>;
}

/** What a world talks to. */
export interface Ca {
  directoryUrl: string;
  caPem: string;
  /** Where its validation looks for http-01. */
  httpPort: number;
}

/** What to do when a world's test is over; by default vitest's `onTestFinished`. */
type AtEnd = (end: () => Promise<void>) => void;

/** A fresh database whose default account is at this file's Pebble. */
export async function pebbleWorld(
  options: TestPebbleOptions = {},
  atEnd: AtEnd = onTestFinished,
): Promise<World & { pebble: TestPebble }> {
  const pebble = await pebbleForTests(options);
  return { ...(await worldWith(pebble, undefined, atEnd)), pebble };
}

/**
 * A fresh database whose default account is at a CA of its own that does what the test tells it.
 * A test that runs beside others of its file gives the `onTestFinished` of its context.
 */
export async function faultyWorld(
  options: Partial<AcmeServerOptions> = {},
  atEnd: AtEnd = onTestFinished,
): Promise<World & { ca: AcmeServer }> {
  const httpPort = await freePort();
  const ca = await startAcmeServer({ httpPort, options });
  const at = { directoryUrl: ca.directoryUrl, caPem: ca.caPem, httpPort };
  const world = await worldWith(at, undefined, atEnd);
  // What is said last is done first: a worker finishes the request under way, which a CA that never answers delays.
  atEnd(() => ca.stop());
  return { ...world, ca };
}

/** A fresh database (or the given one) whose default account is at this CA. */
export async function worldWith(
  ca: Ca,
  given?: FreshDatabase,
  atEnd: AtEnd = onTestFinished,
): Promise<World> {
  const database = given ?? (await freshDatabase());
  const { sql } = database;
  await sql`
    insert into acme.server (name, directory_url, ca_bundle, max_orders_in_flight)
    values ('ca', ${ca.directoryUrl}, ${ca.caPem}, 8)`;
  await sql`
    insert into acme.account (name, server, contact, terms_agreed)
    values ('main', 'ca', '{mailto:ops@example.org}', true)`;
  const secretKey = randomBytes(32).toString('base64');
  const workerUrl = async () => (await database.login('acme_worker')).url;
  return worldOf({ database, sql, secretKey, httpPort: ca.httpPort, workerUrl }, atEnd);
}

/** A database that has its server and account already. */
export function worldOf(
  at: Pick<World, 'database' | 'sql' | 'secretKey'> & {
    httpPort: number;
    workerUrl: () => Promise<string>;
  },
  atEnd: AtEnd = onTestFinished,
): World {
  const { database, sql, secretKey } = at;
  const workers = new Set<Worker>();
  atEnd(async () => {
    await Promise.all([...workers].map((worker) => worker.stop()));
  });
  const status = async (id: string): Promise<Status> => {
    const [row] = await sql<[Status]>`select * from acme.csr_status where id = ${id}`;
    return row;
  };
  return {
    database,
    sql,
    secretKey,
    async worker(options = {}) {
      const worker = await startWorker({
        databaseUrl: await at.workerUrl(),
        secretKey,
        http01Listen: { host: '127.0.0.1', port: at.httpPort },
        log: makeLogger(process.env['PGACME_TEST_LOG'] ?? 'silent'),
        ...options,
      });
      workers.add(worker);
      return worker;
    },
    async insert(options, columns = {}) {
      const pem = 'pem' in options ? options.pem : (await makeCsr(options)).pem;
      const [row] = await sql<[{ id: string }]>`
        insert into acme.csr ${sql({ pem, ...columns } as Record<string, string>)} returning id`;
      return row.id;
    },
    status,
    reach(id, states, timeoutMs = 15_000) {
      const wanted = [states].flat();
      return until(
        async () => {
          const row = await status(id);
          if (wanted.includes(row.state)) return row;
          throw new Error(`csr ${id} is ${row.state}: ${row.reason_code} ${row.reason}`);
        },
        { what: `csr ${id} is ${wanted.join(' or ')}`, timeoutMs },
      );
    },
    async events(id) {
      const rows = await sql<{ event: string }[]>`
        select event from acme.event where csr_id = ${id} order by id`;
      return rows.map(({ event }) => event);
    },
  };
}

let names = 0;
const run = randomBytes(3).toString('hex');

/** A host name that no other test uses. */
export function freshName(label = 'host'): string {
  return `${label}-${++names}-${run}.example.org`;
}
