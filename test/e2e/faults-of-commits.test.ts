import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { accountId, now, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

// Each commit of a worker raises an error for one row, again and again: that row is left alone for an hour, and what
// all others need is done.

const OF_ORDER = `select from acme_private."order" x join acme_private.csr_state s using (csr_id) where x.id = $2`;

/** The row that a commit is of: a query for it, which the name of the one that raises is added to. */
const rows = {
  account: `select from acme.account a where a.id = $2 and a.name`,
  order: `${OF_ORDER} and s.ref`,
  failed: `${OF_ORDER.replace('$2', '$3')} and $2 = 'order' and s.ref`,
  csr: `select from acme_private.csr_state s where s.csr_id = $2 and s.ref`,
  certificate: `select from acme_private.certificate x join acme_private.csr_state s using (csr_id) where x.id = $2 and s.ref`,
  authorization: `select from acme_private.authorization x where x.id = $2 and split_part(x.identifier, '.', 1)`,
} as const;

/** Of accounts. */
const ofAccounts = [
  'account_key_stored',
  'account_registered',
  'account_updated',
  'account_pending_key',
  'account_key_ready',
  'account_rolled_over',
  'account_deactivated',
  'orders_listed',
  'orders_read',
];

/** Of csrs, their orders, certificates and authorizations. */
const ofOthers: Record<string, keyof typeof rows> = {
  step_failed: 'failed',
  order_finalized: 'order',
  order_cancelled: 'order',
  renewal_window: 'order',
  attend: 'csr',
  certificate_revoked: 'certificate',
  authorization_named: 'authorization',
  authorization_created: 'authorization',
  authorization_deactivated: 'authorization',
};

/** Commits without a fault point in this file. */
const elsewhere: Record<string, string> = {
  claim: 'faults-of-one.test.ts',
  dispatch: 'faults-of-one.test.ts',
  verdicts: 'faults-of-one.test.ts',
  order_created: 'faults-of-one.test.ts',
  challenge_intended: 'faults-of-one.test.ts',
  authorization_proved: 'faults-of-one.test.ts',
  certificate_stored: 'faults-of-one.test.ts',
  account_key_found: 'ends the same step as account_updated, after another answer',
  account_roll_over_refused: 'ends the same step as account_rolled_over, after another answer',
  release: 'gives back what another commit raised for',
  reconcile: 'is of no row; test/sql/wake-ups.test.ts',
  server_answered: 'is of no row',
  server_facts_stored: 'is of no row',
};

test('each commit of a worker has a fault point', () => {
  const source = readFileSync(new URL('../../src/db/steps/steps.ts', import.meta.url), 'utf8');
  const named = [...source.matchAll(/\b(?:commit|claimed)(?:<[^(]*>)?\(\s*([^,]+),/g)]
    .flatMap(([, name = '']) => [...name.matchAll(/'([a-z_]+)'/g)])
    .map(([, name]) => name);
  expect(named.length).toBeGreaterThan(20);
  expect([...new Set(named)].sort()).toEqual(
    [...ofAccounts, ...Object.keys(ofOthers), ...Object.keys(elsewhere)].sort(),
  );
});

/** Puts a function in front of a commit that raises for the row that is called as the commit. */
async function raiseIn({ sql }: World, commit: string, row: keyof typeof rows): Promise<void> {
  const [found] = await sql<[{ types: string; result: string; values: string }]>`
    select array_to_string(proargtypes::regtype[], ', ') as types, prorettype::regtype::text as result,
           (select string_agg('$' || n, ', ' order by n) from generate_series(1, pronargs) n) as values
      from pg_proc
     where pronamespace = 'acme_private'::regnamespace and proname = ${commit}`;
  const { types, result, values } = found;
  const call = `acme_private.${commit}_as_it_is(${values})`;
  await sql.unsafe(`
    alter function acme_private.${commit}(${types}) rename to ${commit}_as_it_is;
    create function acme_private.${commit}(${types}) returns ${result} language plpgsql security definer as $$
    begin
      if exists (${rows[row]} = '${commit.replaceAll('_', '-')}') then
        raise 'the fault point';
      end if;
      ${result === 'void' ? `perform ${call}` : `return ${call}`};
    end $$;`);
}

const nameOf = (commit: string) => commit.replaceAll('_', '-');

test('an error in each commit of accounts, for an account of its own, stops no other', async () => {
  const world = await faultyWorld({ ordersPerPage: 10 });
  const { sql } = world;
  for (const commit of ofAccounts) {
    await raiseIn(world, commit, 'account');
    await sql`
      insert into acme.account (name, server, terms_agreed) values (${nameOf(commit)}, 'ca', true)`;
  }
  const notRegistered = ['account-key-stored', 'account-registered'];
  await world.worker();
  const setAside = async () => {
    const found = await sql<{ name: string }[]>`
      select a.name from acme.account a join acme.account_status s using (id) where s.reason_code = 'set_aside'`;
    return found.map(({ name }) => name).sort();
  };
  await until(
    async () =>
      (
        await sql`
        select from acme.account_status where state <> 'valid' and name <> all (${notRegistered})`
      ).length === 0,
    { what: 'the others are registered', timeoutMs: 60_000 },
  );
  // An order for its list that is not known here any more.
  const read = await world.insert({ names: [freshName()] }, { account: 'orders-read' });
  await world.reach(read, 'issued', 30_000);
  await sql`delete from acme.csr where id = ${read}`;
  await sql`update acme.account set contact = '{mailto:new@example.org}' where name = 'account-updated'`;
  await sql`
    select acme.roll_over_key(name) from acme.account
     where name in ('account-pending-key', 'account-key-ready', 'account-rolled-over')`;
  await sql`select acme.deactivate_account('account-deactivated')`;
  for (const name of ['orders-listed', 'orders-read']) {
    await set(sql, 'account', await accountId(sql, name), { reread_since: now() });
  }
  await sql`select acme_private.reconcile()`;
  await until(
    async () => {
      const found = await setAside();
      if (found.length === ofAccounts.length) return true;
      throw new Error(`only these are set aside: ${found.join(', ')}`);
    },
    { what: 'each is set aside', timeoutMs: 90_000 },
  );
  expect(await setAside()).toEqual(ofAccounts.map(nameOf).sort());
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  const events = await sql<{ name: string }[]>`
    select distinct a.name from acme.event e join acme.account a on a.id = e.account_id where e.event = 'set_aside'`;
  expect(events.map(({ name }) => name).sort()).toEqual(ofAccounts.map(nameOf).sort());
}, 240_000);

test('an error in each commit of csrs, for one of its own, stops no other', async () => {
  const world = await faultyWorld({ preAuthorization: true, renewalInfo: true });
  const { sql, ca } = world;
  await sql`update acme.server set max_orders_in_flight = 4 where name = 'ca'`;
  for (const [commit, row] of Object.entries(ofOthers)) await raiseIn(world, commit, row);
  const ofNewOrders = ['step-failed', 'order-finalized', 'order-cancelled'];
  const ofIssued = ['renewal-window', 'attend', 'certificate-revoked'];
  const isOf = (label: string, value: unknown) => JSON.stringify(value).includes(`"${label}.`);
  // What leads there: newOrder is refused, finalize takes long.
  ca.on('newOrder', {
    problem: { type: 'rejectedIdentifier', status: 400, detail: 'no' },
    when: ({ payload }) => isOf('step-failed', payload),
    times: Infinity,
  });
  for (const resource of ['finalize', 'order'] as const) {
    ca.on(resource, {
      rewrite: (json) =>
        isOf('order-finalized', json) && json['status'] === 'valid'
          ? { ...json, status: 'processing', certificate: undefined }
          : json,
      times: Infinity,
    });
  }
  // The order of what is cancelled is not made yet.
  ca.on('newOrder', {
    status: 500,
    html: true,
    when: ({ payload }) => isOf('order-cancelled', payload),
    times: Infinity,
  });

  const made = Array.from({ length: 50 }, (_, at) => [...ofNewOrders, ...ofIssued][at - 3]);
  const csrs = await Promise.all(
    made.map(async (label, at) => {
      const name = label === undefined ? freshName() : `${label}.${freshName()}`;
      return { pem: (await makeCsr({ names: [name] })).pem, ref: label ?? `good-${at}` };
    }),
  );
  const inserted = await sql<{ id: string; ref: string }[]>`
    insert into acme.csr ${sql(csrs)} returning id, ref`;
  const idOf = (ref: string) => inserted.find((one) => one.ref === ref)?.id ?? '';
  await world.worker();
  await until(
    async () =>
      (await sql`select from acme.order where csr_id = ${idOf('order-cancelled')}`).length > 0,
    { what: 'there is an order to cancel', timeoutMs: 60_000 },
  );
  await sql`select acme.cancel(${idOf('order-cancelled')})`;
  const are = async (what: string, count: number, query: () => Promise<{ n: number }[]>) =>
    until(
      async () => {
        const n = (await query())[0]?.n ?? 0;
        if (n === count) return true;
        throw new Error(`${n} of ${count} are`);
      },
      { what, timeoutMs: 120_000 },
    );
  await are(
    'the others are issued',
    47,
    () => sql`select count(*)::int as n from acme.csr_status where state = 'issued'`,
  );
  const setAside = async (refs: string[]) =>
    are(
      `set aside are ${refs.join()}`,
      refs.length,
      () => sql`
        select count(distinct s.ref)::int as n from acme.event e join acme_private.csr_state s using (csr_id)
         where e.event = 'set_aside' and s.ref = any (${refs})`,
    );
  await setAside(ofNewOrders);

  // Renewals, revocations and authorizations, one of each that raises and one that does not.
  await sql`select acme.revoke(id, 'superseded') from acme.csr where ref in ('certificate-revoked', 'good-20')`;
  await sql`select acme.renew(id) from acme.csr where ref in ('attend', 'good-21')`;
  const soon = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();
  ca.options.renewalWindow = { start: soon(10), end: soon(12) };
  const renewed = await sql<{ id: string }[]>`
    select id from acme.csr where ref in ('renewal-window', 'good-22')`;
  await set(
    sql,
    'csr',
    renewed.map(({ id }) => id),
    { renew_at: now() },
  );
  const names = ['authorization-named', 'authorization-created', 'authorization-deactivated'];
  const preauthorized = ['a-good-one', ...names].map((label) => `${label}.${freshName()}`);
  for (const name of preauthorized) await sql`select acme.preauthorize(${name})`;
  await sql`select acme_private.reconcile()`;
  const validated = (label: string) => sql<{ id: string }[]>`
    select id from acme.authorization where state = 'valid' and identifier like ${`${label}.%`}`;
  const [valid] = await until(
    async () => {
      const found = await validated('authorization-deactivated');
      return found.length > 0 && found;
    },
    { what: 'one is valid', timeoutMs: 30_000 },
  );
  await sql`select acme.deactivate_authorization(${valid?.id ?? ''})`;

  await setAside(['certificate-revoked', 'renewal-window']);
  await are(
    'authorizations are set aside',
    names.length,
    () => sql`
      select count(*)::int as n from acme_private.authorization
       where reason_code = 'set_aside' and split_part(identifier, '.', 1) = any (${names})`,
  );
  expect(await validated('a-good-one')).toHaveLength(1);
  await are(
    'the others are done',
    3,
    () => sql`
      select count(*)::int as n from acme.csr_status s
       where s.ref = 'good-20' and exists (select from acme.certificate k where k.csr_id = s.id and k.state = 'revoked')
          or s.ref = 'good-21' and (select count(*) from acme.certificate k where k.csr_id = s.id) = 2
          or s.ref = 'good-22' and s.reason_code = 'renewal_window'`,
  );
  const [attended] = await sql<[{ state: string }]>`
    select state from acme.csr_status where ref = 'attend'`;
  expect(attended.state).toBe('issued');
  expect(
    await sql`select from acme_private."order" where is_live and lease_token is not null`,
  ).toHaveLength(0);
}, 360_000);
