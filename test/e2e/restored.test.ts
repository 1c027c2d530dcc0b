import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { removeFolder } from '../../src/local/os-user.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { cli, linesOf } from '../cli/cli.ts';
import { valid } from '../helpers/account.ts';
import { clone } from '../helpers/copied.ts';
import { ago, ahead, all, renewalDue, set } from '../helpers/state/index.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World, worldOf } from '../helpers/world.ts';

/** A backup of a world's database: the world as it is when that is restored. */
async function backup(
  world: World,
  { httpPort }: { httpPort: number },
): Promise<World & { url: string }> {
  const copy = await clone(world.database.name);
  const { url } = copy;
  const sql = postgres(url, { max: 2, onnotice: () => undefined });
  // What is said last is done first: the workers, the pool, the database.
  onTestFinished(() => copy.drop());
  onTestFinished(() => sql.end({ timeout: 1 }));
  const workerUrl = () => Promise.resolve(url);
  return { ...worldOf({ ...world, sql, httpPort, workerUrl }), url };
}

function run({ secretKey }: World, url: string, ...args: string[]) {
  return cli(args, { DATABASE_URL: url, PGACME_SECRET_KEY: secretKey });
}

async function adoptRestored(world: World, url: string): Promise<string> {
  const { code, stdout, stderr } = await run(world, url, 'adopt-database', '--restored');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** The certificate that is served: its serial number. */
async function serialOf({ sql }: World, id: string): Promise<string | undefined> {
  const [row] = await sql<{ serial: string }[]>`
    select serial from acme.current_certificate where csr_id = ${id}`;
  return row?.serial;
}

/** The orders of an account as the server lists them. */
async function orders(world: World, url: string): Promise<string[][]> {
  const { code, stdout, stderr } = await run(world, url, 'account', 'orders', 'main');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return linesOf(stdout).map((line) => line.trim().split(/ {2,}/));
}

async function renew(world: World, id: string): Promise<void> {
  const before = await serialOf(world, id);
  await world.sql`select acme.renew(${id})`;
  await until(async () => (await serialOf(world, id)) !== before, {
    what: 'there is a new certificate',
    timeoutMs: 20_000,
  });
}

test('what was issued since the backup is taken from the list of orders, and nothing is ordered anew', async () => {
  const original = await pebbleWorld();
  const first = await original.worker();
  await valid(original);
  const names = [freshName(), freshName()];
  const renewed = await original.insert({ names });
  // The same names with another key: the order tells them apart by the certificate alone.
  const untouched = await original.insert({ names });
  await original.reach(renewed, 'issued');
  await original.reach(untouched, 'issued');
  await original.sql`select acme.pause('account', 'main', 'the backup comes now')`;
  const queued = await original.insert({ names: [freshName()] });
  await until(async () => (await original.status(queued)).reason_code === 'account_paused', {
    what: 'a csr waits',
  });
  await first.stop();
  const restored = await backup(original, original.pebble);

  const second = await original.worker();
  await original.sql`select acme.resume('account', 'main')`;
  await original.reach(queued, 'issued');
  await renew(original, renewed);
  // Which one is newer shows in seconds.
  await until(
    async () =>
      (
        await original.sql`
          select from acme.certificate
           where date_trunc('second', created_at) = date_trunc('second', now())`
      ).length === 0,
    { what: 'a second has passed' },
  );
  await renew(original, renewed);
  const lost = await original.insert({ names: [freshName()] });
  await original.reach(lost, 'issued');
  const current = await Promise.all(
    [renewed, untouched, queued].map((id) => serialOf(original, id)),
  );

  await second.stop();
  // Both of these became due while the database was away.
  await renewalDue(restored.sql, [renewed, untouched], ago('1 hour'));
  const said = await adoptRestored(restored, restored.url);
  const there = await orders(restored, restored.url);
  expect(there.at(-1)).toEqual(['6 orders']);
  expect(there.filter(([, status, , order]) => status === 'valid' && order === '-')).toHaveLength(
    4,
  );
  await restored.sql`select acme.resume('account', 'main')`;
  await restored.worker();
  await valid(restored);
  await until(
    async () =>
      (await restored.sql`select from acme.event where event = 'account_orders_read'`).length === 1,
    { what: 'the list is read', timeoutMs: 20_000 },
  );
  for (const id of [renewed, untouched, queued]) {
    expect(await restored.status(id)).toMatchObject({ state: 'issued', reason_code: null });
  }
  expect(
    await Promise.all([renewed, untouched, queued].map((id) => serialOf(restored, id))),
  ).toEqual(current);
  expect(
    await restored.sql`select detail from acme.event where event = 'account_orders_read'`,
  ).toEqual([{ detail: { listed: 6, found: 3 } }]);
  // The certificate of the first renewal is one of the csr's as well; no order was made.
  expect(
    await restored.sql`
      select state, count(*)::int from acme.certificate where csr_id = ${renewed} group by 1 order by 1`,
  ).toEqual([
    { state: 'current', count: 1 },
    { state: 'superseded', count: 2 },
  ]);
  expect((await orders(restored, restored.url)).at(-1)).toEqual(['6 orders']);
  expect(
    await restored.sql`
      select certificate_id is not null as has, detail -> 'found' as found
        from acme.event where event = 'issued' and csr_id = ${queued}`,
  ).toEqual([{ has: true, found: true }]);
  // What is new cannot have the id of what was lost.
  const inserted = await restored.insert({ names: [freshName()] });
  expect(Number(inserted)).toBeGreaterThan(1_000_000);
  await restored.reach(inserted, 'issued');
  expect(said).toContain('Renewals that were due, spread over up to 6 hours: 2');
  expect(said).toMatch(/list of orders, where there is one \(ca\)/);

  // Once more there is nothing to find, and nothing is lost.
  await adoptRestored(restored, restored.url);
  await until(
    async () =>
      (await restored.sql`select from acme.event where event = 'account_orders_read'`).length === 2,
    { what: 'the list is read again', timeoutMs: 20_000 },
  );
  expect(await serialOf(restored, renewed)).toBe(current[0]);
});

test('an account whose key was rolled over since says so, is not registered a second time, and a newer export takes its place', async () => {
  const original = await pebbleWorld();
  const first = await original.worker();
  const before = await valid(original);
  const csr = await original.insert({ names: [freshName()] });
  await original.reach(csr, 'issued');
  await first.stop();
  const restored = await backup(original, original.pebble);
  const second = await original.worker();
  await original.sql`select acme.roll_over_key('main')`;
  await until(
    async () =>
      (await original.sql`select from acme.event where event = 'account_key_rolled_over'`)
        .length === 1,
    { what: 'the key is rolled over', timeoutMs: 20_000 },
  );
  await second.stop();
  const folder = await testFolder('restored');
  onTestFinished(() => removeFolder(folder));
  const [file, passphrase] = [join(folder, 'main.json'), join(folder, 'passphrase.txt')];
  await writeFile(passphrase, 'correct horse battery\n');
  const taken = ['--passphrase-file', passphrase];
  const exported = await run(
    original,
    original.database.url,
    ...['account', 'export', 'main', '--out', file, ...taken],
  );
  expect(exported).toMatchObject({ code: 0, stderr: '' });
  expect(await readFile(file, 'utf8')).not.toBe('');

  expect(await adoptRestored(restored, restored.url)).toContain('account_key_unknown');
  await restored.worker();
  await until(
    async () =>
      (
        await restored.sql`
          select from acme.account_status where reason_code = 'account_key_unknown'`
      ).length === 1,
    { what: 'the account says what is wrong', timeoutMs: 20_000 },
  );
  // Nothing is ordered with it, and whoever waits is told.
  await restored.sql`select acme.renew(${csr})`;
  await until(async () => (await restored.status(csr)).reason_code === 'account_not_ready', {
    what: 'the csr waits',
  });
  expect((await restored.status(csr)).reason).toContain('Import a newer export');
  const [same] = await restored.sql<[{ url: string }]>`select url from acme.account_status`;
  expect(same.url).toBe(before.url);
  expect(
    await restored.sql`select from acme.event where event in ('account_lost', 'account_registered') and epoch > 1`,
  ).toEqual([]);

  const imported = await run(
    restored,
    restored.url,
    ...['account', 'import', file, '--name', 'newer', ...taken],
  );
  expect(imported).toMatchObject({ code: 0, stderr: '' });
  await restored.sql`select acme.replace_account('main', 'newer')`;
  await restored.reach(csr, 'issued', 20_000);
  await until(
    async () =>
      (await restored.sql`select from acme.certificate where csr_id = ${csr}`).length === 2,
    { what: 'it is renewed', timeoutMs: 20_000 },
  );
});

test('what became due is spread within what is left; a server without a list is asked again when it is due', async () => {
  const original = await faultyWorld();
  const first = await original.worker();
  await valid(original);
  const csrs = await Promise.all(
    Array.from({ length: 8 }, () => original.insert({ names: [freshName()] })),
  );
  for (const id of csrs) await original.reach(id, 'issued');
  await first.stop();
  const restored = await backup(original, original.ca.options);
  const [expiring, asked] = csrs;
  await set(restored.sql, 'csr', { state: 'issued' }, { renew_at: ago('1 hour') });
  await set(
    restored.sql,
    'certificate',
    { csr_id: expiring ?? '' },
    { not_after: ahead('20 minutes') },
  );
  await restored.sql`select acme.renew(${asked ?? ''})`;
  const said = await adoptRestored(restored, restored.url);
  expect(said).toContain('Certificates issued since at ca, where no list of orders is known');
  expect(said).not.toContain('where there is one');
  const times = await restored.sql<{ id: string; minutes: number }[]>`
    select csr_id as id, extract(epoch from renew_at - now())::float / 60 as minutes
      from acme_private.csr_state order by csr_id`;
  expect(new Set(times.map(({ minutes }) => Math.round(minutes * 60))).size).toBe(8);
  for (const { id, minutes } of times) {
    expect(minutes).toBeGreaterThan(-1);
    expect(minutes).toBeLessThanOrEqual(id === expiring ? 5 : 360);
  }
  const made = () => original.ca.seen.filter(({ resource }) => resource === 'newOrder').length;
  const before = made();
  await restored.worker();
  await until(
    async () =>
      (await restored.sql`select from acme.certificate where csr_id = ${asked ?? ''}`).length === 2,
    { what: 'what was asked for is ordered', timeoutMs: 20_000 },
  );
  expect(made()).toBe(before + 1);
  expect(
    await restored.sql`select detail from acme.event where event = 'account_orders_read'`,
  ).toEqual([{ detail: { found: 0 } }]);
  const none = await run(restored, restored.url, 'account', 'orders', 'main');
  expect(none).toMatchObject({ code: 0, stderr: '' });
  expect(none.stdout).toContain('The server has no list of orders for account main');
});

test('orders that were under way: one is found issued at the server, one without a URL is made anew', async () => {
  const original = await faultyWorld();
  const first = await original.worker();
  await valid(original);
  original.ca.on('authorization', { status: 500, html: true, times: Infinity });
  const underWay = await original.insert({ names: [freshName()] });
  await original.reach(underWay, 'retrying');
  original.ca.on('newOrder', { status: 500, html: true, times: Infinity });
  const without = await original.insert({ pem: (await makeCsr({ names: [freshName()] })).pem });
  await original.reach(without, 'retrying');
  await first.stop();
  const restored = await backup(original, original.ca.options);
  original.ca.clearFaults();
  const second = await original.worker();
  await original.reach(underWay, 'issued', 60_000);
  await second.stop();

  const said = await adoptRestored(restored, restored.url);
  expect(said).toContain('Orders under way that go on where the server has them: 1');
  expect(said).toContain('Orders that have no URL yet and are made anew: 1');
  // A finalize that comes again is refused (orderNotReady): the order is valid.
  const finalized = () =>
    original.ca.seen.filter(({ resource, status }) => resource === 'finalize' && status === 200)
      .length;
  const before = finalized();
  await restored.worker();
  await restored.reach(underWay, 'issued', 60_000);
  expect(await serialOf(restored, underWay)).toBe(await serialOf(original, underWay));
  await restored.reach(without, 'issued', 60_000);
  expect(
    await restored.sql`select state, reason_code from acme."order" where csr_id = ${without} order by id`,
  ).toEqual([
    { state: 'failed', reason_code: 'database_restored' },
    { state: 'issued', reason_code: null },
  ]);
  // Of the other one alone.
  expect(finalized()).toBe(before + 1);
});

test('a long list is read turn by turn; one that cannot be read for an hour is left', async () => {
  const original = await faultyWorld({ ordersPerPage: 3, ordersAsArray: true });
  const first = await original.worker();
  await valid(original);
  const csrs = await Promise.all(
    Array.from({ length: 10 }, () => original.insert({ names: [freshName()] })),
  );
  for (const id of csrs) await original.reach(id, 'issued');
  await first.stop();
  const restored = await backup(original, original.ca.options);
  const second = await original.worker();
  for (const id of csrs) await original.sql`select acme.renew(${id})`;
  for (const id of csrs) await original.sql`select acme.wait(${id}, '30 s')`;
  const [last = '', ...others] = csrs;
  await second.stop();

  original.ca.on('orders', { status: 500, html: true, times: Infinity });
  await adoptRestored(restored, restored.url);
  const worker = await restored.worker();
  const trouble = () => restored.sql`
    select from acme.account_status where reason_code = 'remote_trouble' and attempts > 0`;
  await until(async () => (await trouble()).length === 1, {
    what: 'the list cannot be read',
    timeoutMs: 20_000,
  });
  const inserted = await restored.insert({ names: [freshName()] });
  await until(async () => (await restored.status(inserted)).reason_code === 'account_not_ready', {
    what: 'a new csr waits',
  });
  expect(await restored.sql`select from acme.stuck`).toEqual([]);
  await worker.stop();
  original.ca.clearFaults();
  // One of the orders is never given; the others are read all the same, once it is late.
  const [unread] = await original.sql<[{ url: string }]>`
    select o.url from acme."order" o
      join acme.certificate c on c.order_id = o.id and c.state = 'current'
     where c.csr_id = ${last}`;
  original.ca.on('order', {
    status: 500,
    html: true,
    times: Infinity,
    when: ({ path }) => unread.url.endsWith(path),
  });
  await set(restored.sql, 'account', all, {
    reread_since: ago('61 minutes'),
    next_attempt_at: null,
  });
  await restored.worker();
  await restored.sql`select acme_private.enqueue('account', account_id) from acme_private.account_state`;
  await restored.reach(inserted, 'issued', 30_000);
  expect(
    await restored.sql`select detail from acme.event where event = 'account_orders_read'`,
  ).toEqual([{ detail: { listed: 20, found: 9 } }]);
  for (const id of others) expect(await serialOf(restored, id)).toBe(await serialOf(original, id));
  expect(await serialOf(restored, last)).not.toBe(await serialOf(original, last));

  // The list itself.
  original.ca.clearFaults();
  original.ca.on('orders', { status: 500, html: true, times: Infinity });
  await adoptRestored(restored, restored.url);
  await set(restored.sql, 'account', all, { reread_since: ago('61 minutes') });
  await until(
    async () =>
      (
        await restored.sql`
          select from acme.event where event = 'account_orders_read' and detail ->> 'problem' <> ''`
      ).length === 1,
    { what: 'the list is left', timeoutMs: 20_000 },
  );
  await valid(restored);
});
