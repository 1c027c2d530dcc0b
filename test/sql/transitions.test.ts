import type postgres from 'postgres';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../helpers/refusal.ts';
import { type Job, openShop, type Shop } from '../helpers/shop.ts';

let shop: Shop;
/** The id of the one row of each kind. */
let ids: Record<string, string>;

const tables: Record<string, { table: string; id: string }> = {
  csr: { table: 'acme_private.csr_state', id: 'csr_id' },
  order: { table: 'acme_private."order"', id: 'id' },
  authorization: { table: 'acme_private.authorization', id: 'id' },
  challenge: { table: 'acme_private.challenge', id: 'id' },
  record: { table: 'acme_private.record', id: 'id' },
  certificate: { table: 'acme_private.certificate', id: 'id' },
  account: { table: 'acme_private.account_state', id: 'account_id' },
};

// A row of each kind with all that any of its states asks for, so that only the state is in question.
beforeAll(async () => {
  shop = await openShop();
  const csr = await shop.insert();
  const { sql } = shop;
  // Ids that tell the rows apart.
  await sql`
    select setval(pg_get_serial_sequence('acme_private.' || quote_ident(kind), 'id'), 100 * n)
      from unnest(array['order', 'authorization', 'challenge', 'record', 'certificate']) with ordinality k (kind, n)`;
  const [made] = await sql<[Record<string, string>]>`
    with account as (
      update acme_private.account_state set url = 'https://ca.example.org/account/1' returning account_id, server_id
    ), placed as (
      update acme_private.csr_state s set identifiers = '{a.example.org}', order_id = 0, certificate_id = 0, account_id = account.account_id,
             server_id = account.server_id
        from account
      returning s.csr_id, s.tenant
    ), orders as (
      insert into acme_private."order" (csr_id, tenant, server_id, account_id, identifiers, identifiers_key, url)
      select ${csr}, tenant, server_id, account_id, '{a.example.org}', '', 'https://ca.example.org/order/1' from placed, account
      returning id
    ), authorizations as (
      insert into acme_private.authorization (account_id, url, tenant, identifier)
      select account_id, 'https://ca.example.org/authorization/1', tenant, 'www.example.org' from placed, account
      returning id
    ), challenges as (
      insert into acme_private.challenge (authorization_id, tenant, url, type, token, key_authorization)
      select id, tenant, 'https://ca.example.org/challenge/1', 'http-01', 't', 't.k' from placed, authorizations
      returning id
    ), records as (
      insert into acme_private.record (challenge_id, tenant, solver, method, type, identifier, token, value)
      select id, tenant, 'http-01', 'manual', 'http-01', 'a.example.org', 't', 't.k' from placed, challenges
      returning id
    ), certificates as (
      insert into acme_private.certificate (csr_id, tenant, order_id, identifiers, leaf_pem, chain_pem, subject, issuer, serial,
                                            not_before, not_after, spki_sha256, fingerprint_sha256, revocation_reason, revoked_at)
      select ${csr}, tenant, id, '{a.example.org}', '', '', '', '', '', now(), now(), '', '', 'superseded', now() from placed, orders
      returning id
    )
    select csr_id as csr, o.id as order, a.id as authorization, c.id as challenge, r.id as record, k.id as certificate, account_id as account
      from placed, account, orders o, authorizations a, challenges c, records r, certificates k`;
  ids = made;
});

/** Brings the row into a state as if it had always been there. */
async function place(sql: postgres.TransactionSql, kind: string, state: string): Promise<void> {
  await sql`set local session_replication_role = replica`;
  await move(sql, kind, state);
  await sql`set local session_replication_role = origin`;
}

/** What a DBA would type in psql. */
async function move(sql: postgres.TransactionSql, kind: string, state: string): Promise<void> {
  const { table, id } = tables[kind] ?? { table: kind, id: 'id' };
  const isOrderEnd = kind === 'order' && ['issued', 'failed', 'cancelled'].includes(state);
  const finish = kind === 'order' ? `, finished_at = ${isOrderEnd ? 'now()' : 'null'}` : '';
  await sql.unsafe(`update ${table} set state = $1${finish} where ${id} = $2`, [
    state,
    ids[kind] ?? null,
  ]);
}

const undo = new Error('undo');

/** Places, then moves as a superuser; returns the jobs that this made, or the error. */
async function attempt(
  kind: string,
  from: string,
  to: string,
): Promise<{ jobs: Job[] } | { error: string }> {
  let outcome: Awaited<ReturnType<typeof attempt>> = { error: 'nothing happened' };
  await shop.sql
    .begin(async (tx) => {
      await place(tx, kind, from);
      try {
        await tx.savepoint((inner) => move(inner, kind, to));
        const jobs = await tx<Job[]>`
          select v.task_identifier as task, j.key, j.payload
            from acme_worker._private_jobs j
            join acme_worker.jobs v using (id)`;
        outcome = { jobs: [...jobs] };
      } catch (error) {
        outcome = { error: error instanceof Error ? error.message : String(error) };
      }
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
  return outcome;
}

beforeEach(() => shop.clearJobs());

describe.each(Object.keys(tables))('a superuser who moves a row: %s', (kind) => {
  test('is refused what the table of transitions does not have', async () => {
    const rows = await shop.sql<{ from_state: string; to_state: string }[]>`
      with state as (
        select from_state as state from acme_private.transition where kind = ${kind}
        union
        select to_state from acme_private.transition where kind = ${kind}
      )
      select a.state as from_state, b.state as to_state
        from state a, state b
       where a.state <> b.state
      except
      select from_state, to_state from acme_private.transition where kind = ${kind}`;
    expect(rows.length).toBeGreaterThan(0);
    for (const { from_state: from, to_state: to } of rows) {
      expect(await attempt(kind, from, to)).toEqual({
        error: `${kind} cannot go from ${from} to ${to}`,
      });
    }
  });

  test('may do what it has, and wakes a worker for the step of the new state, without a key', async () => {
    const rows = await shop.sql<{ from_state: string; to_state: string; step: string | null }[]>`
      select t.from_state, t.to_state, m.step
        from acme_private.transition t
        left join acme_private.step m on m.kind = t.kind and m.state = t.to_state
       where t.kind = ${kind}`;
    expect(rows.length).toBeGreaterThan(0);
    for (const { from_state: from, to_state: to, step } of rows) {
      expect(await attempt(kind, from, to), `${from} to ${to}`).toEqual({
        jobs: expectedJobs(kind, from, to, step),
      });
    }
  });
});

function expectedJobs(kind: string, from: string, to: string, step: string | null): Job[] {
  const job = (task: string, named: string) => [
    { task, key: null, payload: { kind: named, id: Number(ids[named]) } },
  ];
  // What was published by hand is to be proved.
  if (kind === 'record' && from === 'intended' && to === 'published') {
    return job('prove', 'authorization');
  }
  if (step === null) return [];
  return step === 'dispatch' ? [{ task: step, key: null, payload: {} }] : job(step, kind);
}

test('a row that a worker holds wakes nobody: its commit says what follows', async () => {
  await shop.sql
    .begin(async (tx) => {
      await place(tx, 'order', 'creating');
      await tx`update acme_private."order" set lease_token = gen_random_uuid(), lease_until = now() + interval '1 minute'`;
      await move(tx, 'order', 'ready');
      expect(await tx`select from acme_worker.jobs`).toHaveLength(0);
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
});

test('the refusal says where the rules are', async () => {
  const error = await refusal(shop.sql`update acme_private.csr_state set state = 'failed'`);
  expect(error).toMatchObject({
    code: '23514',
    message: 'csr cannot go from received to failed',
    hint: 'See acme_private.transition and docs/state-machine.md.',
  });
});
