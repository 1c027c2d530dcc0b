import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import { startPostgres } from '../../src/local/postgres.ts';
import { run } from '../../src/local/run.ts';
import { cli } from '../cli/cli.ts';
import { dumpContract } from '../helpers/contract.ts';
import { oldVersion } from '../helpers/old-version.ts';
import { databaseOn } from '../helpers/own-database.ts';
import { type PgacmeProcess, spawnNode, spawnPgacme } from '../helpers/process.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import {
  expectOneCertificateEach,
  finalizedFor,
  type Inserted,
  insertWithKey,
} from './certificates.ts';
import { type CrashWorld, crashWorlds } from './crash-world.ts';

/** The last commit of contract 0.1. */
const BASELINE = '7bb38f6a33b5f44d100d6390f2c936d7af23d00f';
const WAIT_MS = 180_000;
const newWorld = crashWorlds();

test('a filled database of contract 0.1 is migrated under load, with workers of both versions running', async ({
  skip,
}) => {
  const old = await oldVersion(BASELINE);
  if ('reason' in old) {
    process.stdout.write(`The upgrade test is skipped: ${old.reason}.\n`);
    return skip(old.reason);
  }
  const server = await serverAddress();
  const database = await databaseOn(server);
  await succeed(old.cli, database.url);
  const world = await newWorld(database);
  const { url } = await database.login('acme_worker');
  const env = { DATABASE_URL: url, PGACME_SECRET_KEY: world.secretKey, PGACME_CONCURRENCY: '3' };
  const before = spawnNode([old.cli, 'worker'], env);
  const oldId = await idOf(before);
  const filled = await fill(world);

  const load = new Load(world);
  const newcomers = [spawnPgacme(['worker'], env), spawnPgacme(['worker'], env)];
  for (const one of newcomers) {
    await one.waitForLine(/The database speaks version 0\.1 of the SQL contract/, WAIT_MS);
  }
  await load.grownBy(3);
  const migrated = await cli(['migrate'], { DATABASE_URL: database.url });
  expect(migrated, migrated.stderr).toMatchObject({ code: 0 });
  const [at] = await world.sql<[{ event: string }]>`select max(id)::text as event from acme.event`;
  const newIds = await Promise.all(newcomers.map(idOf));
  // Those of both versions go on with orders that are made from now on.
  for (const worker of [oldId, ...newIds]) {
    await until(
      () =>
        world.sql`
        select from acme.event where worker_id = ${worker} and event = 'order_created' and id > ${at.event}`.then(
          (rows) => rows.length > 0,
        ),
      { what: `worker ${worker} makes an order`, timeoutMs: WAIT_MS, everyMs: 200 },
    );
  }
  await load.end();
  for (const { id } of load.csrs) await world.reach(id, 'issued', WAIT_MS);
  await finish(world, filled);

  expect(await before.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  const later = await insertWithKey(world, [freshName('later')]);
  await world.reach(later.id, 'issued', WAIT_MS);
  const again = await run(process.execPath, [old.cli, 'worker'], {
    env: { ...process.env, ...env },
  });
  expect(again.code).toBe(1);
  expect(again.stderr).toMatch(
    /The database speaks version \S+ and this worker 0\.1\. Run pgacme migrate/,
  );
  for (const one of newcomers) {
    expect(await one.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  }

  const once = [
    ...filled.issued,
    filled.manual,
    filled.retrying,
    filled.queued,
    ...load.csrs,
    later,
  ];
  await expectOneCertificateEach(world, once);
  for (const { names } of once) expect(finalizedFor(world, names), names.join()).toBe(1);
  expect(finalizedFor(world, filled.renewing.names)).toBe(2);
  const fresh = await databaseOn(server);
  await migrate({ databaseUrl: fresh.url });
  expect(await dumpContract(world.sql)).toBe(await dumpContract(fresh.sql));
}, 1_200_000);

interface Filled {
  issued: Inserted[];
  /** Waits until somebody has published its challenge. */
  manual: Inserted;
  retrying: Inserted;
  /** Is to be renewed when its account is no longer paused. */
  renewing: Inserted;
  queued: Inserted;
}

/** What the old worker leaves in the database. */
async function fill(world: CrashWorld): Promise<Filled> {
  const { sql } = world;
  await sql`
    insert into acme.account (name, server, contact, terms_agreed)
    values ('other', 'ca', '{mailto:ops@example.org}', true)`;
  await sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{none.example.org}')`;
  const issued: Inserted[] = [];
  for (let i = 0; i < 3; i++) issued.push(await insertWithKey(world, [freshName('issued')]));
  const renewing = await insertWithKey(world, [freshName('renewing')], { account: 'other' });
  for (const { id } of [...issued, renewing]) await world.reach(id, 'issued', WAIT_MS);

  await sql`select acme.pause('account', 'other', 'an upgrade')`;
  await sql`select acme.renew(${renewing.id})`;
  const queued = await insertWithKey(world, [freshName('queued')], { account: 'other' });
  const manual = await insertWithKey(world, [freshName('manual')], { solver: 'by-hand' });
  const unreachable = freshName('retrying');
  await world.pebble.dns.setA(unreachable, ['127.0.0.2']);
  const retrying = await insertWithKey(world, [unreachable]);
  await world.reach(retrying.id, 'retrying', WAIT_MS);
  for (const { id } of [renewing, queued]) await world.reach(id, 'paused', WAIT_MS);
  await until(
    async () => (await world.status(manual.id)).reason_code === 'waiting_for_publication',
    {
      what: 'an order waits for a person',
      timeoutMs: WAIT_MS,
    },
  );
  return { issued, manual, retrying, renewing, queued };
}

/** What they were waiting for comes about. */
async function finish(world: CrashWorld, filled: Filled): Promise<void> {
  const { sql } = world;
  await sql`select acme.challenge_published(id) from acme.challenge_todo where action = 'publish'`;
  await world.pebble.dns.clearA(filled.retrying.names[0] ?? '');
  await sql`select acme.retry(${filled.retrying.id})`;
  await sql`select acme.resume('account', 'other')`;
  for (const csr of [filled.manual, filled.retrying, filled.queued, filled.renewing]) {
    await world.reach(csr.id, 'issued', WAIT_MS);
  }
  await until(
    () =>
      sql`select from acme.certificate where csr_id = ${filled.renewing.id}`.then(
        (rows) => rows.length === 2,
      ),
    { what: 'it is renewed', timeoutMs: WAIT_MS },
  );
}

/** CSRs that come all the time: the next one when the one before the last has its certificate. */
class Load {
  readonly #world: CrashWorld;
  readonly #ended: Promise<void>;
  #isEnding = false;
  readonly csrs: Inserted[] = [];

  constructor(world: CrashWorld) {
    this.#world = world;
    this.#ended = this.#go();
  }

  async #go(): Promise<void> {
    while (!this.#isEnding) {
      this.csrs.push(await insertWithKey(this.#world, [freshName('load')]));
      const before = this.csrs.at(-4);
      if (before !== undefined) await this.#world.reach(before.id, 'issued', WAIT_MS);
    }
  }

  async grownBy(count: number): Promise<void> {
    const wanted = this.csrs.length + count;
    await until(() => this.csrs.length >= wanted, { what: 'more came', timeoutMs: WAIT_MS });
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#ended;
  }
}

/** A worker's id, once it works. */
async function idOf(worker: PgacmeProcess): Promise<number> {
  const line = await worker.waitForLine(/"worker":(\d+).*"msg":"worker started"/, WAIT_MS);
  return Number(line[1]);
}

async function succeed(program: string, databaseUrl: string): Promise<void> {
  const migrated = await run(process.execPath, [program, 'migrate'], {
    env: { ...process.env, DATABASE_URL: databaseUrl },
  });
  if (migrated.code !== 0) throw new Error(migrated.stderr);
}

/** A PostgreSQL of its own, since the roles of both versions would mix with those of other tests. */
async function serverAddress() {
  const bin = process.env['PGACME_TEST_PG_BIN'];
  const dir = await testFolder('upgrade');
  const server = await startPostgres({
    dir,
    persistent: true,
    settings: { fsync: 'off', full_page_writes: 'off' },
    ...(bin === undefined || bin === '' ? {} : { postgresBin: bin }),
  });
  onTestFinished(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });
  const password = (await readFile(join(dir, 'password'), 'utf8')).trim();
  return { hosts: `127.0.0.1:${server.port}`, password };
}
