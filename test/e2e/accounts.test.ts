import { rm } from 'node:fs/promises';
import { compactDecrypt, decodeProtectedHeader } from 'jose';
import { expect, test } from 'vitest';
import { startPebble } from '../../src/local/pebble.ts';
import { freePort } from '../../src/local/ports.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { accountId, accountsChanged, set } from '../helpers/state/index.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World, worldWith } from '../helpers/world.ts';

interface AccountStatus {
  state: string;
  reason_code: string | null;
  reason: string | null;
  url: string | null;
  next_attempt_at: Date | null;
}

const account = async ({ sql }: World): Promise<AccountStatus> => {
  const [row] = await sql<[AccountStatus]>`select * from acme.account_status where name = 'main'`;
  return row;
};

const registered = (world: World) =>
  until(async () => (await account(world)).state === 'valid', {
    what: 'the account is registered',
  });

test('an account registers itself, and its key is stored only sealed, for its row and its server', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  await registered(world);
  expect((await account(world)).url).toContain(`127.0.0.1:${ca.port}`);
  const [key] = await world.sql<[{ jwe: string }]>`select jwe from acme_private.account_key`;
  expect(decodeProtectedHeader(key.jwe)).toMatchObject({
    alg: 'dir',
    enc: 'A256GCM',
    purpose: 'account-key',
    row: 'main',
    origin: `https://127.0.0.1:${ca.port}`,
  });
  const { plaintext } = await compactDecrypt(key.jwe, Buffer.from(world.secretKey, 'base64'));
  const { d } = JSON.parse(Buffer.from(plaintext).toString()) as { d: string };
  expect(d.length).toBeGreaterThan(20);
  // Nowhere in the database, neither in a job nor in an event.
  const [dump] = await world.sql<[{ text: string }]>`
    select concat_ws(' ', (select jsonb_agg(to_jsonb(e))::text from acme_private.event e),
                          (select jsonb_agg(to_jsonb(a))::text from acme_private.account_state a),
                          (select jsonb_agg(to_jsonb(j))::text from acme_worker._private_jobs j)) as text`;
  expect(dump.text).not.toContain(d);
  expect(ca.count('newAccount')).toBe(1);
});

test('a worker killed between storing the key and registering ends with one account', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.on('newAccount', { cut: 'before-headers', phase: 'after' });
  await world.worker();
  await registered(world);
  expect(ca.count('newAccount')).toBe(2);
  expect(ca.store.accounts.size).toBe(1);
  expect(await world.sql`select from acme_private.account_key`).toHaveLength(1);
});

test('terms that nobody agreed to are asked for, with their URL, and registering goes on when agreed', async () => {
  const { ca, ...world } = await faultyWorld({ termsOfService: 'https://ca.example/terms/v7' });
  await world.sql`update acme.account set terms_agreed = false`;
  await world.worker();
  const asked = await until(
    async () => {
      const row = await account(world);
      return row.reason_code === 'terms_not_agreed' && row;
    },
    { what: 'the terms are asked for' },
  );
  expect(asked.reason).toContain('https://ca.example/terms/v7');
  expect(asked.next_attempt_at).toBeNull();
  expect(ca.count('newAccount')).toBe(0);
  const id = await world.insert({ names: [freshName()] });
  const waiting = await until(
    async () => {
      const row = await world.status(id);
      return row.reason_code === 'account_not_ready' && row;
    },
    { what: 'the csr says what it waits for' },
  );
  expect(waiting.reason).toContain('terms of service');
  await world.sql`update acme.account set terms_agreed = true where name = 'main'`;
  await world.reach(id, 'issued');
});

test('a CSR without any account waits, says so, and is issued once there is one', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.sql`delete from acme.account`;
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  expect(await world.status(id)).toMatchObject({ state: 'received', reason_code: 'no_account' });
  await world.sql`insert into acme.account (name, server, terms_agreed) values ('late', 'ca', true)`;
  await world.reach(id, 'issued');
  expect(ca.count('newAccount')).toBe(1);
});

test('a server that lost everything gets the account registered again with its key, and the CSR is issued', async () => {
  const { binaries, dns } = await pebbleForTests();
  const dir = await testFolder('forgetful');
  const httpPort = await freePort();
  const start = () =>
    startPebble({ dir, binaries, httpPort, dnsServer: dns.dnsServer, nonceReject: 0 });
  let pebble = await start();
  const world = await worldWith(pebble);
  await world.worker();
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  const before = await account(world);
  await pebble.stop();
  pebble = await start();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 30_000);
  const after = await account(world);
  expect(after.url).not.toBe(before.url);
  const events = await world.sql<{ event: string }[]>`
    select event from acme.event where account_id is not null and csr_id is null order by id`;
  expect(events.map(({ event }) => event)).toEqual([
    'account_key_made',
    'account_registered',
    'account_lost',
    'account_registered',
  ]);
  await pebble.stop();
  await rm(dir, { recursive: true, force: true });
});

test('a worker with another secret key says which account it cannot open', async () => {
  const { ca, ...world } = await faultyWorld();
  const worker = await world.worker();
  await registered(world);
  await worker.stop();
  await world.worker({ secretKey: Buffer.alloc(32, 7).toString('base64') });
  const id = await world.insert({ names: [freshName()] });
  const waiting = await world.reach(id, 'retrying');
  expect(waiting.reason_code).toBe('secret_key_wrong');
  expect(waiting.reason).toContain('main');
  expect(waiting.reason).toContain('PGACME_SECRET_KEY');
  expect(ca.count('newOrder')).toBe(0);
});

test('a sealed key that is moved to another account is refused', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  await registered(world);
  const database = world.sql;
  await database`insert into acme.account (name, server, terms_agreed) values ('other', 'ca', true)`;
  await until(
    async () =>
      (await database`select from acme.account_status where name = 'other' and state = 'valid'`)
        .length > 0,
    { what: 'the second account is registered' },
  );
  const [mains] = await database<[{ jwe: string }]>`
    select jwe from acme_private.account_key where account_id = ${await accountId(database)}`;
  const other = { account_id: await accountId(database, 'other') };
  await set(database, 'account_key', other, { jwe: mains.jwe });
  await accountsChanged(database);
  const id = await world.insert({ names: [freshName()] }, { account: 'other' });
  const waiting = await world.reach(id, 'retrying');
  expect(waiting.reason).toContain('another row or server');
  expect(ca.count('newOrder')).toBe(0);
});

test('a database without pgacme is refused by a worker with a sentence', async () => {
  const { ca, ...world } = await faultyWorld();
  const empty = await freshDatabase();
  await empty.sql`drop schema acme cascade`;
  await empty.sql`drop schema acme_private cascade`;
  await expect(world.worker({ databaseUrl: empty.url, http01Listen: undefined })).rejects.toThrow(
    'pgacme migrate',
  );
  expect(ca.seen).toHaveLength(0);
});
