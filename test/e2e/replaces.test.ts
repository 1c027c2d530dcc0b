import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { exportJWK } from 'jose';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { certificateId, importAccountKey, newAccount } from '../../src/acme/index.ts';
import { takeIn } from '../../src/cli/account/take-in.ts';
import { accountVault } from '../../src/db/owner/account-files.ts';
import { findPebble, type PebbleBinaries } from '../../src/local/pebble.ts';
import { certificateDer, csrDer, makeCsr } from '../../src/x509/index.ts';
import type { AcmeServer, Problem } from '../helpers/acme-server/index.ts';
import { pebbleForTests, pebbleOfThisRelease } from '../helpers/pebble.ts';
import { startRecordingProxy } from '../helpers/recording-proxy/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World, worldWith } from '../helpers/world.ts';
import { clientOf, issue } from '../helpers-tests/acme-client.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 120_000 });

type FaultyWorld = World & { ca: AcmeServer };

/** A world at a server that knows `replaces`, with a worker and a csr that has its certificate. */
async function issuedWorld(renewalInfo = true): Promise<FaultyWorld & { csr: string }> {
  const world = await faultyWorld({ renewalInfo });
  await world.worker();
  const csr = await world.insert({ names: [freshName()] });
  await world.reach(csr, 'issued');
  return { ...world, csr };
}

/** The id of the certificate that the csr has now. */
async function currentId({ sql }: World, csr: string): Promise<string> {
  const [row] = await sql<[{ leaf_pem: string }]>`
    select leaf_pem from acme.current_certificate where csr_id = ${csr}`;
  return certificateId(certificateDer(row.leaf_pem));
}

const certificates = ({ sql }: World, csr: string) =>
  sql`select from acme.certificate where csr_id = ${csr}`;

/** Renews a csr, and waits for the new certificate. */
async function renewed(world: World, csr: string): Promise<void> {
  const before = await certificates(world, csr);
  await world.sql`select acme.renew(${csr})`;
  await until(async () => (await certificates(world, csr)).length > before.length, {
    what: 'it is renewed',
    timeoutMs: 30_000,
  });
  await world.reach(csr, 'issued');
}

interface Asked {
  replaces: unknown;
  status: number | undefined;
}

const isReplacing = ({ payload }: { payload?: unknown }) =>
  (payload as { replaces?: unknown }).replaces !== undefined;

/** What each newOrder said that it replaces, and the status of its answer. */
const orders = ({ ca }: FaultyWorld): Asked[] =>
  ca.seen
    .filter(({ resource }) => resource === 'newOrder')
    .map(({ payload, status }) => ({
      replaces: (payload as { replaces?: unknown }).replaces,
      status,
    }));

/** What the events say of the orders that were made, the server's problem by its type. */
const told = async ({ sql }: World, csr: string) =>
  sql<{ replaces: string | null; refused: string | null }[]>`
    select detail ->> 'replaces' as replaces, detail #>> '{replaces_refused,type}' as refused
      from acme.event where csr_id = ${csr} and event = 'order_created' order by id`;

const seen = async ({ sql }: World) => {
  const [row] = await sql<[{ said: string }]>`
    select concat_ws(' ', support, how) as said
      from acme.server_feature where server = 'ca' and feature = 'replaces'`;
  return row.said;
};

const versions: Record<string, () => Promise<PebbleBinaries | undefined>> = {
  'the newest Pebble': findPebble,
  "the release's own Pebble": pebbleOfThisRelease,
};

test.each(Object.keys(versions))(
  'with %s a renewal says what it replaces, where the directory has renewalInfo',
  async (which) => {
    const binaries = await versions[which]?.();
    if (binaries === undefined) throw new Error('There is no apt-get to fetch this Pebble with.');
    const pebble = await pebbleForTests({ binaries });
    const proxy = await startRecordingProxy(pebble);
    onTestFinished(() => proxy.stop());
    const world = await worldWith({ ...proxy, httpPort: pebble.httpPort });
    await world.worker();
    const csr = await world.insert({ names: [freshName(), freshName()] });
    await world.reach(csr, 'issued', 30_000);
    const first = await currentId(world, csr);
    await renewed(world, csr);
    const second = await currentId(world, csr);
    await renewed(world, csr);
    const asked = proxy.records
      .filter(({ kind }) => kind === 'newOrder')
      .map(({ payload, status }) => ({
        replaces: typeof payload === 'object' ? payload['replaces'] : 'no payload',
        status,
      }));
    const [row] = await world.sql<[{ support: string }]>`
      select support from acme.server_feature where server = 'ca' and feature = 'renewal_info'`;
    if (pebble.version === '2.4') expect(row.support).toBe('no');
    if (pebble.version === '2.10') expect(row.support).toBe('yes');
    const isSaid = row.support === 'yes';
    expect(asked).toEqual([
      { replaces: undefined, status: 201 },
      { replaces: isSaid ? first : undefined, status: 201 },
      { replaces: isSaid ? second : undefined, status: 201 },
    ]);
    expect(await told(world, csr)).toEqual([
      { replaces: null, refused: null },
      { replaces: isSaid ? first : null, refused: null },
      { replaces: isSaid ? second : null, refused: null },
    ]);
    expect(await seen(world)).toBe(isSaid ? 'yes seen' : 'unknown');
  },
);

describe('whatever the server has against it, the certificate is ordered without', () => {
  test('one that was replaced already', async () => {
    const world = await issuedWorld();
    const replaces = await currentId(world, world.csr);
    for (const each of world.ca.store.certificates.values()) each.replaced = true;
    await renewed(world, world.csr);
    expect(orders(world)).toEqual([
      { replaces: undefined, status: 201 },
      { replaces, status: 409 },
      { replaces: undefined, status: 201 },
    ]);
    expect(await certificates(world, world.csr)).toHaveLength(2);
    expect(await told(world, world.csr)).toEqual([
      { replaces: null, refused: null },
      { replaces: null, refused: 'urn:ietf:params:acme:error:alreadyReplaced' },
    ]);
    // Only who knows `replaces` refuses it so.
    expect(await seen(world)).toBe('yes seen');
    // The new one was replaced by nobody.
    const next = await currentId(world, world.csr);
    await renewed(world, world.csr);
    expect(orders(world).slice(3)).toEqual([{ replaces: next, status: 201 }]);
  });

  test.each<Problem>([
    { type: 'malformed', status: 400 },
    { type: 'unauthorized', status: 403 },
    { type: 'about:blank', status: 422 },
  ])('refused with $type', async (problem) => {
    const world = await issuedWorld();
    world.ca.on('newOrder', { problem });
    await renewed(world, world.csr);
    expect(orders(world).map(({ status }) => status)).toEqual([201, problem.status, 201]);
    expect(orders(world)[2]?.replaces).toBeUndefined();
    expect(await world.events(world.csr)).not.toContain('order_failed');
  });

  test('an error that does not say what it is about, once it was tried three times', async () => {
    const world = await issuedWorld();
    const replaces = await currentId(world, world.csr);
    await world.sql.unsafe(`
      create or replace function acme_private.backoff(p_attempts int) returns interval
      language sql volatile as $$ select interval '10 milliseconds' $$`);
    world.ca.on('newOrder', {
      times: Infinity,
      when: isReplacing,
      problem: { type: 'serverInternal', status: 500 },
    });
    await renewed(world, world.csr);
    expect(orders(world).slice(1)).toEqual([
      { replaces, status: 500 },
      { replaces, status: 500 },
      { replaces, status: 500 },
      { replaces: undefined, status: 201 },
    ]);
  });

  test('a server that passes over it', async () => {
    const world = await issuedWorld();
    const replaces = await currentId(world, world.csr);
    world.ca.on('newOrder', {
      phase: 'after',
      rewrite: ({ replaces: _, ...order }) => order,
    });
    await renewed(world, world.csr);
    expect(orders(world).slice(1)).toEqual([{ replaces, status: 201 }]);
    expect(await seen(world)).toBe('no seen');
  });
});

test('what is refused without it as well is what came of the order', async () => {
  const world = await issuedWorld();
  world.ca.on('newOrder', {
    when: isReplacing,
    problem: { type: 'malformed', status: 400, detail: 'the first' },
  });
  world.ca.on('newOrder', {
    when: (request) => !isReplacing(request),
    problem: { type: 'rejectedIdentifier', status: 400, detail: 'the second' },
  });
  await world.sql`select acme.renew(${world.csr})`;
  const row = await world.reach(world.csr, 'failed');
  expect(row).toMatchObject({ reason_code: 'refused_for_good', has_certificate: true });
  expect(row.reason).toContain('the second');
  expect(orders(world).map(({ status }) => status)).toEqual([201, 400, 400]);
});

test('what is about something else is not asked again without it', async () => {
  const world = await issuedWorld();
  const replaces = await currentId(world, world.csr);
  world.ca.on('newOrder', {
    problem: { type: 'rateLimited', status: 429 },
    headers: { 'retry-after': '1' },
  });
  await renewed(world, world.csr);
  expect(orders(world).slice(1)).toEqual([
    { replaces, status: 429 },
    { replaces, status: 201 },
  ]);
});

test('an order whose answer was lost is asked for again as it was', async () => {
  const world = await issuedWorld();
  const replaces = await currentId(world, world.csr);
  world.ca.on('newOrder', { cut: 'before-headers', phase: 'after' });
  await renewed(world, world.csr);
  expect(orders(world).map((order) => order.replaces)).toEqual([undefined, replaces, replaces]);
  expect(await certificates(world, world.csr)).toHaveLength(2);
});

test('a server without renewalInfo is told nothing', async () => {
  const world = await issuedWorld(false);
  await renewed(world, world.csr);
  expect(orders(world).map(({ replaces }) => replaces)).toEqual([undefined, undefined]);
});

test('a csr that moved to another account renews without, and then names what that one ordered', async () => {
  const world = await issuedWorld();
  await world.sql`
    insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
  await world.sql`select acme.replace_account('main', 'second')`;
  await renewed(world, world.csr);
  const replaces = await currentId(world, world.csr);
  await renewed(world, world.csr);
  expect(orders(world)).toEqual([
    { replaces: undefined, status: 201 },
    { replaces: undefined, status: 201 },
    { replaces, status: 201 },
  ]);
});

test('a certificate that was revoked is not named', async () => {
  const world = await issuedWorld();
  await world.sql`
    select acme.revoke_certificate(certificate_id, 'superseded') from acme.csr_status where id = ${world.csr}`;
  // Without a good certificate it is renewed at once.
  await until(async () => (await certificates(world, world.csr)).length === 2, {
    what: 'it is renewed',
    timeoutMs: 30_000,
  });
  expect(orders(world).map(({ replaces }) => replaces)).toEqual([undefined, undefined]);
});

describe('an adopted certificate is named where its adoption names an imported account', () => {
  /** A world with the account of another client, imported as `moved`, and what another one ordered. */
  async function movedWorld() {
    const world = await faultyWorld({ renewalInfo: true, validation: 'valid' });
    const server = clientOf(world.ca);
    const client = async () => {
      const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
      const privateJwk = await exportJWK(privateKey);
      const key = await importAccountKey(privateJwk);
      const { url } = await newAccount(server, key, { termsOfServiceAgreed: true });
      return { server, url, key, privateJwk };
    };
    const [own, other] = [await client(), await client()];
    const vault = await accountVault(world.database.url, 'pgacme test');
    onTestFinished(() => vault.close());
    const incoming = {
      what: 'a test',
      client: 'certbot',
      name: 'moved',
      serverName: undefined,
      directoryUrl: world.ca.directoryUrl,
      caBundle: undefined,
      allowedHosts: [],
      url: own.url,
      contact: [],
      records: [],
      eabKid: undefined,
      privateJwk: own.privateJwk,
    };
    await takeIn(vault, incoming, { secretKey: world.secretKey, name: undefined, server: 'ca' });
    await world.worker();
    const admin = await world.database.as('acme_admin');
    /** Adopts what one of the two ordered. */
    const adopt = async (orderer: typeof own, account: string | null): Promise<string> => {
      const name = freshName();
      const { pem } = await makeCsr({ names: [name] });
      const { chainPem } = await issue(orderer, csrDer(pem), name);
      const [row] = await admin<[{ id: string }]>`
        select id from acme.adopt(${pem}, ${chainPem}, ${name}, ${account})`;
      await world.reach(row.id, 'issued');
      return row.id;
    };
    /** The same, and renews it; what the renewal asked for. */
    const adopted = async (orderer: typeof own, account: string | null) => {
      const csr = await adopt(orderer, account);
      const id = await currentId(world, csr);
      const before = orders(world).length;
      await renewed(world, csr);
      return { csr, id, asked: orders(world).slice(before) };
    };
    return { ...world, own, other, adopt, adopted };
  }

  test('which ordered it; the server knows where it did not', async () => {
    const { own, other, adopted, ...world } = await movedWorld();
    const its = await adopted(own, 'moved');
    expect(its.asked).toEqual([{ replaces: its.id, status: 201 }]);
    const next = await currentId(world, its.csr);
    await renewed(world, its.csr);
    expect(orders(world).at(-1)).toEqual({ replaces: next, status: 201 });

    const foreign = await adopted(other, 'moved');
    expect(foreign.asked).toEqual([
      { replaces: foreign.id, status: 403 },
      { replaces: undefined, status: 201 },
    ]);
  });

  test('not where an account was made here, none is named, or the csr moved to another one', async () => {
    const { own, adopt, adopted, ...world } = await movedWorld();
    const without = [{ replaces: undefined, status: 201 }];
    expect((await adopted(own, 'main')).asked).toEqual(without);
    // The account that it is renewed with nevertheless.
    await world.sql`update acme.account set is_default = true where name = 'moved'`;
    expect((await adopted(own, null)).asked).toEqual(without);

    const csr = await adopt(own, 'moved');
    await world.sql`select acme.replace_account('moved', 'main')`;
    const before = orders(world).length;
    await renewed(world, csr);
    expect(orders(world).slice(before)).toEqual(without);
    const made = await world.sql`
      select a.name from acme."order" o join acme.account a on a.id = o.account_id where o.csr_id = ${csr}`;
    expect(made).toEqual([{ name: 'main' }]);
  });

  test('and revokes it, also when its csr has moved to another one', async () => {
    const { own, adopt, ...world } = await movedWorld();
    const csr = await adopt(own, 'moved');
    await world.sql`select acme.replace_account('moved', 'main')`;
    await world.sql`select acme.revoke(${csr}, 'superseded')`;
    await until(
      async () =>
        (await world.sql`select from acme.certificate where csr_id = ${csr} and state = 'revoked'`)
          .length === 1,
      { what: 'it is revoked' },
    );
    const asked = world.ca.seen.filter(({ resource }) => resource === 'revokeCert');
    expect(asked.map(({ kid }) => kid)).toEqual([own.url]);
  });
});
