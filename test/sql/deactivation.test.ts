import { beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  accountId,
  add,
  ago,
  all,
  expireLease,
  lease,
  ownName,
  putInState,
  registerDefaultAccount,
  set,
} from '../helpers/state/index.ts';

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
  await shop.clearJobs();
});

/** An authorization of the shop's tenant, as orders left it. */
async function authorization(state = 'valid', name = 'www.example.org'): Promise<string> {
  const { role } = await shop.database.login('acme_app');
  return add(shop.sql, 'authorization', {
    account_id: await accountId(shop.sql),
    url: `https://ca.example.org/authz/${name}`,
    tenant: role,
    state,
    identifier: name,
  });
}

async function claim(id: string): Promise<{ step: string; lease: string } | null> {
  const [row] = await shop.sql<[{ claim: { step: string; lease: string } | null }]>`
    select acme_private.claim(null, 'authorization', ${id}) as claim`;
  return row.claim;
}

async function stateOf(id: string): Promise<string> {
  const [row] = await shop.app<[{ state: string }]>`
    select state from acme.authorization where id = ${id}`;
  return row.state;
}

const job = (id: string, key: string | null = null) => ({
  task: 'prove',
  key,
  payload: { kind: 'authorization', id: Number(id) },
});

describe('a request', () => {
  test('that is not of the tenant of its authorization is dropped with an event', async () => {
    const id = await authorization();
    // As if row-level security and the trigger had failed.
    await shop.sql.begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      await tx`
        insert into acme.deactivation_request (authorization_id, tenant, requested_by)
        values (${id}, 'mallory', 'mallory')`;
    });
    expect(await claim(id)).toBeNull();
    expect(await stateOf(id)).toBe('valid');
    expect(await shop.sql`select from acme.deactivation_request`).toHaveLength(0);
    const events = await shop.sql`select event, tenant, detail from acme.event`;
    expect(events).toEqual([
      {
        event: 'request_dropped',
        tenant: null,
        detail: {
          request: 'deactivation',
          authorization_id: Number(id),
          tenant: 'mallory',
          by: 'mallory',
        },
      },
    ]);
  });

  test('wakes a worker without a key, and is gone once one has seen it', async () => {
    const id = await authorization();
    expect(await claim(id), 'nothing is to be proved').toBeNull();
    await shop.app`select acme.deactivate_authorization(${id})`;
    expect(await shop.jobs()).toEqual([job(id)]);
    expect(
      await shop.app`select authorization_id, requested_by = session_user as is_me from acme.deactivation_request`,
    ).toEqual([{ authorization_id: id, is_me: true }]);
    const held = await claim(id);
    expect(held).toMatchObject({ step: 'deactivate' });
    expect(await stateOf(id)).toBe('deactivating');
    expect(await shop.app`select from acme.deactivation_request`).toHaveLength(0);
    await shop.sql`
      select acme_private.authorization_deactivated(null, ${id}, ${held?.lease ?? ''}, 'deactivated', 0)`;
    expect(await stateOf(id)).toBe('deactivated');
    const events = await shop.app<{ event: string; detail: { by?: string } }[]>`
      select event, detail from acme.event order by id`;
    expect(events.map(({ event }) => event)).toEqual([
      'deactivation_requested',
      'authorization_deactivated',
    ]);
    expect(events[0]?.detail.by).toBe((await shop.database.login('acme_app')).role);
  });

  test('waits while somebody proves the authorization', async () => {
    const id = await authorization('pending');
    await lease(shop.sql, 'authorization', id);
    await shop.app`select acme.deactivate_authorization(${id})`;
    expect(await claim(id)).toBeNull();
    expect(await shop.app`select from acme.deactivation_request`).toHaveLength(1);
    await expireLease(shop.sql, 'authorization', all);
    expect(await claim(id)).toMatchObject({ step: 'deactivate' });
  });

  test('for one that has ended, or that nobody has heard of, is refused', async () => {
    const id = await authorization('invalid');
    expect((await refusal(shop.app`select acme.deactivate_authorization(${id})`)).message).toBe(
      `Authorization ${id} is invalid already, and proves nothing.`,
    );
    const unknown = await refusal(shop.app`select acme.deactivate_authorization(999)`);
    expect(unknown.message).toBe('There is no authorization 999.');
  });

  test('of another tenant finds nothing, and forges nothing', async () => {
    const id = await authorization();
    const other = await shop.database.as('acme_app', { login: 'other' });
    const refused = await refusal(other`select acme.deactivate_authorization(${id})`);
    expect(refused.message).toBe(`There is no authorization ${id}.`);
    const { role } = await shop.database.login('acme_app');
    const forged = other`
      insert into acme.deactivation_request (authorization_id, tenant) values (${id}, ${role})`;
    expect((await refusal(forged)).code).toBe('42501');
    await shop.app`select acme.deactivate_authorization(${id})`;
    expect(await other`select from acme.deactivation_request`).toHaveLength(0);
    const admin = await shop.database.as('acme_admin');
    await admin`select acme.deactivate_authorization(${id})`;
    expect(await admin`select from acme.deactivation_request`).toHaveLength(2);
  });
});

describe('what nobody works on', () => {
  test('is in acme.stuck, and reconcile wakes it', async () => {
    const [seen, unseen] = [await authorization(), await authorization('valid', 'b.example.org')];
    const stuck = () => shop.app`select kind, id, reason_code from acme.stuck order by id`;
    await shop.app`select acme.deactivate_authorization(${seen})`;
    await claim(seen);
    await shop.app`select acme.deactivate_authorization(${unseen})`;
    expect(await stuck()).toEqual([]);
    await shop.clearJobs();
    await shop.sql`update acme.deactivation_request set created_at = now() - interval '5 minutes'`;
    await set(
      shop.sql,
      'authorization',
      { state: 'deactivating' },
      {
        lease_until: ago('5 minutes'),
        updated_at: ago('6 minutes'),
      },
    );
    expect(await stuck()).toEqual([
      { kind: 'authorization', id: seen, reason_code: 'lease_ran_out' },
      { kind: 'authorization', id: unseen, reason_code: 'request_not_seen' },
    ]);
    await shop.sql`select acme_private.reconcile()`;
    expect(await shop.jobs()).toEqual(
      [seen, unseen].map((id) => job(id, `pgacme:authorization:${id}`)),
    );
  });

  test('has expired when the server has forgotten it', async () => {
    const id = await authorization();
    await shop.app`select acme.deactivate_authorization(${id})`;
    const held = await claim(id);
    await shop.sql`select acme_private.release('authorization', ${id}, ${held?.lease ?? ''})`;
    await set(shop.sql, 'authorization', all, { expires_at: ago('1 second') });
    await shop.sql`select acme_private.reconcile()`;
    expect(await stateOf(id)).toBe('expired');
  });
});

test('a domain is released by whoever holds it, and an administrator', async () => {
  const { role } = await shop.database.login('acme_app');
  for (const name of ['example.org', 'www.example.org', 'notexample.org']) {
    await ownName(shop.sql, role, name, name.replace('www.', ''));
  }
  const other = await shop.database.as('acme_app', { login: 'other' });
  expect(await other`select from acme.release_domain('example.org')`).toHaveLength(0);
  const admin = await shop.database.as('acme_admin');
  expect(await admin`select kind, what from acme.release_domain('example.org')`).toEqual([
    { kind: 'name', what: 'example.org' },
    { kind: 'name', what: 'www.example.org' },
  ]);
  expect(await shop.app`select name from acme.name_owner`).toEqual([{ name: 'notexample.org' }]);
});

test('a certificate that was adopted names the account that ordered it, for its DNS records', async () => {
  const csr = await shop.insert();
  await putInState(shop.sql, csr, 'issued');
  await set(
    shop.sql,
    'certificate',
    { csr_id: csr },
    {
      order_id: null,
      account_id: await accountId(shop.sql),
      identifiers: ['www.example.org'],
    },
  );
  await set(shop.sql, 'csr', csr, { state: 'cancelled' });
  const rows = await shop.app<{ kind: string; done: string }[]>`
    select kind, done from acme.release_domain('example.org')`;
  expect(rows.find(({ kind }) => kind === 'dns')?.done).toContain('the account main');
});

test('a csr that no worker has read yet is told', async () => {
  const id = await shop.insert();
  expect(await shop.app`select * from acme.release_domain('example.org')`).toEqual([
    {
      kind: 'csr',
      id,
      what: null,
      done: 'is not read yet; call release_domain again in a moment',
    },
  ]);
});
