import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { difference } from '../../../src/cli/doctor/clocks.ts';
import { freePort } from '../../../src/local/ports.ts';
import { makeTlsCertificate } from '../../../src/x509/index.ts';
import { type RawCa, rawCa } from '../../acme/helpers/raw-ca.ts';
import { pemShapedLikeCsr } from '../../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../../helpers/postgres.ts';
import { add, ago, frozenCopy, set, workerRow } from '../../helpers/state/index.ts';
import { until } from '../../helpers/until.ts';
import { faultyWorld } from '../../helpers/world.ts';
import { findings, of, problems } from './findings.ts';

const KEY = randomBytes(32).toString('base64');

const envOf = async (database: FreshDatabase) => ({
  DATABASE_URL: (await database.login('acme_worker')).url,
  PGACME_SECRET_KEY: KEY,
});

/** An account at a server of this test. */
async function accountAt(database: FreshDatabase, ca: RawCa, bundle: string | null): Promise<void> {
  const { sql } = database;
  await sql`insert into acme.server (name, directory_url, ca_bundle) values ('ca', ${`${ca.url}/dir`}, ${bundle})`;
  await sql`insert into acme.account (name, server) values ('main', 'ca')`;
}

test('what is wrong with the environment is told at once, and the database is looked at all the same', async () => {
  const env = await envOf(await freshDatabase());
  const lines = await findings({ ...env, PGACME_SECRET_KEY: 'c2hvcnQ=', PGACME_CONCURRENCY: '0' });
  expect(problems(lines)).toEqual([
    'Environment: problem: PGACME_SECRET_KEY must be 32 bytes in base64; make one with: openssl rand -base64 32',
    'Environment: problem: PGACME_CONCURRENCY must be a whole number from 1 to 1000.',
  ]);
  expect(lines.join()).toContain('Migrations: ok');
  const without = await findings({ DATABASE_URL: env.DATABASE_URL });
  expect(problems(without).join()).toContain('Secret key: problem: PGACME_SECRET_KEY is not set');
  expect(problems(await findings({ DATABASE_URL: 'mysql://a:hunter2@b/c' })).join()).not.toContain(
    'hunter2',
  );
});

test('a database that is away hides nothing that can be looked at without it', async () => {
  const port = await freePort();
  const other = createServer((_, response) => response.writeHead(404).end('Not found'));
  other.listen(0, '127.0.0.1');
  onTestFinished(() => void other.close());
  await until(() => other.listening, { what: 'it listens' });
  const taken = (other.address() as { port: number }).port;
  const lines = await findings({
    DATABASE_URL: `postgres://app:hunter2@127.0.0.1:${port}/shop`,
    PGACME_SECRET_KEY: KEY,
    PGACME_HTTP01_LISTEN: `127.0.0.1:${taken}`,
  });
  expect(problems(lines)).toEqual([
    `Database: problem: No PostgreSQL answers at 127.0.0.1:${port}; check that it runs and listens there, and host and port in DATABASE_URL.`,
    `Listen addresses: problem: PGACME_HTTP01_LISTEN (127.0.0.1:${taken}) is taken by another program. End that, or give the worker another port and have the web server pass /.well-known/acme-challenge/ on to it.`,
  ]);
  expect(lines.join()).not.toContain('hunter2');
});

test('an address that is free, and one that is no address of this machine', async () => {
  const DATABASE_URL = `postgres://app@127.0.0.1:${await freePort()}/shop`;
  const free = `127.0.0.1:${await freePort()}`;
  const lines = await findings({ DATABASE_URL, PGACME_HTTP01_LISTEN: free });
  expect(lines.join()).toContain(`PGACME_HTTP01_LISTEN (${free}) is free`);
  const away = await findings({ DATABASE_URL, PGACME_HTTP01_LISTEN: '192.0.2.1:8080' });
  expect(problems(away).join()).toContain('(192.0.2.1:8080) is no address of this machine');
});

test('a copy of the database, and a worker of another environment', async () => {
  const database = await freshDatabase();
  const env = await envOf(database);
  const staging = problems(await findings({ ...env, PGACME_ENVIRONMENT: 'staging' }));
  expect(staging.join()).toContain(
    'PostgreSQL: problem: PGACME_ENVIRONMENT is staging here, and the database was set up without one: a worker from here gets no work.',
  );
  await frozenCopy(database.sql);
  expect(problems(await findings(env)).join()).toMatch(
    /PostgreSQL: problem: The database is held as a copy: it was set up under the name original .*adopt-database/,
  );
});

test('migrations, functions and the queue are held against the files of this version', async () => {
  const database = await freshDatabase();
  const { sql } = database;
  for (const name of ['tables', 'api']) await set(sql, 'migration', { name }, { sha256: 'other' });
  await add(sql, 'migration', { name: '999999_later.sql', sha256: 'x' });
  await sql`delete from acme_worker._private_tasks where identifier = 'tidy'`;
  await sql`delete from acme_worker.migrations where id = (select max(id) from acme_worker.migrations)`;
  await sql`select setval(pg_get_serial_sequence('acme_worker._private_tasks', 'id'), 2100000000)`;
  const lines = problems(await findings(await envOf(database)));
  expect(lines).toHaveLength(6);
  const text = lines.join('\n');
  expect(text).toContain('tables has changed since it ran here.');
  expect(text).toContain('migrated by a newer pgacme (999999_later.sql)');
  expect(text).toContain("Functions, views and grants are another version's.");
  expect(text).toContain("The queue's schema acme_worker is of an older version.");
  expect(text).toContain('does not know the task tidy');
  // What it says to run mends it.
  const cure = /has used 97 % .* run: (alter table .*;)$/m.exec(text)?.[1];
  await sql.begin(async (tx) => {
    await tx`set local role acme_owner`;
    await tx.unsafe(cure ?? '');
  });
  expect(problems(await findings(await envOf(database))).join()).not.toContain('has used');
});

test('a database without pgacme, and a login that is no worker', async () => {
  const database = await freshDatabase();
  const { url, role } = await database.login('acme_app');
  const lines = problems(await findings({ DATABASE_URL: url, PGACME_SECRET_KEY: KEY }));
  expect(lines.join('\n')).toContain(`grant acme_worker to "${role}";`);
  await database.sql`drop schema acme, acme_private, acme_worker cascade`;
  const bare = problems(await findings({ DATABASE_URL: database.url, PGACME_SECRET_KEY: KEY }));
  expect(bare.join('\n')).toContain('run pgacme migrate');
});

test('a secret key that does not open the key of an account names the account, and neither key', async () => {
  const world = await faultyWorld();
  await world.worker();
  await until(
    async () => (await world.sql`select from acme.account_status where state = 'valid'`).length > 0,
    { what: 'the account is registered' },
  );
  const env = await envOf(world.database);
  const wrong = problems(await findings(env));
  expect(wrong.join('\n')).toMatch(
    /^Secret key: problem: It does not open the key of account main: .* \(id \S+, this one has \S+\)/m,
  );
  expect(wrong.join('\n')).not.toContain(world.secretKey);
  expect(wrong.join('\n')).not.toContain(KEY);
});

test('a CA that is not trusted, one of another name, and one that is away are told apart', async () => {
  const database = await freshDatabase();
  const { sql } = database;
  const ca = await rawCa();
  await accountAt(database, ca, null);
  const env = await envOf(database);
  const told = async () => problems(await findings(env)).filter((line) => /^ACME/.test(line));
  expect((await told()).join()).toContain('put its root into acme.server.ca_bundle');
  const { certPem } = await makeTlsCertificate({ names: ['other.example'], ips: [] });
  await sql`update acme.server set ca_bundle = ${certPem} where name = 'ca'`;
  expect((await told()).join()).toContain('comes from none of the CAs in acme.server.ca_bundle');
  await sql`update acme.server set ca_bundle = ${ca.pem} where name = 'ca'`;
  expect(await told()).toEqual([]);
  for (const [name, url] of [
    ['named', `https://localhost:${ca.host.split(':')[1] ?? ''}/dir`],
    ['away', `https://127.0.0.1:${await freePort()}/dir`],
  ] as const) {
    await sql`insert into acme.server (name, directory_url, ca_bundle) values (${name}, ${url}, ${ca.pem})`;
    await sql`insert into acme.account (name, server) values (${name}, ${name})`;
  }
  const [named, away, ...more] = await told();
  expect(named).toMatch(/named: the TLS certificate of .* is for another name/);
  expect(away).toMatch(/away: .*ECONNREFUSED/);
  expect(more).toEqual([]);
});

test('clocks that differ from the CA: by 10 s a warning, by 60 s a problem', async () => {
  const database = await freshDatabase();
  const ca = await rawCa();
  await accountAt(database, ca, ca.pem);
  const directory = ca.on['/dir'];
  const env = await envOf(database);
  for (const [ms, level] of [
    [30_000, 'warning'],
    [-300_000, 'problem'],
  ] as const) {
    ca.on['/dir'] = (request, response) => {
      response.setHeader('date', new Date(Date.now() + ms).toUTCString());
      directory?.(request, response);
    };
    const clocks = (await findings(env)).filter((line) => line.startsWith('Clocks: '));
    expect(clocks).toHaveLength(2);
    for (const line of clocks) {
      expect(line).toMatch(
        new RegExp(`^Clocks: ${level}: The clock of (this machine|the database)`),
      );
      expect(line).toContain(ms > 0 ? 'behind that of ca' : 'ahead of that of ca');
    }
  }
  expect(difference('It', 9_000, 'other')).toEqual([]);
});

test('workers: one that was killed is named, and csrs that nobody works on are a problem', async () => {
  const database = await freshDatabase();
  const { sql } = database;
  const ca = await rawCa();
  await accountAt(database, ca, ca.pem);
  await workerRow(sql, 'alpha', {
    pid: 4711,
    version: '0.1.0',
    concurrency: 10,
    heartbeat_at: ago('5 minutes'),
  });
  await sql`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
  const lines = await findings(await envOf(database));
  expect(problems(lines)).toEqual([
    'Workers: problem: None runs, and 1 csr waits for one. Start one: pgacme worker',
  ]);
  const lost = of('warning', lines).join('\n');
  expect(lost).toMatch(
    /Worker \d+ \(alpha, process 4711\) ended without signing out 3\d\d s ago\./,
  );
  expect(lost).toContain('Account main is new: no worker has registered it yet.');
});
