import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { onTestFinished } from 'vitest';
import type { FreshDatabase, Login } from './postgres.ts';

/** Where a database is, and who may do everything there. */
export interface ServerAddress {
  /** `127.0.0.1:5432`, or several of them for a primary and its standbys: `127.0.0.1:1,127.0.0.1:2`. */
  hosts: string;
  /** Of the superuser postgres. */
  password: string;
}

/**
 * A database on a server of the test's own, empty and not migrated yet. With several hosts its pools are
 * at the one that takes writes, and its logins get URLs of all of them. It goes with its server; its pools end
 * with the test, or as `atEnd` has it.
 */
export async function databaseOn(
  { hosts, password }: ServerAddress,
  atEnd: (end: () => Promise<void>) => void = onTestFinished,
): Promise<FreshDatabase> {
  const name = `t_${randomBytes(5).toString('hex')}`;
  const urlOf = (user: string, secret: string, database: string) =>
    `postgres://${user}:${secret}@${hosts}/${database}`;
  const pools: postgres.Sql[] = [];
  const open = (url: string, max: number) => {
    const pool = postgres(url, {
      max,
      onnotice: () => undefined,
      ...(hosts.includes(',') ? { target_session_attrs: 'read-write' as const } : {}),
    });
    pools.push(pool);
    return pool;
  };
  atEnd(async () => {
    await Promise.all(pools.map((pool) => pool.end({ timeout: 1 })));
  });
  const administrator = open(urlOf('postgres', password, 'postgres'), 1);
  await administrator`create database ${administrator(name)}`;
  await administrator.end();
  const url = urlOf('postgres', password, name);
  const sql = open(url, 4);

  const logins = new Map<string, Promise<Login>>();
  const makeLogin = async (role: string, login: string): Promise<Login> => {
    const secret = randomBytes(8).toString('hex');
    // A utility statement takes no parameters; the password is hexadecimal.
    await sql`create role ${sql(login)} login password ${sql.unsafe(`'${secret}'`)} in role ${sql(role)}`;
    return { role: login, url: urlOf(login, secret, name) };
  };
  const database: FreshDatabase = {
    name,
    url,
    sql,
    login(role, options = {}) {
      const login = `${name}_${options.login ?? role}`;
      const made = logins.get(login) ?? makeLogin(role, login);
      logins.set(login, made);
      return made;
    },
    async as(role, options = {}) {
      return open((await database.login(role, options)).url, options.max ?? 2);
    },
    drop: () => Promise.resolve(),
  };
  return database;
}
