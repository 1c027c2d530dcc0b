import { createHash, X509Certificate } from 'node:crypto';
import { get } from 'node:https';
import { describe, expect, test, vi } from 'vitest';
import { findPebble, type PebbleBinaries } from '../../src/local/pebble.ts';
import { pebbleOfThisRelease, type TestPebble, type TestPebbleOptions } from '../helpers/pebble.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld, type World } from '../helpers/world.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 120_000 });

/** The root that Pebble's chain number so-and-so leads to. */
async function rootOf({ managementUrl, caPem }: TestPebble, n: number): Promise<X509Certificate> {
  const options = { ca: caPem, headers: { 'user-agent': 'pgacme' }, agent: false };
  const pem = await new Promise<string>((resolve, reject) => {
    get(`${managementUrl}/roots/${String(n)}`, options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve(body));
    }).once('error', reject);
  });
  return new X509Certificate(pem);
}

const nameOf = (distinguished: string) => /^CN=(.+)$/m.exec(distinguished)?.[1] ?? '';

const keyOf = (certificate: X509Certificate) =>
  createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');

interface Stored {
  chain: X509Certificate[];
  not_before: Date;
  not_after: Date;
}

async function issued(world: World, columns: Record<string, unknown>): Promise<Stored> {
  const csr = await world.insert({ names: [freshName()] }, columns);
  await world.reach(csr, 'issued', 20_000);
  const [row] = await world.sql<[{ chain_pem: string; not_before: Date; not_after: Date }]>`
    select chain_pem, not_before, not_after from acme.current_certificate where csr_id = ${csr}`;
  const blocks = row.chain_pem.match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return { ...row, chain: blocks.map((pem) => new X509Certificate(pem)) };
}

const versions: Record<string, () => Promise<PebbleBinaries | undefined>> = {
  'the newest Pebble': findPebble,
  "the release's own Pebble": pebbleOfThisRelease,
};

describe.each(Object.keys(versions))('with %s', (which) => {
  async function worldOf(options: TestPebbleOptions = {}): Promise<World & { pebble: TestPebble }> {
    const binaries = await versions[which]?.();
    if (binaries === undefined) throw new Error('There is no apt-get to fetch this Pebble with.');
    const world = await pebbleWorld({ binaries, ...options });
    await world.worker();
    return world;
  }

  test('the preferred chain is stored: by the name of its root or issuer, or by a key; else the default', async () => {
    const world = await worldOf({
      env: { PEBBLE_ALTERNATE_ROOTS: '2', PEBBLE_CHAIN_LENGTH: '2' },
    });
    const roots = await Promise.all([0, 1, 2].map((n) => rootOf(world.pebble, n)));
    const names = roots.map(({ subject }) => nameOf(subject));
    const top = ({ chain }: Stored) => nameOf(chain.at(-1)?.issuer ?? '');

    expect(top(await issued(world, {}))).toBe(names[0]);
    const second = await issued(world, { preferred_chain: names[1] });
    expect(top(second)).toBe(names[1]);
    expect(top(await issued(world, { preferred_chain: names[2] }))).toBe(names[2]);
    const issuer = second.chain.at(-1);
    if (issuer === undefined) throw new Error('There is no issuer.');
    expect(top(await issued(world, { preferred_chain: nameOf(issuer.subject) }))).toBe(names[1]);
    expect(top(await issued(world, { preferred_chain: keyOf(issuer).toUpperCase() }))).toBe(
      names[1],
    );
    expect(await world.sql`select from acme.event where event = 'preferred_chain_missing'`).toEqual(
      [],
    );

    expect(top(await issued(world, { preferred_chain: 'ISRG Root X9' }))).toBe(names[0]);
    const [event] = await world.sql<{ detail: { wanted: string; offered: string[] } }[]>`
      select detail from acme.event where event = 'preferred_chain_missing'`;
    expect(event?.detail.wanted).toBe('ISRG Root X9');
    const offered = (event?.detail.offered ?? []).map((one) => /^(.+) \(([0-9a-f]+)\)$/.exec(one));
    expect(offered.map((one) => one?.[1]).sort()).toEqual([...names].sort());
    // What is listed can be written: each is the key of that root alone.
    for (const [, name, key] of offered.map((one) => one ?? [])) {
      expect(top(await issued(world, { preferred_chain: key }))).toBe(name);
    }
  });

  test('validity asks for an end of validity', async () => {
    const world = await worldOf();
    const { not_after: end } = await issued(world, { validity: '10 days' });
    const days = (end.getTime() - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(9.9);
    expect(days).toBeLessThan(10.1);
  });

  test('validity_start asks for its start', async () => {
    const world = await worldOf();
    const asked = { validity: '10 days', validity_start: '2 days' };
    const { not_before: start, not_after: end } = await issued(world, asked);
    const days = (start.getTime() - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(1.9);
    expect(days).toBeLessThan(2.1);
    expect(end.getTime() - start.getTime()).toBe(8 * 86_400_000);
    const [feature] = await world.sql`
      select support, how from acme.server_feature
       where server = 'ca' and feature = 'not_before_not_after'`;
    expect(feature).toEqual({ support: 'yes', how: 'seen' });
  });
});

test('each of both ends is asked for by itself, at each renewal, and none unless it is set', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  const csr = await world.insert({ names: [freshName()] }, { validity_start: '-1 hour' });
  const [first] = await reachCertificates(world, csr, 1);
  await world.sql`update acme.csr set validity_start = '0' where id = ${csr}`;
  await world.sql`select acme.renew(${csr})`;
  const [, second] = await reachCertificates(world, csr, 2);
  await world.sql`update acme.csr set validity_start = null, validity = '30 days' where id = ${csr}`;
  await world.sql`select acme.renew(${csr})`;
  await reachCertificates(world, csr, 3);
  await world.sql`update acme.csr set validity = null where id = ${csr}`;
  await world.sql`select acme.renew(${csr})`;
  await reachCertificates(world, csr, 4);
  const orders = ca.seen.filter(({ resource }) => resource === 'newOrder');
  const times = orders.map(({ payload }) => {
    const { notBefore, notAfter } = payload as { notBefore?: string; notAfter?: string };
    return { notBefore, hasEnd: notAfter !== undefined };
  });
  expect(times).toEqual([
    { notBefore: first?.not_before.toISOString().replace('.000', ''), hasEnd: false },
    { notBefore: second?.not_before.toISOString().replace('.000', ''), hasEnd: false },
    { notBefore: undefined, hasEnd: true },
    { notBefore: undefined, hasEnd: false },
  ]);
  expect((second?.not_before.getTime() ?? 0) - (first?.not_before.getTime() ?? 0)).toBeGreaterThan(
    3_600_000 - 1,
  );
});

async function reachCertificates(
  { sql }: World,
  csr: string,
  count: number,
): Promise<{ not_before: Date }[]> {
  return until(
    async () => {
      const rows = await sql<{ not_before: Date }[]>`
        select not_before from acme.certificate where csr_id = ${csr} order by id`;
      return rows.length === count && rows;
    },
    { what: `csr ${csr} has had ${String(count)} certificates`, timeoutMs: 20_000 },
  );
}

test('an alternate chain that cannot be had, or is another certificate, is no choice', async () => {
  const { ca, ...world } = await faultyWorld({ alternateChains: 1 });
  await world.worker();
  const first = await issued(world, { preferred_chain: 'pgacme test root 1' });
  expect(nameOf(first.chain.at(-1)?.issuer ?? '')).toBe('pgacme test root 1');
  ca.on('certificate', {
    when: ({ path }) => path.endsWith('/1'),
    problem: { type: 'serverInternal', status: 500 },
  });
  const second = await issued(world, { preferred_chain: 'pgacme test root 1' });
  expect(nameOf(second.chain.at(-1)?.issuer ?? '')).toBe('pgacme test root 0');
  ca.on('certificate', {
    when: ({ path }) => path.endsWith('/1'),
    body: first.chain.map((one) => one.toString()).join(''),
    contentType: 'application/pem-certificate-chain',
  });
  const third = await issued(world, { preferred_chain: 'pgacme test root 1' });
  expect(third.chain[0]?.serialNumber).not.toBe(first.chain[0]?.serialNumber);
  expect(nameOf(third.chain.at(-1)?.issuer ?? '')).toBe('pgacme test root 0');
});

test('a server that does not let clients choose the end of validity: a person decides', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  ca.on('newOrder', {
    times: Infinity,
    when: ({ payload }) => typeof payload === 'object' && payload !== null && 'notAfter' in payload,
    problem: {
      type: 'malformed',
      status: 400,
      detail: 'NotBefore and NotAfter are not supported',
    },
  });
  const csr = await world.insert({ names: [freshName()] }, { validity: '30 days' });
  const row = await world.reach(csr, 'needs_person');
  expect(row.reason_code).toBe('validity_refused');
  expect(row.reason).toContain('NotBefore and NotAfter are not supported');
  expect(row.reason).toContain(`update acme.csr set validity = null where id = ${csr}`);
  await world.sql`update acme.csr set validity = null where id = ${csr}`;
  await world.sql`select acme.retry(${csr})`;
  await world.reach(csr, 'issued');
});

test('one that does not let them choose its start, either: the sentence names what is set', async () => {
  const { ca, ...world } = await faultyWorld({ orderTimes: false });
  await world.worker();
  const csr = await world.insert({ names: [freshName()] }, { validity_start: '1 day' });
  const row = await world.reach(csr, 'needs_person');
  expect(row.reason_code).toBe('validity_refused');
  expect(row.reason).toContain(`update acme.csr set validity_start = null where id = ${csr};`);
  await world.sql`update acme.csr set validity = '30 days' where id = ${csr}`;
  await world.sql`select acme.retry(${csr})`;
  await until(async () => (await world.status(csr)).reason?.includes('validity = null'), {
    what: 'it is refused again',
  });
  expect((await world.status(csr)).reason).toContain(
    `update acme.csr set validity = null, validity_start = null where id = ${csr};`,
  );
  expect(ca.count('newOrder')).toBe(2);
  await world.sql`update acme.csr set validity = null, validity_start = null where id = ${csr}`;
  await world.sql`select acme.retry(${csr})`;
  await world.reach(csr, 'issued');
});

test('a validity that ends before it starts is refused at the insert', async () => {
  const world = await faultyWorld();
  const inserting = world.insert(
    { names: [freshName()] },
    { validity: '2 days', validity_start: '2 days' },
  );
  await expect(inserting).rejects.toThrow('validity must be longer than validity_start.');
});

test('a profile that the directory does not list is told before anything is ordered', async () => {
  const { ca, ...world } = await faultyWorld({
    profiles: { classic: 'as ever', shortlived: 'six days' },
  });
  await world.worker();
  const csr = await world.insert({ names: [freshName()] }, { profile: 'longlived' });
  const row = await world.reach(csr, 'needs_person');
  expect(row.reason_code).toBe('invalid_profile');
  expect(row.reason).toContain('no profile longlived');
  expect(row.reason).toContain('classic (as ever); shortlived (six days)');
  expect(ca.count('newOrder')).toBe(0);
  // The server offers it from now on, which the directory that was read before does not know.
  ca.options.profiles = { ...ca.options.profiles, longlived: 'for ever' };
  await world.sql`select acme.retry(${csr})`;
  await world.reach(csr, 'issued');
  expect(ca.seen.find(({ resource }) => resource === 'newOrder')?.payload).toMatchObject({
    profile: 'longlived',
  });
});
