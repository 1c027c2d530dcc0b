import { randomBytes } from 'node:crypto';
import type postgres from 'postgres';
import { freePort } from '../../../src/local/ports.ts';
import { makeLogger } from '../../../src/log.ts';
import { startWorker, type Worker } from '../../../src/worker.ts';
import { type AcmeServer, startAcmeServer } from '../../helpers/acme-server/index.ts';
import { type FreshDatabase, freshDatabase } from '../../helpers/postgres.ts';
import { until } from '../../helpers/until.ts';
import { type Coverage, observe } from './coverage.ts';

/** The applications, each with a login of its own. */
export const TENANTS = ['one', 'two', 'three'] as const;
export type Tenant = (typeof TENANTS)[number];

/** A csr of a script, by the label that the script calls it. */
export interface Labelled {
  label: string;
  id: string;
  pem: string;
  tenant: Tenant;
  names: readonly string[];
}

/** How a stage is set up. */
export interface StageOptions {
  /** Changes of the row of server `ca`. */
  server?: Record<string, string | number | string[]>;
  coverage?: Coverage;
  /** Runs before the worker starts, after the first account was inserted. */
  prepare?: (stage: Stage) => Promise<void>;
}

/** A database, a CA and one worker with one job at a time, in a world whose time and chance stand still. */
export interface Stage {
  database: FreshDatabase;
  /** Superuser. */
  sql: postgres.Sql;
  tenants: Record<Tenant, postgres.Sql>;
  admin: postgres.Sql;
  ca: AcmeServer;
  csrs: Map<string, Labelled>;
  coverage: Coverage;
  /** Milliseconds since 1970 by the clock of the database. */
  now: () => number;
  /** Waits until the worker has done all that is due. */
  settle(): Promise<void>;
  /** Moves time for the database, its queue and the CA, and waits until all that became due is done. */
  pass(seconds: number): Promise<void>;
  stopWorker(): Promise<void>;
  /** `environment`: as PGACME_ENVIRONMENT; where the database is of another one, the worker is held and does nothing. */
  startWorker(environment?: string, isHeld?: boolean): Promise<void>;
  close(): Promise<void>;
}

/** The clock is this far ahead of the real one, by which the queue takes jobs: none for later is due by itself. */
const AHEAD_S = 86_400;

/** After each jump time moves on by a little, in which the worker's sweep finds what just became due. */
const SWEEP_S = 15;

export async function openStage(options: StageOptions = {}): Promise<Stage> {
  const database = await freshDatabase();
  const { sql } = database;
  const httpPort = await freePort();
  const ca = await startAcmeServer({ httpPort, options: { validation: 'valid' } });
  const secretKey = randomBytes(32).toString('base64');
  const at = { now: Math.floor(Date.now() / 1000) * 1000 + AHEAD_S * 1000 };
  const setClock = async (seconds: number) => {
    at.now += seconds * 1000;
    ca.options.clockOffsetMs = at.now - Date.now();
    await sql`update differential.clock set at = ${new Date(at.now)}`;
    await sql`update acme_worker._private_jobs set run_at = now() where run_at <= ${new Date(at.now)} and locked_at is null`;
  };
  let worker: Worker | undefined;
  let isWorking = false;
  const stage: Stage = {
    database,
    sql,
    tenants: {
      one: await database.as('acme_app', { login: 'one', max: 1 }),
      two: await database.as('acme_app', { login: 'two', max: 1 }),
      three: await database.as('acme_app', { login: 'three', max: 1 }),
    },
    admin: await database.as('acme_admin', { max: 1 }),
    ca,
    csrs: new Map(),
    coverage: options.coverage ?? { events: new Set(), codes: new Set(), transitions: new Set() },
    now: () => at.now,
    settle: () => (isWorking ? idle(sql) : Promise.resolve()),
    async pass(seconds) {
      for (const step of [seconds, SWEEP_S]) {
        await setClock(step);
        await sql`select acme_worker.add_job(task) from unnest(array['reconcile', 'features']) task`;
        await this.settle();
      }
    },
    async startWorker(environment, isHeld = false) {
      worker = await startWorker({
        databaseUrl: (await database.login('acme_worker')).url,
        secretKey,
        concurrency: 1,
        environment,
        http01Listen: { host: '127.0.0.1', port: httpPort },
        log: makeLogger(process.env['PGACME_TEST_LOG'] ?? 'silent'),
      });
      isWorking = !isHeld;
    },
    async stopWorker() {
      await worker?.stop();
      worker = undefined;
      isWorking = false;
    },
    async close() {
      await this.stopWorker();
      await ca.stop();
      await database.drop();
    },
  };
  try {
    await freezeTimeAndChance(sql, at.now);
    ca.options.clockOffsetMs = at.now - Date.now();
    await observe(sql);
    await stage.admin`
      insert into acme.server ${stage.admin({
        name: 'ca',
        directory_url: ca.directoryUrl,
        ca_bundle: ca.caPem,
        max_orders_in_flight: 8,
        ...options.server,
      } as unknown as Record<string, string>)}`;
    await stage.admin`
      insert into acme.account (name, server, contact, terms_agreed)
      values ('main', 'ca', '{mailto:ops@example.org}', true)`;
    await options.prepare?.(stage);
    await stage.startWorker();
    await idle(sql);
    return stage;
  } catch (error) {
    await stage.close();
    throw error;
  }
}

/**
 * Time moves only by {@link Stage.pass}: jobs for later are due by the same clock, and what the queue runs by the minute
 * comes only when time is moved. Jitter is always the middle of its range.
 */
async function freezeTimeAndChance(sql: postgres.Sql, now: number): Promise<void> {
  await sql.unsafe(`
    create schema differential;
    grant usage on schema differential to public;
    create table differential.clock (at timestamptz not null);
    grant select on differential.clock to public;
    create or replace function acme_private.clock() returns timestamptz
    language sql stable as 'select at from differential.clock';
    create or replace function pg_catalog.random() returns double precision
    language sql volatile as 'select 0.5::double precision';
    -- Rows are as old as they are by this clock; workers alone live by the real one.
    do $$
    declare r record;
    begin
      for r in select d.adrelid::regclass as name, a.attname
                 from pg_attrdef d
                 join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
                 join pg_class c on c.oid = d.adrelid
                where c.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace) and c.relkind = 'r'
                  and pg_get_expr(d.adbin, d.adrelid) = 'now()' and c.relname <> 'worker' loop
        execute format('alter table %s alter column %I set default acme_private.clock()', r.name, r.attname);
      end loop;
    end $$;
    create function differential.tg_job() returns trigger language plpgsql as $$
    declare
      v_clock timestamptz := (select at from differential.clock);
    begin
      if tg_op = 'INSERT' and new.payload::jsonb ? '_cron' then
        return null;
      end if;
      if new.run_at > now() and new.run_at < v_clock then
        new.run_at := v_clock + (new.run_at - now());
      end if;
      return new;
    end $$;
    create trigger _900_job before insert or update on acme_worker._private_jobs
      for each row execute function differential.tg_job();`);
  await sql`insert into differential.clock values (${new Date(now)})`;
}

/**
 * The worker has nothing to do: no job is due, and none is being done. (A wake-up is inserted by the transaction that
 * causes it, and its job is there until the worker has followed it to its end, or holds leases of what it still follows.)
 */
async function idle(sql: postgres.Sql): Promise<void> {
  const held = await leases(sql);
  await until(
    async () => {
      const due = await sql.unsafe<{ what: string }[]>(`
        select 'job ' || task_identifier as what from acme_worker.jobs
         where (locked_at is not null or run_at <= now()) and attempts < max_attempts
        ${held}`);
      if (due.length === 0) return true;
      throw new Error(`Still due: ${due.map(({ what }) => what).join(', ')}`);
    },
    { what: 'the worker has nothing to do', timeoutMs: 60_000, everyMs: 5 },
  );
}

/** Whatever is leased, by the catalog. */
async function leases(sql: postgres.Sql): Promise<string> {
  const tables = await sql<{ name: string }[]>`
    select a.attrelid::regclass::text as name
      from pg_attribute a
      join pg_class c on c.oid = a.attrelid and c.relkind = 'r'
     where c.relnamespace = 'acme_private'::regnamespace and a.attname = 'lease_until' and not a.attisdropped`;
  return tables
    .map(
      ({ name }) => `
        union all
        select 'lease in ${name}' from ${name} where lease_until > acme_private.clock()`,
    )
    .join('');
}
