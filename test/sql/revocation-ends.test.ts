import { beforeEach, describe, expect, test } from 'vitest';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  ago,
  ahead,
  all,
  type Columns,
  type Kind,
  now,
  putInState,
  registerDefaultAccount,
  set,
  withoutTriggers,
} from '../helpers/state/index.ts';

// acme.revoke() ends the csr with its certificate: when that is revoked, not before.

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
});

async function issued(state = 'issued'): Promise<{ csr: string; certificate: string }> {
  const csr = await shop.insert();
  await putInState(shop.sql, csr, 'issued');
  const [row] = await shop.sql<[{ id: string }]>`
    select id from acme.certificate where csr_id = ${csr}`;
  if (state !== 'issued') {
    await by('csr', {
      state,
      renewal_reason: 'its lifetime is nearly over',
      reason: 'So.',
      reason_code: 'so',
      queued_at: state === 'renewing' ? now() : null,
      next_attempt_at: state === 'retrying' ? ahead('1 hour') : null,
    });
  }
  await shop.clearJobs();
  return { csr, certificate: row.id };
}

const by = <K extends Kind>(kind: K, columns: Columns<K>) =>
  withoutTriggers(shop.sql, (tx) => set(tx, kind, all, columns));

async function claim(kind: string, id: string): Promise<{ step: string; lease: string }> {
  const [row] = await shop.sql<[{ claim: { step: string; lease: string } | null }]>`
    select acme_private.claim(null, ${kind}, ${id}) as claim`;
  if (row.claim === null) throw new Error(`There is nothing to do for ${kind} ${id}.`);
  return row.claim;
}

async function revoked(certificate: string, { lease }: { lease: string }): Promise<void> {
  await shop.sql`select acme_private.certificate_revoked(null, ${certificate}, ${lease}, null, false)`;
}

async function failed(
  certificate: string,
  { lease }: { lease: string },
  failure = 'reason_refused',
): Promise<void> {
  const outcome = { class: failure, code: 'revocation_reason_refused', text: 'Not for this.' };
  await shop.sql`
    select acme_private.step_failed(null, 'certificate', ${certificate}, ${lease}, ${shop.sql.json(outcome)}, 0)`;
}

/** A turn of the dispatcher, which has room for everything. */
async function dispatched(): Promise<string[]> {
  const [{ turn }] = await shop.sql<[{ turn: { claims: { csr_id: number }[] } }]>`
    select acme_private.dispatch(null, null, '[]', 8) as turn`;
  return turn.claims.map(({ csr_id: csr }) => String(csr));
}

async function stateOf(csr: string): Promise<unknown> {
  return (await shop.status(csr))['state'];
}

/** Due for renewal, as time makes it. */
async function becomesDue(): Promise<void> {
  await by('csr', { renew_at: ago('10 minutes') });
  await shop.sql`select acme_private.reconcile()`;
}

describe('a server that refuses the reason leaves the csr as it was', () => {
  test('issued, and renewed when due', async () => {
    const { csr, certificate: id } = await issued();
    const before = await shop.status(csr);
    await shop.app`select acme.revoke(${csr}, 'privilegeWithdrawn')`;
    expect(await shop.status(csr)).toMatchObject({ state: 'issued', reason_code: 'revoking' });
    await failed(id, await claim('certificate', id));
    const after = await shop.status(csr);
    expect(after).toMatchObject({ state: 'issued', reason_code: 'revocation_reason_refused' });
    expect(after['renew_at']).toEqual(before['renew_at']);
    await becomesDue();
    expect(await dispatched()).toEqual([csr]);
    // What was asked for then is over: the next revocation has its own say.
    await shop.app`select acme.revoke_certificate(${id}, 'superseded')`;
    await revoked(id, await claim('certificate', id));
    expect(await stateOf(csr)).toBe('renewing');
  });

  test('also where a worker dies after the answer, and where it is asked for twice', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke(${csr}, 'privilegeWithdrawn')`;
    const dead = await claim('certificate', id);
    await by('certificate', { lease_until: ago('1 minute') });
    await shop.app`select acme.revoke(${csr}, 'affiliationChanged')`;
    const next = await claim('certificate', id);
    await failed(id, dead);
    expect(await shop.status(csr)).toMatchObject({ state: 'issued', reason_code: 'revoking' });
    await failed(id, next);
    expect(await shop.status(csr)).toMatchObject({
      state: 'issued',
      reason_code: 'revocation_reason_refused',
    });
    await becomesDue();
    expect(await dispatched()).toEqual([csr]);
  });

  test('and a renewal that was held back goes on', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`update acme.csr set renewal = 'off' where id = ${csr}`;
    await shop.app`select acme.renew(${csr}, 'a new chain')`;
    await shop.app`select acme.revoke(${csr}, 'privilegeWithdrawn')`;
    await shop.attend(csr);
    expect(await dispatched(), 'asked for, not seen yet').toEqual([]);
    const held = await claim('certificate', id);
    expect(await dispatched()).toEqual([]);
    expect(await stateOf(csr)).toBe('issued');
    await shop.app`update acme.csr set priority = 3 where id = ${csr}`;
    await shop.attend(csr);
    await failed(id, held);
    expect(await shop.status(csr)).toMatchObject({
      state: 'renewing',
      renewal_reason: 'a new chain',
    });
    expect(await dispatched()).toEqual([csr]);
  });

  test('and asked for anew meanwhile, it is held back until that is answered', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke(${csr}, 'privilegeWithdrawn')`;
    const first = await claim('certificate', id);
    await becomesDue();
    await shop.app`select acme.renew(${csr})`;
    await shop.attend(csr);
    await shop.app`select acme.revoke(${csr}, 'affiliationChanged')`;
    await failed(id, first);
    expect(await dispatched()).toEqual([]);
    expect(await shop.jobs()).toContainEqual({
      task: 'revoke',
      key: `pgacme:certificate:${id}`,
      payload: { kind: 'certificate', id: Number(id) },
    });
    await failed(id, await claim('certificate', id));
    expect(await dispatched()).toEqual([csr]);
  });

  test('and an order that was given up for it is made anew, in its turn', async () => {
    const { csr, certificate: id } = await issued('renewing');
    expect(await dispatched()).toEqual([csr]);
    const [{ order }] = await shop.sql<[{ order: string }]>`
      select order_id as order from acme_private.csr_state where csr_id = ${csr}`;
    await by('order', { lease_token: null, lease_until: null });
    await shop.app`select acme.revoke(${csr}, 'privilegeWithdrawn')`;
    await shop.clearJobs();
    const held = await claim('certificate', id);
    expect(await shop.jobs()).toContainEqual({
      task: 'cancel',
      key: null,
      payload: { kind: 'order', id: Number(order) },
    });
    const cancelling = await claim('order', order);
    expect(cancelling.step).toBe('cancel');
    await shop.sql`select acme_private.order_cancelled(null, ${order}, ${cancelling.lease}, '{}', 1)`;
    expect(await dispatched()).toEqual([]);
    const [ended] = await shop.sql`select state, reason_code from acme."order" where id = ${order}`;
    expect(ended).toEqual({ state: 'cancelled', reason_code: 'revoking' });
    await failed(id, held);
    expect(await dispatched()).toEqual([csr]);
  });

  test('also where it is refused before the order is given up', async () => {
    const { csr, certificate: id } = await issued('renewing');
    await dispatched();
    const [{ order }] = await shop.sql<[{ order: string }]>`
      select order_id as order from acme_private.csr_state where csr_id = ${csr}`;
    await by('order', { lease_token: null, lease_until: null });
    await shop.app`select acme.revoke(${csr}, 'privilegeWithdrawn')`;
    await failed(id, await claim('certificate', id));
    const cancelling = await claim('order', order);
    const [{ next }] = await shop.sql<[{ next: { csr_id: number }[] }]>`
      select acme_private.order_cancelled(null, ${order}, ${cancelling.lease}, '{}', 1) as next`;
    expect(next.map(({ csr_id: id }) => String(id))).toEqual([csr]);
    expect(await stateOf(csr)).toBe('renewing');
  });
});

describe('while its certificate is being revoked', () => {
  test('a csr is not renewed, and that is not stuck', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke(${csr}, 'superseded')`;
    await failed(id, await claim('certificate', id), 'refused');
    await becomesDue();
    await shop.sql`select acme_private.reconcile()`;
    expect(await stateOf(csr)).toBe('issued');
    expect(await dispatched()).toEqual([]);
    await by('certificate', { next_attempt_at: ahead('1 hour') });
    expect(await shop.app`select kind, reason_code from acme.stuck`).toEqual([]);
    await shop.app`select acme.cancel(${csr})`;
    await shop.attend(csr);
    expect(await stateOf(csr)).toBe('cancelled');
  });

  test.each(['retrying', 'needs_person', 'failed'])(
    'one that is %s says so, and ends',
    async (state) => {
      const { csr, certificate: id } = await issued(state);
      await shop.app`select acme.revoke(${csr}, 'superseded')`;
      expect(await shop.status(csr)).toMatchObject({ state, reason_code: 'revoking' });
      const held = await claim('certificate', id);
      expect(await shop.status(csr)).toMatchObject({ state, reason_code: 'revoking' });
      await shop.app`select acme.retry(${csr})`;
      await shop.attend(csr);
      expect(await dispatched()).toEqual([]);
      await revoked(id, held);
      expect(await shop.status(csr)).toMatchObject({ state: 'cancelled', reason_code: 'revoked' });
    },
  );
});

describe('it ends', () => {
  test('when the certificate is revoked', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke(${csr}, 'superseded')`;
    const held = await claim('certificate', id);
    await shop.app`select acme.renew(${csr})`;
    await shop.attend(csr);
    expect(await stateOf(csr)).toBe('issued');
    await revoked(id, held);
    expect(await shop.status(csr)).toMatchObject({
      state: 'cancelled',
      reason_code: 'revoked',
      renew_at: null,
    });
  });

  test('when somebody else has had it revoked', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke(${csr}, 'superseded')`;
    const admin = await shop.database.as('acme_admin');
    await admin`select acme.certificate_was_revoked(${id}, '4')`;
    expect(await stateOf(csr)).toBe('cancelled');
  });

  test('when the certificate was revoked before', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`update acme.csr set renewal = 'off' where id = ${csr}`;
    await shop.attend(csr);
    await shop.app`select acme.revoke_certificate(${id}, 'superseded')`;
    await revoked(id, await claim('certificate', id));
    expect(await stateOf(csr)).toBe('issued');
    await shop.app`select acme.revoke(${csr}, 'superseded')`;
    await shop.sql`select acme_private.claim(null, 'certificate', ${id})`;
    await shop.attend(csr);
    expect(await shop.status(csr)).toMatchObject({ state: 'cancelled', reason_code: 'revoked' });
  });

  test('when the certificate expires before, also if the wake-up is lost', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`update acme.csr set renewal = 'off' where id = ${csr}`;
    await shop.attend(csr);
    await shop.app`select acme.revoke(${csr}, 'superseded')`;
    await failed(id, await claim('certificate', id), 'refused');
    await by('certificate', { not_after: ago('1 minute') });
    await shop.sql`select acme_private.reconcile()`;
    await shop.clearJobs();
    await shop.sql`select acme_private.reconcile()`;
    expect(await shop.jobs()).toContainEqual({
      task: 'attend',
      key: `pgacme:csr:${csr}`,
      payload: { kind: 'csr', id: Number(csr) },
    });
    await shop.attend(csr);
    expect(await stateOf(csr)).toBe('cancelled');
  });

  test('not where the key is compromised: it waits for a CSR with another one', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke(${csr}, 'keyCompromise')`;
    await revoked(id, await claim('certificate', id));
    expect(await stateOf(csr)).toBe('needs_new_csr');
  });
});

test("a request that ends the csr of somebody else's certificate is none that can be made", async () => {
  const { certificate: id } = await issued();
  const other = await shop.database.as('acme_app', { login: 'other' });
  await expect(
    other`insert into acme.revocation_request (certificate_id, reason, ends_csr) values (${id}, 'superseded', true)`,
  ).rejects.toThrow(`There is no certificate ${id}.`);
});
