import { expect, test } from 'vitest';
import { frozenCopy } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';
import { cli, linesOf } from './cli.ts';

async function registered({ sql }: World): Promise<void> {
  await until(
    async () => (await sql`select from acme.account_status where state = 'valid'`).length === 1,
    { what: 'the account is registered' },
  );
}

async function probe(world: World, env: Record<string, string> = {}, name = 'ca') {
  const { url } = await world.database.login('acme_worker');
  return cli(['server', 'probe', name], { DATABASE_URL: url, ...env });
}

async function tried({ sql }: World): Promise<Record<string, string>> {
  const rows = await sql<{ feature: string; said: string }[]>`
    select feature, support || ': ' || source as said
      from acme_private.server_fact
     where how = 'tried'
     order by feature`;
  return Object.fromEntries(rows.map(({ feature, said }) => [feature, said]));
}

test('server probe asks a Pebble for its account, its orders and renewal information, and stores what came', async () => {
  const world = await pebbleWorld();
  await world.worker();
  await registered(world);
  const { code, stdout, stderr } = await probe(world, { PGACME_SECRET_KEY: world.secretKey });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = linesOf(stdout);
  expect(lines[0]).toBe(`Server ca (${world.pebble.directoryUrl})`);
  expect(lines).toContain('  directory       read');
  expect(lines).toContain('  account         is valid, with its contacts');
  expect(lines).toContain('  list of orders  given');
  expect(await tried(world)).toMatchObject({
    contact_kept: 'yes: an account with the contacts that were sent',
    orders_list: 'yes: a list of orders that was read',
  });
  const [row] = await world.sql<[{ support: string; how: string }]>`
    select support, how from acme.server_feature where server = 'ca' and feature = 'orders_list'`;
  expect(row).toEqual({ support: 'yes', how: 'tried' });
  if (world.pebble.version !== '2.10') return;
  expect(lines).toContain('  renewal info    an unknown certificate, refused with 400');
  expect((await tried(world))['renewal_info']).toMatch(/^yes: an unknown certificate, refused/);
});

test('it makes no account and no order, and changes nothing at the server', async () => {
  const { ca, ...world } = await faultyWorld();
  const worker = await world.worker();
  await registered(world);
  await worker.stop();
  const before = ca.seen.length;
  expect((await probe(world, { PGACME_SECRET_KEY: world.secretKey })).code).toBe(0);
  const asked = ca.seen.slice(before);
  expect(new Set(asked.map(({ resource }) => resource))).not.toContain(undefined);
  for (const { resource, method, payload } of asked) {
    expect(['directory', 'newNonce', 'account', 'orders', 'renewalInfo']).toContain(resource);
    // POST-as-GET has an empty payload.
    if (method === 'POST') expect(payload).toBe('');
  }
  expect(asked.map(({ resource }) => resource)).toContain('account');
  expect(await tried(world)).toHaveProperty('orders_list');
});

test('without the key that seals, or with another one, the account is left out and the rest is asked', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  await registered(world);
  const without = await probe(world);
  expect(without.code).toBe(0);
  expect(without.stdout).toMatch(/^ {2}account +left out: PGACME_SECRET_KEY is not set/m);
  const another = Buffer.alloc(32, 7).toString('base64');
  const wrong = await probe(world, { PGACME_SECRET_KEY: another });
  expect(wrong.code).toBe(0);
  expect(wrong.stdout).toMatch(/^ {2}account +left out: .*main/m);
  expect(wrong.stdout + wrong.stderr).not.toContain(another);
  expect(await tried(world)).not.toHaveProperty('orders_list');
  expect(ca.count('newAccount')).toBe(1);
});

test('an account that rolls over its key, or is closed, is left out with that', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{*}')`;
  await world.worker();
  await registered(world);
  const csr = await world.insert({ names: [freshName()] }, { solver: 'by-hand' });
  await until(async () => (await world.status(csr)).reason_code === 'waiting_for_publication', {
    what: 'its order waits for a person',
    timeoutMs: 20_000,
  });
  const reach = (state: string) =>
    until(
      async () =>
        (await world.sql`select from acme.account_status where state = ${state}`).length === 1,
      { what: `the account is ${state}`, timeoutMs: 20_000 },
    );
  await world.sql`select acme.roll_over_key('main')`;
  await reach('rolling_over');
  const env = { PGACME_SECRET_KEY: world.secretKey };
  const rolling = await probe(world, env);
  expect(rolling.code).toBe(0);
  expect(rolling.stdout).toMatch(
    /^ {2}account +left out: main is rolling over its key; probe again when acme.account_status says valid$/m,
  );
  await world.sql`select acme.deactivate_account('main')`;
  await reach('deactivated');
  expect((await probe(world, env)).stdout).toMatch(/^ {2}account +left out: main is deactivated$/m);
  expect(ca.count('orders')).toBe(0);
  // One that can be asked is.
  await world.sql`insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
  await registered(world);
  expect((await probe(world, env)).stdout).toMatch(/^ {2}account +is valid/m);
});

test('a server that is not there, one that does not answer, and a copy are told in a sentence', async () => {
  const { ca, ...world } = await faultyWorld();
  const unknown = await probe(world, {}, 'nowhere');
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).toContain('There is no server "nowhere"');
  ca.on('directory', { status: 500, html: true });
  const silent = await probe(world);
  expect(silent.code).toBe(1);
  expect(silent.stderr).toContain('answered 500');
  const seen = ca.seen.length;
  await frozenCopy(world.sql);
  const copy = await probe(world);
  expect(copy.code).toBe(1);
  expect(copy.stderr).toContain('pgacme adopt-database');
  expect(ca.seen).toHaveLength(seen);
});

test('it is for workers', async () => {
  const world = await faultyWorld();
  const { url } = await world.database.login('acme_app');
  const { code, stderr } = await cli(['server', 'probe', 'ca'], { DATABASE_URL: url });
  expect(code).toBe(1);
  expect(stderr).toContain('grant acme_worker to');
  expect(world.ca.seen).toHaveLength(0);
});
