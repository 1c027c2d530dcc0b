import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { ago, all, registerAccounts, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { freshName, pebbleWorld } from '../helpers/world.ts';
import { cli, linesOf } from './cli.ts';

test('status shows counts, what waits and why, accounts and workers, to acme_reader and acme_admin', async () => {
  const world = await pebbleWorld();
  const worker = await world.worker();
  const name = freshName();
  const issued = await world.insert({ names: [name, `www.${name}`] });
  await world.reach(issued, 'issued');
  const rejected = await world.insert({ names: ['10.0.0.1.example.org', 'localhost'] });
  await world.reach(rejected, 'rejected');
  await world.sql`select acme.pause('server', 'ca', E'moving \u001b[31mhouse')`;
  const waiting = await world.insert({ names: [freshName('waits'), freshName('xtra')] });
  await until(async () => (await world.status(waiting)).state === 'paused', { what: 'it waits' });

  for (const role of ['acme_reader', 'acme_admin']) {
    const { url } = await world.database.login(role);
    const { code, stdout, stderr } = await cli(['status'], { DATABASE_URL: url });
    expect({ role, code, stderr }).toEqual({ role, code: 0, stderr: '' });
    const lines = linesOf(stdout);
    expect(lines[0]).toMatch(
      new RegExp(`^pgacme \\S+, database ${world.database.name} at 127\\.0\\.0\\.1:\\d+$`),
    );
    expect(lines).toContain('CSRs: 3');
    for (const state of ['issued', 'rejected', 'paused']) {
      expect(lines).toContain(`  ${state.padEnd(8)}  1`);
    }
    expect(lines).toContain('Waiting: 1');
    const row = lines.find((line) => line.includes('waits-'));
    expect(row).toMatch(
      new RegExp(
        `^ +${waiting}  waits-\\S+ \\+1 +paused +- +The server ca is paused: moving \\[31mhouse$`,
      ),
    );
    expect(lines).toContain('Accounts: 1');
    expect(stdout).toMatch(/^ {2}main \(default\) +ca +valid$/m);
    expect(lines).toContain('Workers: 1');
    expect(stdout).toMatch(
      new RegExp(`^ +${worker.id}  \\S+ +${process.pid}  \\S+ +running  \\d+ s ago$`, 'm'),
    );
    // Columns begin where their headings do.
    const heading = lines.find((line) => line.includes('NEXT TRY')) ?? '';
    expect(row?.indexOf('paused')).toBe(heading.indexOf('STATE'));
    expect(stdout).not.toContain('\u001b');
    expect(stdout).not.toContain(new URL(url).password);
  }
});

test('status of an empty database says what is missing', async () => {
  const database = await freshDatabase();
  const { url } = await database.login('acme_reader');
  const { code, stdout } = await cli(['status'], { DATABASE_URL: url });
  expect(code).toBe(0);
  expect(linesOf(stdout).slice(1)).toEqual([
    '',
    'Attention: none',
    '',
    'CSRs: 0',
    '',
    'Accounts: 0',
    '  none: csrs wait until one is inserted into acme.account',
    '',
    'Workers: 0',
    '  none: nothing is done until one runs (pgacme worker)',
  ]);
});

test('of many that wait the first twenty are listed', async () => {
  const database = await freshDatabase();
  const pems = await Promise.all(
    Array.from({ length: 23 }, async () => (await makeCsr({ names: [freshName()] })).pem),
  );
  await database.sql`insert into acme.csr (pem) select unnest(${pems}::text[])`;
  const { stdout } = await cli(['status'], { DATABASE_URL: database.url });
  expect(stdout).toContain('\nWaiting: 23, the first 20 of them\n');
  expect(stdout.match(/\(not read yet\)/g)).toHaveLength(20);
});

test('what is stuck needs attention, with what to do', async () => {
  const database = await freshDatabase();
  const { sql } = database;
  await sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
  await sql`insert into acme.account (name, server) values ('main', 'ca')`;
  const { pem } = await makeCsr({ names: [freshName()] });
  await sql`insert into acme.csr (pem) values (${pem})`;
  await set(sql, 'csr', all, { updated_at: ago('3 minutes') });
  const { url } = await database.login('acme_reader');
  const { stdout } = await cli(['status'], { DATABASE_URL: url });
  expect(stdout).toMatch(
    /\n\nAttention: 1 warning\n {2}warning {3}csr 1: csr 1: It is due, and no worker has taken it\. .*\n {12}See acme\.stuck .*\n\nCSRs: 1\n/,
  );
});

test('of many accounts twenty are listed: the default one, then those that cannot order', async () => {
  const { sql, url } = await freshDatabase();
  await sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
  await sql`insert into acme.account (name, server) values ('main', 'ca')`;
  await sql`insert into acme.account (name, server) select 'a-' || i, 'ca' from generate_series(1, 21) i`;
  await sql`insert into acme.account (name, server) values ('z', 'ca')`;
  const rows = await sql<{ id: string }[]>`select id from acme.account where name <> 'z'`;
  await registerAccounts(
    sql,
    rows.map(({ id }) => id),
  );
  const { stdout } = await cli(['status'], { DATABASE_URL: url });
  const lines = linesOf(stdout);
  const at = lines.indexOf('Accounts: 23, the first 20 of them');
  expect(lines.slice(at + 1, at + 5).map((line) => line.trim().split(/ {2,}/)[0])).toEqual([
    'NAME',
    'main (default)',
    'z',
    'a-1',
  ]);
  expect(lines.slice(at).filter((line) => line.includes(' ca '))).toHaveLength(20);
});
