import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { type Cluster, ownCluster } from '../helpers/cluster.ts';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { add, ago } from '../helpers/state/index.ts';

// What belongs to a whole cluster: its prepared transactions, and its queue of notifications, which is a small one here.

let cluster: Cluster;
let sql: postgres.Sql;
let reader: postgres.Sql;
/** Sessions that a test leaves open. */
const open: postgres.Sql[] = [];
/** Whether the size of the queue can be set; it has 8 GB else. */
let isQueueSmall: boolean;

interface Row {
  severity: string;
  code: string;
  sentence: string;
  what_to_do: string;
}

beforeAll(async () => {
  const [version] = await (
    await freshDatabase()
  ).sql<[{ number: number }]>`
    select current_setting('server_version_num')::int as number`;
  isQueueSmall = version.number >= 170_000;
  cluster = await ownCluster({
    settings: {
      fsync: 'off',
      max_prepared_transactions: '5',
      ...(isQueueSmall ? { max_notify_queue_pages: '64' } : {}),
    },
  });
  const url = await cluster.database(undefined, 'd_attention');
  sql = cluster.connect(url);
  await migrate({ databaseUrl: url });
  await sql`grant pg_read_all_stats to acme_owner`;
  const login = await cluster.login('watcher', 'in role acme_reader');
  reader = cluster.connect(cluster.as(url, login));
  open.push(...[1, 2].map(() => postgres(url, { max: 1, onnotice: () => undefined })));
});
afterAll(() => Promise.all(open.map((one) => one.end({ timeout: 1 }))));

const rows = () => reader<Row[]>`
  select severity, code, sentence, what_to_do from acme.attention
   where code in ('changes_frozen', 'notify_queue_filling')`;

test('a prepared transaction that freezes acme.changes is named, with the statement that ends it', async () => {
  const [session] = open;
  if (session === undefined) throw new Error('there is no session');
  await session`begin`;
  await session`select pg_current_xact_id()`;
  await session`prepare transaction 'left over'`;
  await sql`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
  await add(sql, 'event', { event: 'issued', at: ago('10 minutes') });
  const [row, ...others] = await rows();
  expect(others).toEqual([]);
  expect(row).toMatchObject({
    severity: 'warning',
    code: 'changes_frozen',
    what_to_do: "In database d_attention: rollback prepared 'left over';",
  });
  expect(row?.sentence).toMatch(
    /^The prepared transaction 'left over' of \w+ in database d_attention has not ended, and acme\.changes has held back all events since \d{4}-/,
  );
  await sql.unsafe((row?.what_to_do ?? '').replace(/^.*: /, ''));
  expect(await rows()).toEqual([]);
});

test('a session that listens in an open transaction, while the queue of notifications fills, is named', async () => {
  if (!isQueueSmall) {
    process.stdout.write('Up to PostgreSQL 16 the queue of notifications has 8 GB: not filled.\n');
    return;
  }
  const [idle, listener] = open;
  if (idle === undefined || listener === undefined) throw new Error('there is no session');
  // It reads no notifications before its transaction ends.
  await listener.unsafe('listen acme');
  await listener.unsafe('begin');
  const [{ pid } = { pid: 0 }] = await listener<{ pid: number }[]>`select pg_backend_pid() as pid`;
  const notify = (count: number) =>
    sql`select pg_notify('acme', n || repeat('x', 7000)) from generate_series(1, ${count}::int) n`;
  expect(await rows()).toEqual([]);
  await notify(15);
  const [row, ...others] = await rows();
  expect(others).toEqual([]);
  expect(row).toMatchObject({
    severity: 'warning',
    code: 'notify_queue_filling',
    what_to_do: `As a superuser: select pg_terminate_backend(${pid});`,
  });
  expect(row?.sentence).toMatch(
    new RegExp(`is \\d+ % full; .* Process ${pid} \\(login \\w+\\) has had a transaction open`),
  );
  await notify(30);
  expect((await rows())[0]).toMatchObject({ severity: 'critical' });
  // Not for acme_owner to see: it says how to find it.
  await sql`revoke pg_read_all_stats from acme_owner`;
  const [blind] = await rows();
  expect(blind?.sentence).not.toContain('Process');
  expect(blind?.what_to_do).toMatch(/^Find the session that listens/);
  await sql`grant pg_read_all_stats to acme_owner`;
  await sql.unsafe((row?.what_to_do ?? '').replace(/^.*: /, ''));
  // The next notification empties it.
  await notify(1);
  expect(await rows()).toEqual([]);
});
