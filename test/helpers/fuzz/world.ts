import type postgres from 'postgres';
import { pemShapedLikeCsr } from '../pem.ts';
import { type FreshDatabase, freshDatabase } from '../postgres.ts';
import { addAccountKey, registerAccounts, withoutTriggers } from '../state/index.ts';

/** How a world is set up. */
export interface WorldOptions {
  /** One name of each tenant is published by hand. */
  byHand: boolean;
  /** Rows that were just written are held a little longer at random: races that need luck come up. */
  dawdle: boolean;
  /** Places among the orders in flight of the servers `ca` and `other`. */
  places: { ca: number; other: number };
}

/** A database with two servers and three accounts, two tenants' logins, and a clock that jumps. */
export interface World {
  database: FreshDatabase;
  /** Superuser: the owner's deletes, the administrator's doings, and the look at everything. */
  sql: postgres.Sql;
  /** One login that is a member of acme_app for each tenant. */
  apps: Application[];
  /** The names that a CSR asks for, as its PEM would say. */
  names: Map<string, string[]>;
  /** Authorizations that the servers hold to be valid, by URL: that does not end by itself. */
  valid: Set<string>;
  /** Now, by the clock that is used for everything that is scheduled. */
  now(): Date;
  /** Moves the clock forward. */
  jump(seconds: number): Promise<void>;
}

/** What one tenant does. */
export interface Application {
  sql: postgres.Sql;
  /** The names it asks for certificates of; the last one is asked for by every tenant. */
  pool: string[];
}

/** Accounts, by name, and their server. */
export const ACCOUNTS: Record<string, string> = { main: 'ca', second: 'ca', third: 'other' };

/** Makes one; the caller drops its database. */
export async function makeWorld(options: WorldOptions): Promise<World> {
  const database = await freshDatabase();
  const { sql } = database;
  for (const [name, places] of Object.entries(options.places)) {
    await sql`
      insert into acme.server (name, directory_url, max_orders_in_flight)
      values (${name}, ${`https://${name}.example.org/dir`}, ${places})`;
  }
  for (const [name, server] of Object.entries(ACCOUNTS)) {
    await sql`insert into acme.account (name, server) values (${name}, ${server})`;
  }
  await registerAll(sql);
  if (options.byHand) {
    await sql`
      insert into acme.solver (name, method, names)
      values ('by-hand', 'manual', '{hand.one.example,hand.two.example}')`;
  }
  await replaceClock(sql);
  if (options.dawdle) await addDawdle(sql);
  let offset = 0;
  return {
    database,
    sql,
    apps: [
      {
        sql: await database.as('acme_app', { login: 'one', max: 1 }),
        pool: ['a.one.example', 'b.one.example', 'hand.one.example', 'shared.example'],
      },
      {
        sql: await database.as('acme_app', { login: 'two', max: 1 }),
        pool: ['a.two.example', 'b.two.example', 'hand.two.example', 'shared.example'],
      },
    ],
    names: new Map(),
    valid: new Set(),
    now: () => new Date(Date.now() + offset * 1000),
    async jump(seconds) {
      offset += seconds;
      await sql`update fuzz.clock set ahead = ahead + make_interval(secs => ${seconds})`;
    },
  };
}

/** A CSR of its own that asks for these names. */
export function csrFor(world: World, names: string[]): string {
  const pem = pemShapedLikeCsr();
  world.names.set(pem, names);
  return pem;
}

async function registerAll(sql: postgres.Sql): Promise<void> {
  const accounts = await sql<{ id: string; name: string }[]>`select id, name from acme.account`;
  await registerAccounts(
    sql,
    accounts.map(({ id }) => id),
  );
  await withoutTriggers(sql, async (tx) => {
    for (const { id, name } of accounts) await addAccountKey(tx, id, name);
  });
  await sql`select acme_worker.complete_jobs(array(select id from acme_worker.jobs))`;
}

async function replaceClock(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create schema fuzz;
    grant usage on schema fuzz to public;
    create table fuzz.clock (ahead interval not null);
    insert into fuzz.clock values ('0');
    grant select on fuzz.clock to public;
    create or replace function acme_private.clock() returns timestamptz
    language sql stable
    as $$ select pg_catalog.now() + c.ahead from fuzz.clock c $$;`);
}

/** Whoever has written a row of work sits on it for some milliseconds, one time in eight. */
async function addDawdle(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create function fuzz.tg_dawdle() returns trigger language plpgsql as $$
    begin
      if random() < 0.125 then perform pg_sleep(random() * 0.012); end if;
      return null;
    end $$;`);
  const tables = [
    'acme.csr',
    'acme_private.csr_state',
    'acme_private."order"',
    'acme_private.authorization',
    'acme_private.record',
    'acme_private.tenant_name',
    'acme_worker._private_jobs',
  ];
  for (const table of tables) {
    await sql.unsafe(`
      create trigger _900_dawdle after insert or update or delete on ${table}
        for each row execute function fuzz.tg_dawdle()`);
  }
  await sql.unsafe(`
    do $$ begin
      execute format('alter database %I set deadlock_timeout = %L', current_database(), '100ms');
    end $$;`);
}
