import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { startPostgres } from '../../src/local/postgres.ts';
import { databaseOn } from '../helpers/own-database.ts';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { type SmallDisk, smallDisk } from '../helpers/small-disk.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import { expectOneCertificateEach, insertWithKey, whileItRuns } from './certificates.ts';
import { type CrashWorld, crashWorlds } from './crash-world.ts';

const WAIT_MS = 240_000;
const newWorld = crashWorlds();

test('a full disk of PostgreSQL ends in waiting, not in loss', async ({ skip }) => {
  const disk = await smallDisk(256);
  if (typeof disk === 'string') {
    process.stdout.write(`The test of a full disk is skipped: ${disk}.\n`);
    return skip(disk);
  }
  const server = await postgresOn(disk);
  const world = await newWorld(await server.database());
  const worker = world.spawn({ concurrency: 8 });
  const first = await insertWithKey(world, [freshName()]);
  await world.reach(first.id, 'issued', WAIT_MS);

  let deliver = () => undefined as void;
  const delivered = new Promise<void>((resolve) => (deliver = resolve));
  world.proxy.holdAnswers(
    ({ kind }) => kind === 'finalize',
    () => delivered,
  );
  const csrs = [first];
  for (let i = 0; i < 8; i++) csrs.push(await insertWithKey(world, [freshName()]));
  await until(() => count(world, 'finalize') > 8, {
    what: 'all orders are finalized',
    timeoutMs: WAIT_MS,
  });
  await refusedInsert(world, disk);
  deliver();
  await until(() => worker.lines.some((line) => line.includes('No space left on device')), {
    what: 'the worker cannot store what it got',
    timeoutMs: WAIT_MS,
  });
  await fillTheLog(world, disk, server.log);

  await disk.makeRoom();
  await server.keepUp();
  for (const { id } of csrs) await whileItRuns(worker, world.reach(id, 'issued', WAIT_MS));
  const later = await insertWithKey(world, [freshName()]);
  await world.reach(later.id, 'issued', WAIT_MS);
  await expectOneCertificateEach(world, [...csrs, later]);
  const [rows] = await world.sql<[{ count: number }]>`select count(*)::int as count from acme.csr`;
  expect(rows.count).toBe(csrs.length + 1);
  const finalized = world.proxy.records.filter(
    ({ kind, status }) => kind === 'finalize' && status === 200,
  );
  expect(finalized).toHaveLength(csrs.length + 1);
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
}, 900_000);

function count({ proxy }: CrashWorld, kind: string): number {
  return proxy.records.filter((one) => one.kind === kind && one.answeredAt !== undefined).length;
}

/** An application's INSERT for which there is no room: PostgreSQL's own error, and nothing of it stays. */
async function refusedInsert({ sql }: CrashWorld, disk: SmallDisk): Promise<void> {
  const rows = Array.from({ length: 3000 }, () => ({ pem: pemShapedLikeCsr() }));
  await disk.fill();
  const refusal: unknown = await sql`insert into acme.csr ${sql(rows)}`.catch(
    (error: unknown) => error,
  );
  expect(refusal).toBeInstanceOf(postgres.PostgresError);
  expect(refusal).toMatchObject({ code: '53100' });
}

/**
 * No room for a new segment of the write-ahead log either: PostgreSQL itself ends, with PANIC. What a
 * client sees of it (that, or one of several errors of a cut connection) depends on the moment.
 */
async function fillTheLog(
  { database }: CrashWorld,
  disk: SmallDisk,
  log: readonly string[],
): Promise<void> {
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
  try {
    for (let segment = 0; segment < 40; segment++) {
      await disk.fill();
      await sql`select pg_logical_emit_message(true, 'full-disk', 'another segment')`;
      await sql`select pg_switch_wal()`;
    }
  } catch {
    await until(() => log.some((line) => line.includes('PANIC')), {
      what: 'PostgreSQL ends with PANIC',
      timeoutMs: WAIT_MS,
    });
    return;
  } finally {
    await sql.end({ timeout: 1 });
  }
  throw new Error('PostgreSQL wrote 40 segments to a disk that is full.');
}

/** PostgreSQL whose files are on that disk. keepUp: starts it again if it ended, as systemd would. */
async function postgresOn(disk: SmallDisk) {
  const bin = process.env['PGACME_TEST_PG_BIN'];
  const log: string[] = [];
  const options = {
    log: (line: string) => log.push(line),
    dir: join(disk.dir, 'postgres'),
    persistent: true,
    settings: {
      fsync: 'off',
      shared_buffers: '16MB',
      min_wal_size: '32MB',
      max_wal_size: '64MB',
    },
    ...(bin === undefined || bin === '' ? {} : { postgresBin: bin }),
  };
  let server = await startPostgres(options);
  onTestFinished(() => server.stop());
  const { port } = server;
  const password = (await readFile(join(options.dir, 'password'), 'utf8')).trim();
  return {
    log,
    async database() {
      const database = await databaseOn({ hosts: `127.0.0.1:${port}`, password });
      await migrate({ databaseUrl: database.url });
      return database;
    },
    async keepUp() {
      await until(
        async () => {
          if (server.exit() !== undefined) {
            await server.stop();
            server = await startPostgres({ ...options, port });
          }
          const sql = postgres(server.url, { max: 1 });
          const isUp = await sql`select 1`.then(
            () => true,
            () => false,
          );
          await sql.end({ timeout: 1 });
          return isUp;
        },
        { what: 'PostgreSQL is up again', timeoutMs: WAIT_MS, everyMs: 200 },
      );
    },
  };
}
