import type postgres from 'postgres';
import { expect, test, vi } from 'vitest';
import { newestPebble, pebbleForTests, pebbleOfThisRelease } from '../helpers/pebble.ts';
import { age, all } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld } from '../helpers/world.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 120_000 });

type Supports = Record<string, string>;

/** What acme.server_feature says of a server, `how` and all. */
async function supports(sql: postgres.Sql, server: string): Promise<Supports> {
  const rows = await sql<{ feature: string; said: string }[]>`
    select feature, concat_ws(' ', support, how) as said
      from acme.server_feature
     where server = ${server}
     order by feature collate "C"`;
  return Object.fromEntries(rows.map(({ feature, said }) => [feature, said]));
}

const differences = (a: Supports, b: Supports) =>
  Object.keys(a).filter((feature) => a[feature] !== b[feature]);

/** Counts how often workers store what they found out about servers. */
async function countStored(sql: postgres.Sql): Promise<() => Promise<number>> {
  await sql.unsafe(`
    create sequence public.stored;
    alter function acme_private.server_facts_stored(bigint, bigint, text, jsonb) rename to uncounted;
    create function acme_private.server_facts_stored(bigint, bigint, text, jsonb) returns void
    language plpgsql security definer as $$
    begin
      perform nextval('public.stored');
      perform acme_private.uncounted($1, $2, $3, $4);
    end
    $$`);
  return async () => {
    const [row] = await sql<[{ count: number }]>`
      select case when is_called then last_value else 0 end::int as count from public.stored`;
    return row.count;
  };
}

test('two Pebbles, the newest and an old one, are told apart by what they say and show', async () => {
  const { sql, pebble, ...world } = await pebbleWorld({ binaries: await newestPebble() });
  const binaries = await pebbleOfThisRelease();
  if (binaries === undefined) throw new Error('There is no apt-get to fetch this Pebble with.');
  // One worker answers http-01 for both.
  const old = await pebbleForTests({ binaries, httpPort: pebble.httpPort });
  await sql`
    insert into acme.server (name, directory_url, ca_bundle, max_orders_in_flight)
    values ('old', ${old.directoryUrl}, ${old.caPem}, 8)`;
  await sql`
    insert into acme.account (name, server, contact, terms_agreed)
    values ('old', 'old', '{mailto:ops@example.org}', true)`;
  await world.worker();
  for (const account of ['main', 'old']) {
    await world.reach(await world.insert({ names: [freshName()] }, { account }), 'issued', 40_000);
  }
  const [now, then] = [await supports(sql, 'ca'), await supports(sql, 'old')];
  // What both have: said by their directories, or shown while a certificate was ordered.
  for (const of of [now, then]) {
    expect(of).toMatchObject({
      'http-01': 'yes seen',
      'dns-01': 'yes seen',
      'tls-alpn-01': 'yes seen',
      key_change: 'yes directory',
      revoke_cert: 'yes directory',
      new_authz: 'no directory',
      external_account_required: 'no directory',
      terms_of_service: 'yes directory',
      contact_kept: 'yes seen',
      orders_list: 'yes seen',
      alternate_chains: 'no seen',
      ip_identifiers: 'unknown',
      in_service: 'unknown',
    });
  }
  process.stdout.write(
    `Pebble ${old.version ?? '?'} and ${pebble.version ?? '?'} differ in:\n${differences(then, now)
      .map((feature) => `  ${feature}: ${String(then[feature])} → ${String(now[feature])}`)
      .join('\n')}\n`,
  );
  if (old.version !== '2.4') return;
  // Whether one of them was still pending when it was looked at is chance.
  const named = differences(then, now).filter((feature) => !feature.startsWith('retry_after'));
  expect(named).toEqual([
    'caa_identities',
    'dns-account-01',
    'dns-persist-01',
    'profiles',
    'renewal_info',
  ]);
  expect(then).toMatchObject({ renewal_info: 'no directory', 'dns-account-01': 'no seen' });
  expect(now).toMatchObject({ renewal_info: 'yes directory', 'dns-account-01': 'yes seen' });
  const [profiles] = await sql<[{ value: Record<string, string> }]>`
    select value from acme.server_feature where server = 'ca' and feature = 'profiles'`;
  for (const about of Object.values(profiles.value)) expect(about).not.toBe('');
});

test('what a worker has told once costs certificates no statement more', async () => {
  const { sql, ...world } = await pebbleWorld();
  const stored = await countStored(sql);
  await world.worker();
  const issue = async (names: number) => {
    const id = await world.insert({ names: Array.from({ length: names }, () => freshName()) });
    await world.reach(id, 'issued');
    return id;
  };
  const first = await issue(1);
  const told = await stored();
  // The directory and the account at registration, challenges, the answers while it waited, the chain.
  expect(told).toBeGreaterThanOrEqual(4);
  expect(told).toBeLessThanOrEqual(8);
  for (const names of [1, 2, 3, 1, 2, 3]) await issue(names);
  await sql`select acme.renew(${first}, 'for the test')`;
  await until(
    async () => (await sql`select from acme.certificate where csr_id = ${first}`).length === 2,
    { what: 'it is renewed' },
  );
  // What the first renewal shows, and at most what no order before had to wait for: the certificate, and the
  // verdict on a name. When that comes is a matter of time.
  expect((await stored()) - told).toBeLessThanOrEqual(3);
});

test('a directory is read again after a quarter of an hour, and one that cannot be had changes nothing but that', async () => {
  const { ca, sql, ...world } = await faultyWorld();
  await world.worker();
  await until(
    async () => (await sql`select from acme.account_status where state = 'valid'`).length === 1,
    { what: 'the account is registered' },
  );
  expect(await supports(sql, 'ca')).toMatchObject({
    profiles: 'no directory',
    terms_of_service: 'yes directory',
    new_authz: 'no directory',
  });
  const look = async () => {
    await age(sql, 'server_contact', all, '15 minutes', 'asked_at');
    await sql`select from acme_worker.add_job('features', '{}'::json, job_key := 'test:features')`;
    await until(
      async () =>
        (await sql`select from acme_worker.jobs where key = 'test:features'`).length === 0,
      { what: 'the job is done' },
    );
  };
  await look();
  const contact = async () => {
    const [row] = await sql<[{ isFailing: boolean; hasAnswered: boolean; reason: string | null }]>`
      select failing_since is not null as "isFailing", answered_at is not null as "hasAnswered", reason from acme_private.server_contact`;
    return row;
  };
  expect(await contact()).toEqual({ isFailing: false, hasAnswered: true, reason: null });
  const read = ca.count('directory');
  ca.on('directory', { status: 500, html: true });
  await look();
  expect(ca.count('directory')).toBe(read + 1);
  expect(await supports(sql, 'ca')).toMatchObject({ profiles: 'no directory' });
  expect(await contact()).toEqual({
    isFailing: true,
    hasAnswered: true,
    reason: 'It answered 500',
  });

  ca.options.profiles = { shortlived: 'six days\u202e' };
  ca.options.termsOfService = undefined;
  await look();
  expect(ca.count('directory')).toBe(read + 2);
  expect(await contact()).toEqual({ isFailing: false, hasAnswered: true, reason: null });
  expect(await supports(sql, 'ca')).toMatchObject({
    profiles: 'yes directory',
    terms_of_service: 'no directory',
  });
  const [row] = await sql<[{ value: unknown; source: string }]>`
    select value, source from acme.server_feature where server = 'ca' and feature = 'profiles'`;
  expect(row).toEqual({
    value: { shortlived: 'six days' },
    source: 'the directory has meta.profiles',
  });
  // Nothing but directories was asked for: that costs no limit.
  expect(ca.seen.slice(-2).map(({ resource }) => resource)).toEqual(['directory', 'directory']);
});

test('a server that asks for an external account says so before anything is tried', async () => {
  const { ca, sql, ...world } = await faultyWorld({ externalAccounts: {} });
  await world.worker();
  await until(
    async () =>
      (
        await sql`
          select from acme.account_status where reason_code = 'external_account_required'`
      ).length === 1,
    { what: 'the account waits for a person' },
  );
  expect(await supports(sql, 'ca')).toMatchObject({ external_account_required: 'yes directory' });
  expect(ca.count('newAccount')).toBe(0);
});

test('what answers show of waiting, chains and giving up is seen', async () => {
  const { ca, sql, ...world } = await faultyWorld({
    alternateChains: 2,
    retryAfter: 1,
    finalizeDelayMs: 900,
  });
  await world.worker();
  const first = await world.insert({ names: [freshName()] });
  await world.reach(first, 'issued', 30_000);
  await sql`select acme.revoke(${first}, 'superseded')`;
  await until(async () => (await supports(sql, 'ca'))['revocation_by_account'] === 'yes seen', {
    what: 'a revocation was seen',
    timeoutMs: 30_000,
  });
  expect(await supports(sql, 'ca')).toMatchObject({
    revocation_by_other_account: 'unknown',
    revocation_by_certificate_key: 'unknown',
    alternate_chains: 'yes seen',
    retry_after_order: 'yes seen',
    authorization_deactivation: 'unknown',
  });
  await sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{}')`;
  const id = await world.insert({ names: [freshName()] }, { solver: 'by-hand' });
  await until(async () => (await sql`select from acme.challenge_todo`).length === 1, {
    what: 'it waits for a person',
  });
  await sql`select acme.cancel(${id})`;
  await world.reach(id, 'cancelled');
  expect(await supports(sql, 'ca')).toMatchObject({
    authorization_deactivation: 'yes seen',
    key_change: 'yes directory',
    account_deactivation: 'unknown',
  });
  await sql`select acme.roll_over_key('main')`;
  await until(async () => (await supports(sql, 'ca'))['key_change'] === 'yes seen', {
    what: 'a roll-over was seen',
    timeoutMs: 30_000,
  });
  await sql`select acme.deactivate_account('main')`;
  await until(async () => (await supports(sql, 'ca'))['account_deactivation'] === 'yes seen', {
    what: 'the end of an account was seen',
    timeoutMs: 30_000,
  });
  expect(ca.count('newAccount')).toBe(1);
});

test('what a server shows corrects what is documented: times that it refuses, orders that are ready at once, new terms', async () => {
  const { ca, sql, ...world } = await faultyWorld({ orderTimes: false, authzReuse: 'valid' });
  await sql`
    insert into acme_private.documented_feature (directory, feature, support, value, source, as_of)
    select '^' || ${ca.directoryUrl} || '$', f.feature, f.support, f.value, 'a page', '2026-01-01'
      from (values ('not_before_not_after', 'yes', null), ('authorization_reuse', 'no', null),
                   ('terms_of_service', 'yes', '"https://ca.example/terms/v0"'::jsonb)) f (feature, support, value)`;
  await world.worker();
  const name = freshName();
  await world.reach(await world.insert({ names: [name] }), 'issued');
  expect(await supports(sql, 'ca')).toMatchObject({
    not_before_not_after: 'yes documented',
    authorization_reuse: 'no documented',
  });
  await world.reach(await world.insert({ names: [name, freshName()] }), 'issued');
  await world.reach(await world.insert({ names: [name] }), 'issued');
  const timed = await world.insert({ names: [name] }, { validity: '10 days' });
  expect(await world.reach(timed, 'needs_person')).toMatchObject({
    reason_code: 'validity_refused',
  });
  const terms = 'https://ca.example/terms/v2';
  ca.options.termsOfService = terms;
  await world.insert({ names: [freshName()] });
  await until(
    async () => (await sql`select from acme.account_status where terms_url = ${terms}`).length > 0,
    { what: 'the account is asked to agree' },
  );
  expect(await supports(sql, 'ca')).toMatchObject({
    not_before_not_after: 'no seen',
    authorization_reuse: 'yes seen',
    terms_of_service: 'yes seen',
  });
  const rows = await sql`
    select feature, value, contradicted_by -> 0 ->> 'source' as otherwise from acme.server_feature
     where server = 'ca' and feature in ('not_before_not_after', 'authorization_reuse', 'terms_of_service')
     order by feature`;
  expect([...rows]).toEqual([
    { feature: 'authorization_reuse', value: null, otherwise: 'a page' },
    { feature: 'not_before_not_after', value: null, otherwise: 'a page' },
    { feature: 'terms_of_service', value: terms, otherwise: null },
  ]);
  // Within the day in which the worker tells nothing twice.
  await sql`select acme.agree_terms('main')`;
  await until(
    async () => (await sql`select from acme.account_status where state = 'valid'`).length > 0,
    { what: 'the account orders again' },
  );
  const newer = 'https://ca.example/terms/v3';
  ca.options.termsOfService = newer;
  await world.insert({ names: [freshName()] });
  await until(
    async () => {
      const [row] = await sql<[{ value: string }]>`
        select value from acme.server_feature where server = 'ca' and feature = 'terms_of_service'`;
      return row.value === newer;
    },
    { what: 'the newer terms are known' },
  );
});
