import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { eabBinding } from '../../src/secrets/account-keys.ts';
import { seal, sealingKeys } from '../../src/secrets/seal.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { foreignCertificates } from '../helpers/foreign-certificates.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, pebbleWorld, type World } from '../helpers/world.ts';

const run = randomBytes(3).toString('hex');

const perDomain = (world: World) =>
  world.sql`update acme.server set account_policy = 'per_registered_domain' where name = 'ca'`;

/** The account of each csr, and the account URL that its order was made with. */
async function accountsOf(world: World, ids: readonly string[]) {
  const rows = await world.sql<{ id: string; account: string; url: string; ordered_by: string }[]>`
    select s.id, s.account, a.url, x.name as ordered_by
      from acme.csr_status s
      join acme.certificate c on c.id = s.certificate_id
      join acme."order" o on o.id = c.order_id
      join acme.account_status x on x.id = o.account_id
      join acme.account_status a on a.name = s.account
     where s.id = any (${[...ids]}::bigint[])`;
  return ids.map((id) => rows.find((row) => row.id === id));
}

test('two domains get an account each, which registers itself and orders; one that names an account keeps it', async () => {
  const { pebble, ...world } = await pebbleWorld();
  await perDomain(world);
  await world.sql`insert into acme.account (name, server, terms_agreed) values ('named', 'ca', true)`;
  await world.worker();
  const one = `one-${run}.org`;
  const two = `two-${run}.net`;
  const first = await Promise.all([
    world.insert({ names: [`www.${one}`, one] }),
    world.insert({ names: [`www.${two}`] }),
    world.insert({ names: [`named.${two}`] }, { account: 'named' }),
    world.insert({ names: [`both.${one}`, `both.${two}`] }, { account: 'named' }),
  ]);
  for (const id of first) await world.reach(id, 'issued', 30_000);
  const again = await world.insert({ names: [`again.${two}`] });
  await world.reach(again, 'issued');
  const rows = await accountsOf(world, [...first, again]);
  expect(rows.map((row) => row?.account)).toEqual([one, two, 'named', 'named', two]);
  for (const row of rows) expect(row?.ordered_by).toBe(row?.account);
  // Accounts of their own at the server, not one under several names.
  expect(new Set(rows.map((row) => row?.url)).size).toBe(3);
  expect(rows[0]?.url).toContain(new URL(pebble.directoryUrl).host);
  const several = await world.insert({ names: [`c.${one}`, `c.${two}`] });
  expect(await world.reach(several, 'rejected')).toMatchObject({ reason_code: 'several_domains' });
});

test('registered domains are those of the public suffix list; a batch of one new domain makes one account', async () => {
  const { pebble, ...world } = await pebbleWorld();
  await perDomain(world);
  const domain = `batch-${run}.co.uk`;
  const pems = await Promise.all(
    Array.from({ length: 20 }, (_, i) => makeCsr({ names: [`host-${String(i)}.${domain}`] })),
  );
  const rows = await world.sql<{ id: string }[]>`
    insert into acme.csr ${world.sql(pems.map(({ pem }) => ({ pem })))} returning id`;
  await Promise.all([world.worker(), world.worker({ http01Listen: undefined })]);
  const ids = rows.map(({ id }) => id);
  for (const id of ids) await world.reach(id, 'issued', 60_000);
  expect(new Set((await accountsOf(world, ids)).map((row) => row?.account))).toEqual(
    new Set([domain]),
  );
  const accounts = await world.sql`select name from acme.account where server = 'ca' order by id`;
  expect([...accounts]).toEqual([{ name: 'main' }, { name: domain }]);
  expect(pebble.directoryUrl).toContain('127.0.0.1');
});

test('where the server binds accounts, one that the policy made waits for a binding of its own', async () => {
  const mac = randomBytes(32).toString('base64url');
  const { pebble, ...world } = await pebbleWorld({ eab: { 'kid-1': mac } });
  const keys = await sealingKeys(world.secretKey);
  const { origin } = new URL(pebble.directoryUrl);
  const bind = async (name: string) => {
    const jwe = await seal(keys, eabBinding({ account: name, origin }), mac);
    await world.sql`update acme.account set eab_kid = 'kid-1', eab_hmac = ${jwe} where name = ${name}`;
  };
  await bind('main');
  await perDomain(world);
  await world.worker();
  const domain = `bound-${run}.org`;
  const id = await world.insert({ names: [`www.${domain}`] });
  const asked = await until(
    async () => {
      const [row] = await world.sql<{ state: string; eab_kid: string | null }[]>`
        select state, eab_kid from acme.account_status
         where name = ${domain} and reason_code = 'external_account_required'`;
      return row;
    },
    { what: 'the binding is asked for' },
  );
  expect(asked).toEqual({ state: 'needs_person', eab_kid: null });
  expect(await world.status(id)).toMatchObject({
    state: 'queued',
    reason_code: 'account_not_ready',
    reason: expect.stringContaining('takes only accounts that are bound') as string,
  });
  await bind(domain);
  await world.reach(id, 'issued', 30_000);
});

test('an adopted certificate belongs to the account of its domain as well', async () => {
  const { ca, ...world } = await faultyWorld();
  await perDomain(world);
  await world.worker();
  const domain = `adopted-${run}.org`;
  const [foreign] = await foreignCertificates([`www.${domain}`]);
  const admin = await world.database.as('acme_admin');
  const [row] = await admin<[{ id: string }]>`
    select id from acme.adopt(${foreign?.csrPem ?? ''}, ${foreign?.chainPem ?? ''})`;
  await world.reach(row.id, 'issued');
  expect(await world.status(row.id)).toMatchObject({ account: domain });
  expect(ca.count('newOrder')).toBe(0);
  await world.sql`select acme.renew(${row.id})`;
  const renewed = await until(
    async () => {
      const [order] = await world.sql<{ name: string }[]>`
        select a.name from acme."order" o join acme.account a on a.id = o.account_id where o.state = 'issued'`;
      return order;
    },
    { what: 'it is renewed' },
  );
  expect(renewed.name).toBe(domain);
});
