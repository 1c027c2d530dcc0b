import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterEach, expect, inject } from 'vitest';
import { adoptDatabase } from '../../src/db/owner/copies.ts';
import { freePort } from '../../src/local/ports.ts';
import { makeLogger } from '../../src/log.ts';
import { startWorker, type Worker } from '../../src/worker.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { type AcmeServer, startAcmeServer } from './acme-server/index.ts';
import { until } from './until.ts';
import type { Status } from './world.ts';
import { freshName } from './world.ts';

/** A CA that counts, and one sealing key: for databases that move while it stays. */
export interface Site {
  ca: AcmeServer;
  /** A pool, ended after the test. */
  connect(url: string): postgres.Sql;
  /** Starts a worker on a database, which answers http-01 unless told not to; `lines` is its log. */
  worker(
    databaseUrl: string,
    options?: { environment?: string | undefined; answers?: boolean },
  ): Promise<{ worker: Worker; lines: Record<string, unknown>[] }>;
}

const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Starts the CA of a test; it ends after the test, after the workers. */
export async function startSite(): Promise<Site> {
  const httpPort = await freePort();
  const ca = await startAcmeServer({ httpPort });
  ends.push(() => ca.stop());
  const secretKey = randomBytes(32).toString('base64');
  return {
    ca,
    connect(url) {
      const sql = postgres(url, { max: 2, onnotice: () => undefined });
      ends.push(() => sql.end({ timeout: 1 }));
      return sql;
    },
    async worker(databaseUrl, { environment, answers = true } = {}) {
      const lines: Record<string, unknown>[] = [];
      const write = (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>);
      const worker = await startWorker({
        databaseUrl,
        secretKey,
        environment,
        http01Listen: answers ? { host: '127.0.0.1', port: httpPort } : undefined,
        log: makeLogger('info', { write }),
      });
      ends.push(() => worker.stop());
      return { worker, lines };
    },
  };
}

/** Clones a database as a DBA would, under a new name. */
export async function clone(original: string): Promise<{ url: string; drop(): Promise<void> }> {
  const admin = postgres(inject('postgresUrl'), { max: 1, onnotice: () => undefined });
  const name = `t_${randomBytes(5).toString('hex')}`;
  await until(
    async () => {
      await admin`
        select pg_terminate_backend(pid) from pg_stat_activity where datname = ${original}`;
      await admin`create database ${admin(name)} template ${admin(original)}`;
      return true;
    },
    { what: `nobody is in ${original}` },
  );
  const url = new URL(inject('postgresUrl'));
  url.pathname = name;
  return {
    url: url.href,
    async drop() {
      await admin`drop database ${admin(name)} with (force)`;
      await admin.end();
    },
  };
}

/** Names the CA as the default account's, in a migrated database. */
export async function insertAccount(sql: postgres.Sql, { ca }: Site): Promise<void> {
  await sql`
    insert into acme.server (name, directory_url, ca_bundle) values ('ca', ${ca.directoryUrl}, ${ca.caPem})`;
  await sql`
    insert into acme.account (name, server, terms_agreed) values ('main', 'ca', true)`;
}

/** Inserts a CSR and returns its id. */
export async function insertCsr(sql: postgres.Sql): Promise<string> {
  const { pem } = await makeCsr({ names: [freshName('copied')] });
  const [row] = await sql<
    [{ id: string }]
  >`insert into acme.csr (pem) values (${pem}) returning id`;
  return row.id;
}

/** A row of acme.csr_status. */
export async function statusOf(sql: postgres.Sql, id: string): Promise<Status> {
  const [row] = await sql<[Status]>`select * from acme.csr_status where id = ${id}`;
  return row;
}

/** Waits until the csr is in this state. */
export function reach(sql: postgres.Sql, id: string, state: string): Promise<boolean> {
  return until(
    async () => {
      const row = await statusOf(sql, id);
      if (row.state === state) return true;
      throw new Error(`csr ${id} is ${row.state}: ${row.reason_code} ${row.reason}`);
    },
    { what: `csr ${id} is ${state}`, timeoutMs: 50_000 },
  );
}

/** What a database has in it when it is copied: a csr in each situation. */
export interface Filled {
  issued: string;
  /** Its order's authorization is being tried again and again. */
  underWay: string;
  /** The same, and cancelled since the workers stopped. */
  cancelled: string;
  /** Inserted since the workers stopped. */
  received: string;
}

/** Fills a database by a worker and stops it; the CA is well again afterwards. */
export async function fill(url: string, sql: postgres.Sql, site: Site): Promise<Filled> {
  await insertAccount(sql, site);
  const { worker } = await site.worker(url);
  const issued = await insertCsr(sql);
  await reach(sql, issued, 'issued');
  site.ca.on('authorization', { status: 500, html: true, times: Infinity });
  const underWay = await insertCsr(sql);
  const cancelled = await insertCsr(sql);
  await reach(sql, underWay, 'retrying');
  await reach(sql, cancelled, 'retrying');
  await worker.stop();
  site.ca.clearFaults();
  await sql`select acme.cancel(${cancelled})`;
  return { issued, underWay, cancelled, received: await insertCsr(sql) };
}

/**
 * Holds a filled copy against what is promised of one: a worker says once why it does nothing, the CA
 * hears of nothing, each csr says why it waits; once it was adopted all of them go on.
 */
export async function expectHeldUntilAdopted(
  { url, sql, site, csrs }: { url: string; sql: postgres.Sql; site: Site; csrs: Filled },
  why: RegExp,
  environment?: string,
): Promise<void> {
  const { ca } = site;
  const before = ca.seen.length;
  const { worker, lines } = await site.worker(url, { environment });
  const said = () => lines.filter(({ msg }) => String(msg).startsWith('held'));
  expect(said()).toHaveLength(1);
  expect(said()[0]?.['reason']).toMatch(why);

  const inserted = await insertCsr(sql);
  await sql`select acme.renew(${csrs.issued})`;
  for (const id of [csrs.underWay, csrs.cancelled, csrs.received, inserted]) {
    const { state, reason_code, reason, next_attempt_at } = await statusOf(sql, id);
    expect({ state, reason_code, next_attempt_at }).toEqual({
      state: 'paused',
      reason_code: 'database_copied',
      next_attempt_at: null,
    });
    expect(reason).toMatch(why);
  }
  expect(await statusOf(sql, csrs.issued)).toMatchObject({
    state: 'issued',
    has_certificate: true,
    reason_code: 'database_copied',
  });
  const [told] = await sql<[{ text: string }]>`select acme.explain(${csrs.underWay}) as text`;
  expect(told.text).toContain((await statusOf(sql, csrs.underWay)).reason);

  // What the queue would have it do, done by hand: a worker that asks gets nothing.
  expect(await asked(sql, worker.id)).toEqual([]);
  expect(await sql`select from acme_worker.jobs where task_identifier = 'dispatch'`).not.toEqual(
    [],
  );
  expect(ca.seen.slice(before)).toEqual([]);

  const adopted = await adoptDatabase({ databaseUrl: url, environment });
  expect(adopted?.was).not.toEqual(adopted?.is);
  await reach(sql, csrs.cancelled, 'cancelled');
  for (const id of [csrs.underWay, csrs.received, inserted]) await reach(sql, id, 'issued');
  await until(async () => !(await pending(sql, csrs.issued)), { what: 'it is renewed' });
  expect(said()).toHaveLength(1);
  await worker.stop();

  expect(await adoptDatabase({ databaseUrl: url, environment })).toBeUndefined();
  const events = await sql`select detail from acme.event where event = 'database_adopted'`;
  expect(events).toEqual([{ detail: adopted }]);
}

async function pending(sql: postgres.Sql, id: string): Promise<boolean> {
  return (await statusOf(sql, id)).has_pending_request;
}

/** All that workers ask for, for every row there is; what they get, and what they leave leased. */
export async function asked(sql: postgres.Sql, worker = 0): Promise<unknown[]> {
  await sql`select acme_private.reconcile()`;
  const got = await sql`
    select x.got
      from (select acme_private.claim(${worker}, 'order', id) from acme_private."order"
            union all
            select acme_private.claim(${worker}, 'authorization', id) from acme_private.authorization
            union all
            select acme_private.claim(${worker}, 'account', account_id) from acme_private.account_state
            union all
            select nullif(acme_private.attend(${worker}, csr_id, 1), '[]') from acme_private.csr_state
            union all
            select nullif(acme_private.dispatch(${worker}, null, '[]', 1), '{"received": {"rows": []}, "claims": []}')) x (got)
     where x.got is not null`;
  const leased = await sql`
    select 'order' as kind, id from acme_private."order" where lease_token is not null
    union all
    select 'csr', csr_id from acme_private.csr_state where lease_token is not null`;
  return [...got, ...leased];
}
