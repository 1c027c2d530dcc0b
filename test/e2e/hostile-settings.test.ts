import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, expect, inject, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { connectAnyhow } from '../../src/db/steps/connect-anyhow.ts';
import { faultyWorld, freshName } from '../helpers/world.ts';

/** What a DBA or a login may have set for good reasons of its own. */
const HOSTILE = {
  default_transaction_isolation: 'serializable',
  default_transaction_read_only: 'on',
  default_transaction_deferrable: 'on',
  standard_conforming_strings: 'off',
  quote_all_identifiers: 'on',
  row_security: 'off',
  array_nulls: 'off',
  transform_null_equals: 'on',
  bytea_output: 'escape',
  extra_float_digits: '-10',
  datestyle: 'German',
  intervalstyle: 'sql_standard',
  statement_timeout: '0',
} as const;

const admin = postgres(inject('postgresUrl'), { max: 1, onnotice: () => undefined });
const made: string[] = [];
afterAll(async () => {
  for (const name of made) await admin`drop database if exists ${admin(name)} with (force)`;
  await admin.end();
});

async function newDatabase(options = ''): Promise<string> {
  const name = `s_${randomBytes(4).toString('hex')}`;
  await admin.unsafe(`create database ${name} template template0 ${options}`);
  made.push(name);
  const url = new URL(inject('postgresUrl'));
  url.pathname = name;
  return url.href;
}

async function setAll(sql: postgres.Sql, what: string): Promise<void> {
  for (const [name, value] of Object.entries(HOSTILE)) {
    await sql.unsafe(`alter ${what} set ${name} = '${value}'`);
  }
}

test('whatever a database sets for its sessions, migrate sets it up', async () => {
  const url = await newDatabase();
  await setAll(admin, `database ${new URL(url).pathname.slice(1)}`);
  const { applied } = await migrate({ databaseUrl: url });
  expect(applied).toContain('api');
  expect(await migrate({ databaseUrl: url })).toEqual({ applied: [] });
});

test('whatever a login is set to, a worker issues, and its sessions have their own settings', async () => {
  const world = await faultyWorld();
  const { role, url } = await world.database.login('acme_worker');
  await setAll(world.sql, `role ${role}`);
  await world.worker();
  const csr = await world.insert({ names: [freshName()] });
  await world.reach(csr, 'issued');

  const sql = await connectAnyhow({ databaseUrl: url, name: 'pgacme test', max: 1 });
  try {
    for (const [name, value] of Object.entries(HOSTILE)) {
      if (name === 'statement_timeout') continue;
      const [is] = await sql<[{ value: string }]>`select current_setting(${name}) as value`;
      expect(is.value, name).not.toBe(value);
    }
  } finally {
    await sql.end();
  }
});

for (const encoding of ['LATIN1', 'SQL_ASCII']) {
  test(`migrate says that a database in ${encoding} cannot be used, before it makes anything`, async () => {
    const url = await newDatabase(`encoding '${encoding}' locale 'C'`);
    await expect(migrate({ databaseUrl: url })).rejects.toMatchObject({
      code: 'ERR_ENCODING',
      message: expect.stringContaining(`has the encoding ${encoding}`) as string,
    });
    const sql = postgres(url, { max: 1 });
    expect(await sql`select from pg_namespace where nspname like 'acme%'`).toHaveLength(0);
    await sql.end();
  });
}
