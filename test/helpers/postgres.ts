import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, inject } from 'vitest';
import { noCopy } from './state/index.ts';

/** A login role made for one database; its name is the tenant of what it inserts. */
export interface Login {
  role: string;
  url: string;
}

/** Which login, and how many connections its pool may open (2 unless given). */
export interface LoginOptions {
  /** Tells logins of one group role apart, such as two tenants; the group role's name unless given. */
  login?: string;
  max?: number;
}

/** A database of its own, cloned from the migrated template. */
export interface FreshDatabase {
  name: string;
  /** Superuser's URL. */
  url: string;
  /** Superuser's pool. */
  sql: postgres.Sql;
  /** Makes (once) a login role that is a member of `role`, such as acme_app. */
  login(role: string, options?: LoginOptions): Promise<Login>;
  /** A pool that logs in as `login(role, options)`. */
  as(role: string, options?: LoginOptions): Promise<postgres.Sql>;
  /** Ends its pools and drops the database with whoever is connected, and its login roles. */
  drop(): Promise<void>;
}

const left = new Set<FreshDatabase>();
let administrator: postgres.Sql | undefined;

afterAll(async () => {
  await Promise.all([...left].map((database) => database.drop()));
  await administrator?.end();
  administrator = undefined;
});

/** Clones the template; dropped after the test file unless `drop()` is called before. */
export async function freshDatabase(): Promise<FreshDatabase> {
  const name = `t_${randomBytes(5).toString('hex')}`;
  await clone(name);
  const url = urlOf(name);
  const sql = postgres(url, { max: 4, onnotice: () => undefined });

  // Else it would be frozen as a copy of the template.
  await noCopy(sql);
  const pools = [sql];
  const logins = new Map<string, Promise<Login>>();
  const database: FreshDatabase = {
    name,
    url,
    sql,
    login(role, options = {}) {
      const loginName = `${name}_${options.login ?? role}`;
      const made = logins.get(loginName) ?? makeLogin(loginName, role, name);
      logins.set(loginName, made);
      return made;
    },
    async as(role, options = {}) {
      const { url: loginUrl } = await database.login(role, options);
      const pool = postgres(loginUrl, { max: options.max ?? 2, onnotice: () => undefined });
      pools.push(pool);
      return pool;
    },
    async drop() {
      if (!left.delete(database)) return;
      await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })));
      await admin()`drop database if exists ${admin()(name)} with (force)`;
      // Roles belong to the whole cluster and would pile up.
      for (const login of await Promise.all(logins.values())) {
        await admin()`drop role if exists ${admin()(login.role)}`;
      }
    },
  };
  left.add(database);
  return database;
}

async function makeLogin(login: string, role: string, database: string): Promise<Login> {
  const password = randomBytes(8).toString('hex');
  // A utility statement takes no parameters; the password is hexadecimal.
  const sql = admin();
  await sql`create role ${sql(login)} login password ${sql.unsafe(`'${password}'`)} in role ${sql(role)}`;
  const url = new URL(urlOf(database));
  url.username = login;
  url.password = password;
  return { role: login, url: url.href };
}

async function clone(name: string): Promise<void> {
  const sql = admin();
  for (let attempt = 0; ; attempt++) {
    try {
      // Files are copied in a third of the time that writing them through the log takes (fsync off).
      await sql`create database ${sql(name)} template ${sql(inject('templateDatabase'))} strategy file_copy`;
      return;
    } catch (error) {
      // 55006: someone, such as autovacuum, is in the template for a moment.
      const busy = error instanceof postgres.PostgresError && error.code === '55006';
      if (!busy || attempt === 20) throw error;
      await delay(50);
    }
  }
}

function admin(): postgres.Sql {
  administrator ??= postgres(inject('postgresUrl'), { max: 1, onnotice: () => undefined });
  return administrator;
}

function urlOf(database: string): string {
  const url = new URL(inject('postgresUrl'));
  url.pathname = database;
  return url.href;
}
