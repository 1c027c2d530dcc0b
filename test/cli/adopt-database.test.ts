import { expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import {
  ago,
  frozenCopy,
  putInState,
  registerDefaultAccount,
  renewalDue,
} from '../helpers/state/index.ts';
import { cli, linesOf } from './cli.ts';

test('adopt-database says what differs, and the second time that there is nothing to do', async () => {
  const { name, sql, url } = await freshDatabase();
  await frozenCopy(sql, { database_name: 'original', environment: 'production' });
  const head = `Database ${name} at 127.0.0.1:${new URL(url).port}, as user postgres`;
  const first = await cli(['adopt-database'], { DATABASE_URL: url });
  expect(first).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(first.stdout).map((line) => line.trim().split(/ {2,}/))).toEqual([
    [head],
    ['SET UP AS', 'IS NOW'],
    ['database', 'original', name],
    ['PGACME_ENVIRONMENT', 'production', '(none)'],
    ['Adopted: workers with this PGACME_ENVIRONMENT go on here, with what was under way.'],
  ]);
  const second = await cli(['adopt-database'], { DATABASE_URL: url });
  expect(second).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(second.stdout)).toEqual([
    head,
    'Nothing to do: it is the database that was set up, and not held.',
  ]);
  expect(await sql`select acme_private.hold() as hold`).toEqual([{ hold: null }]);
  expect(await sql`select count(*)::int from acme.event where event = 'database_adopted'`).toEqual([
    { count: 1 },
  ]);
  expect(await sql`select task_identifier from acme_worker.jobs`).toEqual([
    { task_identifier: 'dispatch' },
  ]);
});

test('adopt-database --restored does its work where nothing differs, and says what applies', async () => {
  const { name, sql, url } = await freshDatabase();
  const head = `Database ${name} at 127.0.0.1:${new URL(url).port}, as user postgres`;
  const epoch = async () => {
    const [row] = await sql<[{ epoch: string }]>`select epoch from acme_private.epoch`;
    return Number(row.epoch);
  };
  const before = await epoch();
  await sql`insert into acme.account (name, server) values ('main', 'letsencrypt')`;
  const empty = await cli(['adopt-database', '--restored'], { DATABASE_URL: url });
  expect(empty).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(empty.stdout)).toEqual([
    head,
    'Adopted as restored from a backup: workers with this PGACME_ENVIRONMENT go on here.',
    '  New rows get ids from 1000000 further on; events belong to a new epoch.',
    'What this database cannot know of the time after the backup, its last event:',
    '  CSRs that were inserted since: insert them again.',
  ]);
  expect(await epoch()).toBeGreaterThan(before);
  await registerDefaultAccount(sql);
  const [csr] = await sql<[{ id: string }]>`
    insert into acme.csr (pem) values (${pemShapedLikeCsr()}) returning id`;
  expect(Number(csr.id)).toBeGreaterThan(1_000_000);
  await putInState(sql, csr.id, 'issued');
  await renewalDue(sql, csr.id, ago('1 day'));
  const again = await cli(['adopt-database', '--restored'], { DATABASE_URL: url });
  expect(again).toMatchObject({ code: 0, stderr: '' });
  const lines = linesOf(again.stdout);
  expect(lines[3]).toBe('  Accounts that a worker looks up at their servers before they order: 1');
  expect(lines[4]).toBe('  Renewals that were due, spread over up to 6 hours: 1');
  expect(lines[5]).toMatch(
    /^What this database cannot know of the time after \d{4}-.*, its last event:$/,
  );
  expect(lines.slice(6).map((line) => line.trim().split(/:| at /)[0])).toEqual([
    'CSRs that were inserted since',
    'CSRs that were cancelled since',
    'Certificates issued since',
    'Revocations that were asked for since',
    'Account keys that were rolled over since',
    'Contacts that were changed since',
  ]);
  expect(
    await sql`
      select state, reason_code, has_pending_change from acme.account_status where name = 'main'`,
  ).toEqual([{ state: 'valid', reason_code: 'database_restored', has_pending_change: true }]);
  // Every id that an application can have stored.
  const sequences = await sql`
    select schemaname, sequencename from pg_sequences
     where schemaname in ('acme', 'acme_private') and last_value < 1000000`;
  expect(sequences).toEqual([]);
  expect(await sql`select count(*)::int from acme.event where event = 'database_restored'`).toEqual(
    [{ count: 2 }],
  );
});

test('nobody adopts a database but who is a member of acme_owner', async () => {
  const database = await freshDatabase();
  await frozenCopy(database.sql);
  for (const role of ['acme_worker', 'acme_admin', 'acme_app']) {
    const login = await database.login(role);
    const { code, stdout, stderr } = await cli(['adopt-database'], { DATABASE_URL: login.url });
    expect(code, role).toBe(1);
    expect(linesOf(stdout)).toHaveLength(1);
    expect(stderr).toContain(`let an administrator run: grant acme_owner to "${login.role}";`);
    const sql = await database.as(role);
    for (const adopt of ['adopt_database', 'adopt_restored', 'raise_epoch']) {
      const args = adopt === 'raise_epoch' ? '' : 'null';
      const direct = await sql
        .unsafe(`select acme_private.${adopt}(${args})`)
        .catch((error: unknown) => error);
      expect(direct, adopt).toMatchObject({ code: '42501' });
    }
  }
  const owner = await database.login('acme_owner');
  expect(await cli(['adopt-database'], { DATABASE_URL: owner.url })).toMatchObject({ code: 0 });
});

test('a database without pgacme is sent to pgacme migrate', async () => {
  const { sql, url } = await freshDatabase();
  await sql`drop schema acme, acme_private cascade`;
  const { code, stderr } = await cli(['adopt-database'], { DATABASE_URL: url });
  expect(code).toBe(1);
  expect(stderr).toContain('Run pgacme migrate, then adopt it.');
});
