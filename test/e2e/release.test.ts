import { expect, test, vi } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { certificateStatus } from '../helpers/certificate-status.ts';
import { refusal } from '../helpers/refusal.ts';
import { ago, all, dueNow, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 120_000 });

/** A Pebble that hands out valid authorizations again whenever it can. */
const reusing = () => pebbleWorld({ authzReuse: 100 });

interface Done {
  kind: string;
  id: string | null;
  what: string;
  done: string;
}

async function insertAs(
  world: World,
  login: string,
  names: string[],
  columns: Record<string, string> = {},
): Promise<string> {
  const app = await world.database.as('acme_app', { login });
  const { pem } = await makeCsr({ names });
  const [row] = await app<[{ id: string }]>`
    insert into acme.csr ${app({ pem, ...columns })} returning id`;
  return row.id;
}

async function authorizationStates({ sql }: World, name: string): Promise<string[]> {
  const rows = await sql<{ state: string }[]>`
    select state from acme.authorization where identifier = ${name} order by id`;
  return rows.map(({ state }) => state);
}

async function deactivated(world: World, name: string): Promise<void> {
  await until(async () => (await authorizationStates(world, name)).includes('deactivated'), {
    what: `the authorization of ${name} is deactivated`,
    timeoutMs: 20_000,
  });
}

test('a domain is sold: the seller releases it, and the buyer proves it anew', async () => {
  const world = await reusing();
  await world.worker();
  const domain = freshName();
  const seller = await world.database.as('acme_app', { login: 'seller' });
  const buyer = await world.database.as('acme_app', { login: 'buyer' });
  const shop = await insertAs(world, 'seller', [domain, `www.${domain}`]);
  const other = freshName();
  const mixed = await insertAs(world, 'seller', [`api.${domain}`, other]);
  const stays = await insertAs(world, 'seller', [`not-${domain}`]);
  for (const csr of [shop, mixed, stays]) await world.reach(csr, 'issued');
  const wanted = await insertAs(world, 'buyer', [`www.${domain}`]);
  expect(await world.reach(wanted, 'rejected')).toMatchObject({ reason_code: 'name_held' });

  expect(await buyer`select * from acme.release_domain(${domain}, true)`).toEqual([]);
  expect((await world.status(shop)).state).toBe('issued');

  const rows = await seller<
    Done[]
  >`select * from acme.release_domain(${`${domain.toUpperCase()}.`}, true)`;
  const names = [`api.${domain}`, domain, `www.${domain}`];
  const { role: tenant } = await world.database.login('acme_app', { login: 'seller' });
  expect(rows.map(({ kind, what, done }) => `${kind} ${what} ${done}`)).toEqual([
    `csr api.${domain}, ${other} is stopped; it has other names too (${other}): insert a CSR for those`,
    `csr ${domain}, www.${domain} is stopped`,
    ...names.map((name) => `authorization ${name} is deactivated`),
    `certificate api.${domain}, ${other} is revoked (cessationOfOperation)`,
    `certificate ${domain}, www.${domain} is revoked (cessationOfOperation)`,
    expect.stringMatching(
      `^dns ${domain} remove what names the account main from DNS.* https://`,
    ) as string,
    ...names.map((name) => `name ${name} belongs to tenant ${tenant} no longer`),
  ]);

  const revoked = await until(
    async () => {
      const all = await seller<{ serial: string }[]>`
        select serial from acme.certificate where state = 'revoked' order by id`;
      return all.length === 2 && all;
    },
    { what: 'both certificates are revoked', timeoutMs: 20_000 },
  );
  for (const { serial } of revoked) {
    expect(await certificateStatus(world.pebble, serial)).toMatchObject({ Reason: 5 });
  }
  for (const csr of [shop, mixed]) {
    expect(await world.status(csr)).toMatchObject({
      state: 'cancelled',
      reason_code: 'revoked',
      reason: `The domain ${domain} was released.`,
    });
  }
  for (const name of names) await deactivated(world, name);
  expect(await authorizationStates(world, other)).toEqual(['valid']);
  expect((await world.status(stays)).state).toBe('issued');
  expect(await seller`select * from acme.release_domain(${domain})`).toEqual([]);

  await buyer`select acme.retry(${wanted})`;
  await world.reach(wanted, 'issued');
  expect(await authorizationStates(world, `www.${domain}`), 'proved anew').toEqual([
    'deactivated',
    'valid',
  ]);
});

test('without revoke the certificates are listed, and a part of a domain can be released', async () => {
  const world = await reusing();
  await world.worker();
  const domain = freshName();
  const csr = await insertAs(world, 'seller', [`shop.${domain}`]);
  await world.reach(csr, 'issued');
  const kept = await insertAs(world, 'seller', [`blog.${domain}`]);
  await world.reach(kept, 'issued');
  const seller = await world.database.as('acme_app', { login: 'seller' });
  const rows = await seller<Done[]>`select * from acme.release_domain(${`shop.${domain}`})`;
  const certificate = rows.find(({ kind }) => kind === 'certificate');
  expect(certificate?.done).toMatch(
    /^is good until \d{4}-\d\d-\d\d; select acme\.revoke_certificate\(\d+, 'cessationOfOperation'\) ends it$/,
  );
  await world.reach(csr, 'cancelled');
  await deactivated(world, `shop.${domain}`);
  const [row] = await seller<[{ state: string }]>`
    select state from acme.certificate where id = ${certificate?.id ?? ''}`;
  expect(row.state).toBe('current');
  expect((await world.status(kept)).state).toBe('issued');
  expect(await authorizationStates(world, `blog.${domain}`)).toEqual(['valid']);
  const held = await seller<{ name: string }[]>`select name from acme.name_owner`;
  expect(held).toEqual([{ name: `blog.${domain}` }]);
});

test('the account is named as long as a certificate is good, whatever became of the rest', async () => {
  const world = await pebbleWorld();
  await world.worker();
  const domain = freshName();
  const csr = await insertAs(world, 'seller', [domain]);
  await world.reach(csr, 'issued');
  const seller = await world.database.as('acme_app', { login: 'seller' });
  await seller`select acme.cancel(${csr})`;
  await world.reach(csr, 'cancelled');
  await set(world.sql, 'authorization', all, { expires_at: ago('1 minute') });
  const rows = await seller<Done[]>`select * from acme.release_domain(${domain})`;
  const [{ url }] = await world.sql<[{ url: string }]>`select url from acme.account_status`;
  expect(rows.map(({ kind }) => kind)).toEqual(['certificate', 'dns', 'name']);
  expect(rows[1]?.done).toContain(`names the account main from DNS`);
  expect(rows[1]?.done).toContain(url);
});

test('what is no domain to release is refused with a sentence', async () => {
  const world = await reusing();
  await world.worker();
  const label = freshName().replace(/\..*$/, '');
  const csr = await world.insert({ names: [`${label}.co.uk`] });
  await world.reach(csr, 'issued');
  for (const [name, sentence] of [
    ['*.example.com', "'*.example.com' is no domain to release."],
    ['bücher.example', "'bücher.example' is no domain to release."],
    ['localhost', "'localhost' is no domain to release."],
    ['', "'' is no domain to release."],
    [null, 'null is no domain to release.'],
  ] as const) {
    const error = await refusal(world.sql`select * from acme.release_domain(${name})`);
    expect(error.message).toBe(sentence);
    expect(error.hint).toContain('such as example.com');
  }
  const suffix = await refusal(world.sql`select * from acme.release_domain('co.uk')`);
  expect(suffix.message).toBe(
    `co.uk is a suffix under which domains are registered, such as ${label}.co.uk; it is not released as a whole.`,
  );
  expect((await world.status(csr)).state).toBe('issued');
});

test('an authorization is given up while an order waits for it: the order is made anew', async () => {
  const world = await pebbleWorld();
  await world.sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{}')`;
  await world.worker();
  const domain = freshName();
  const csr = await insertAs(world, 'shop', [domain], { solver: 'by-hand' });
  const todo = () =>
    world.sql<
      { id: string; action: string }[]
    >`select id, action from acme.challenge_todo where csr_id = ${csr}`;
  const [first] = await until(
    async () => {
      const rows = await todo();
      return rows.length === 1 && rows;
    },
    { what: 'a challenge is to be published by hand', timeoutMs: 20_000 },
  );
  const app = await world.database.as('acme_app', { login: 'shop' });
  const [{ id }] = await app<[{ id: string }]>`select id from acme.authorization`;
  await app`select acme.deactivate_authorization(${id})`;
  const [second] = await until(
    async () => {
      const rows = await todo();
      return rows.length === 1 && rows[0]?.id !== first?.id && rows;
    },
    { what: 'another challenge is to be published', timeoutMs: 20_000 },
  );
  expect(await authorizationStates(world, domain)).toEqual(['deactivated', 'pending']);
  const orders = await world.sql<{ state: string; reason_code: string | null }[]>`
    select state, reason_code from acme."order" order by id`;
  expect(orders).toEqual([
    { state: 'failed', reason_code: 'authorization_deactivated' },
    { state: 'authorizing', reason_code: null },
  ]);
  await app`select acme.challenge_published(${second?.id ?? ''})`;
  await world.reach(csr, 'issued');
  const again = await refusal(app`select acme.deactivate_authorization(${id})`);
  expect(again.message).toBe(`Authorization ${id} is deactivated already, and proves nothing.`);
  expect(await app`select from acme.deactivation_request`).toHaveLength(0);
});

test('a server that refuses to forget an authorization leaves a reason and a time', async () => {
  const world = await faultyWorld();
  await world.worker();
  const csr = await world.insert({ names: [freshName()] });
  await world.reach(csr, 'issued');
  const [{ id }] = await world.sql<[{ id: string }]>`select id from acme.authorization`;
  world.ca.on('authorization', {
    when: ({ payload }) => payload !== undefined,
    problem: { type: 'malformed', status: 400, detail: 'authorizations stay as they are' },
  });
  await world.sql`select acme.deactivate_authorization(${id})`;
  const row = await until(
    async () => {
      const [found] = await world.sql<
        { state: string; reason_code: string; reason: string; next_attempt_at: Date }[]
      >`select state, reason_code, reason, next_attempt_at from acme.authorization where reason is not null`;
      return found;
    },
    { what: 'the refusal is told', timeoutMs: 20_000 },
  );
  expect(row).toMatchObject({ state: 'deactivating', reason_code: 'server_refused' });
  expect(row.reason).toContain('authorizations stay as they are');
  expect(row.next_attempt_at.getTime()).toBeGreaterThan(Date.now());
  // Asked again once it is due.
  await dueNow(world.sql, 'authorization', all);
  await world.sql`select acme_private.enqueue('authorization', ${id})`;
  await until(async () => (await states(world, id)) === 'deactivated', {
    what: 'the authorization is deactivated',
    timeoutMs: 20_000,
  });
});

async function states({ sql }: World, id: string): Promise<string | undefined> {
  const [row] = await sql<{ state: string }[]>`
    select state from acme.authorization where id = ${id}`;
  return row?.state;
}
