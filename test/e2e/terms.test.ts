import { expect, test, vi } from 'vitest';
import { account, once, valid } from '../helpers/account.ts';
import type { AcmeServer } from '../helpers/acme-server/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

// RFC 8555 §7.3.3: a person agrees to terms of service, and to no others than those that were asked for.
vi.setConfig({ testTimeout: 60_000 });

const V1 = 'https://ca.example/terms/v1';
const V2 = 'https://ca.example/terms/v2';

/** An account that agreed to v1, at a CA whose terms are v2 since. */
async function worldOfNewTerms(): Promise<World & { ca: AcmeServer }> {
  const world = await faultyWorld({ termsOfService: V1 });
  await world.worker();
  await valid(world);
  world.ca.options.termsOfService = V2;
  return world;
}

/** The terms that each account of the CA agreed to. */
const agreedAtCa = (ca: AcmeServer) =>
  [...ca.store.accounts.values()].map(({ agreedTerms }) => agreedTerms);

const held = (world: World) =>
  once(world, ({ state }) => state === 'needs_person', 'the account waits for a person');

/** Once a worker has acted on all that was asked of the account `main`. */
const seen = ({ sql }: World) =>
  until(
    async () =>
      (
        await sql`
          select from acme_private.account_state s join acme.account a on a.id = s.account_id
           where a.name = 'main' and s.seen_version = a.version and s.lease_token is null`
      ).length === 1,
    { what: 'a worker has seen the account' },
  );

test('a change of contacts, a look and a roll-over agree to nothing; agree_terms does, and says to what', async () => {
  const { ca, ...world } = await worldOfNewTerms();
  const told = () => ca.seen.filter(({ resource }) => resource === 'account').length;
  const before = told();
  await world.sql`update acme.account set contact = '{mailto:new@example.org}'`;
  await world.sql`select acme.verify_account('main')`;
  await valid(world);
  expect(told()).toBeGreaterThan(before);
  await world.sql`select acme.roll_over_key('main')`;
  await world.sql`update acme.account set contact = '{mailto:newer@example.org}'`;
  await until(
    async () =>
      (await world.sql`select from acme.event where event = 'account_key_rolled_over'`).length,
    { what: 'the key is rolled over' },
  );
  await valid(world);
  expect(agreedAtCa(ca)).toEqual([V1]);
  expect(await account(world)).toMatchObject({ agreed_terms_url: V1 });

  const id = await world.insert({ names: [freshName()] });
  expect(await held(world)).toMatchObject({ reason_code: 'user_action_required', terms_url: V2 });
  await world.sql`update acme.account set contact = '{mailto:newest@example.org}'`;
  await seen(world);
  expect(await held(world)).toMatchObject({ reason_code: 'terms_not_agreed', terms_url: V2 });
  expect((await account(world)).reason).toContain(V1);
  expect(agreedAtCa(ca)).toEqual([V1]);

  await world.sql`select acme.agree_terms('main')`;
  await world.reach(id, 'issued');
  expect(agreedAtCa(ca)).toEqual([V2]);
  expect(await account(world)).toMatchObject({ agreed_terms_url: V2, terms_url: V2 });
});

test('terms_agreed that becomes true agrees, as agree_terms does', async () => {
  const { ca, ...world } = await worldOfNewTerms();
  await world.sql`update acme.account set terms_agreed = false`;
  await valid(world);
  await world.sql`update acme.account set terms_agreed = true`;
  await once(world, (row) => row.agreed_terms_url === V2, 'the server was told');
  expect(agreedAtCa(ca)).toEqual([V2]);
});

test.each([
  { terms: V1, is: 'registered again' },
  { terms: V2, is: 'not registered to terms that nobody agreed to' },
])('an account that the server lost is $is', async ({ terms }) => {
  const { ca, ...world } = await worldOfNewTerms();
  ca.options.termsOfService = terms;
  ca.forgetAccounts();
  const id = await world.insert({ names: [freshName()] });
  if (terms === V2) {
    const row = await held(world);
    expect(row).toMatchObject({
      reason_code: 'terms_not_agreed',
      terms_url: V2,
      agreed_terms_url: V1,
    });
    expect(agreedAtCa(ca)).toEqual([]);
    await world.sql`select acme.agree_terms('main')`;
  }
  await world.reach(id, 'issued');
  expect(agreedAtCa(ca)).toEqual([terms]);
});

test('an account that the policy makes agrees to what was agreed to for the default account, and no more', async () => {
  const { ca, ...world } = await worldOfNewTerms();
  await world.sql`update acme.server set account_policy = 'per_registered_domain' where name = 'ca'`;
  const id = await world.insert({ names: ['www.terms-of-policy.org'] });
  await until(
    async () => (await account(world, 'terms-of-policy.org'))?.reason_code === 'terms_not_agreed',
    { what: 'the account of the domain waits for a person' },
  );
  expect(agreedAtCa(ca)).toEqual([V1]);
  await world.sql`select acme.agree_terms('terms-of-policy.org')`;
  await world.reach(id, 'issued');
  expect(agreedAtCa(ca)).toEqual([V1, V2]);
});
