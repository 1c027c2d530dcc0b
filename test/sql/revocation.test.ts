import { beforeEach, describe, expect, test } from 'vitest';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  accepted,
  ago,
  all,
  type Columns,
  held,
  type Kind,
  LEASE,
  putInState,
  registerDefaultAccount,
  set,
  type Which,
  withoutTriggers,
} from '../helpers/state/index.ts';

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
});

interface Claim {
  step: string;
  lease: string;
  reason: string;
  account_id: number;
}

async function issued(state = 'issued'): Promise<{ csr: string; certificate: string }> {
  const csr = await shop.insert();
  await putInState(shop.sql, csr, state);
  const [row] = await shop.sql<[{ id: string }]>`
    select id from acme.certificate where csr_id = ${csr}`;
  await shop.clearJobs();
  return { csr, certificate: row.id };
}

async function claim(certificate: string): Promise<Claim | null> {
  const [row] = await shop.sql<[{ claim: Claim | null }]>`
    select acme_private.claim(null, 'certificate', ${certificate}) as claim`;
  return row.claim;
}

async function revoked(certificate: string, lease: string): Promise<void> {
  await shop.sql`select acme_private.certificate_revoked(null, ${certificate}, ${lease}, null, false)`;
}

async function certificate(id: string): Promise<Record<string, unknown>> {
  const [row] = await shop.sql<[Record<string, unknown>]>`
    select * from acme.certificate where id = ${id}`;
  return row;
}

const by = <K extends Kind>(kind: K, columns: Columns<K>, which: Which<K> = all) =>
  withoutTriggers(shop.sql, (tx) => set(tx, kind, which, columns));

describe('a request', () => {
  test('that is made many times over is one', async () => {
    const { certificate: id } = await issued();
    await shop.app`
      insert into acme.revocation_request (certificate_id, reason)
      select ${id}::bigint, case when i < 2000 then 'superseded' else 'cessationOfOperation' end
        from generate_series(1, 2000) i`;
    expect((await claim(id))?.reason).toBe('cessationOfOperation');
    expect(await shop.sql`select from acme.revocation_request`).toHaveLength(0);
    const events = await shop.sql`select from acme.event where event = 'revocation_requested'`;
    expect(events).toHaveLength(2);
  });

  test('wakes a worker without a key, and is gone once one has seen it', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke_certificate(${id}, 'SUPERSEDED')`;
    const requests = await shop.app`
      select certificate_id, reason, after_replacement, requested_by = session_user as is_me from acme.revocation_request`;
    expect(requests).toEqual([
      { certificate_id: id, reason: 'superseded', after_replacement: false, is_me: true },
    ]);
    expect(await shop.jobs()).toEqual([
      { task: 'revoke', key: null, payload: { kind: 'certificate', id: Number(id) } },
    ]);
    expect(await claim(id)).toMatchObject({ step: 'revoke', reason: 'superseded' });
    expect(await claim(id), 'it is held').toBeNull();
    expect(await shop.app`select from acme.revocation_request`).toHaveLength(0);
    expect((await certificate(id))['state']).toBe('revoking');
    expect(await shop.status(csr)).toMatchObject({ state: 'issued', reason_code: 'revoking' });
  });

  test.each([
    ['an unknown reason', 'stolen', "'stolen' is no reason for a revocation."],
    ['a number that is not for owners', '6', "'6' is no reason for a revocation."],
    ['nothing', null, 'null is no reason for a revocation.'],
  ])('with %s is refused with the list', async (_, reason, message) => {
    const { csr, certificate: id } = await issued();
    for (const query of [
      shop.app`select acme.revoke(${csr}, ${reason})`,
      shop.app`select acme.revoke_certificate(${id}, ${reason})`,
    ]) {
      const error = await refusal(query);
      expect(error.message).toBe(message);
      expect(error.hint).toContain('cessationOfOperation (5)');
    }
    expect(await shop.app`select from acme.revocation_request`).toHaveLength(0);
  });

  test.each(['a worker', 'an administrator who has it revoked'])(
    'that is not of the tenant of its certificate is dropped with an event by %s',
    async (who) => {
      const { csr, certificate: id } = await issued();
      // As if row-level security and the trigger had failed.
      await shop.sql.begin(async (tx) => {
        await tx`set local session_replication_role = replica`;
        await tx`
          insert into acme.revocation_request (certificate_id, tenant, reason, ends_csr, requested_by)
          values (${id}, 'mallory', 'keyCompromise', true, 'mallory')`;
      });
      if (who === 'a worker') expect(await claim(id)).toBeNull();
      else await shop.sql`select acme.certificate_was_revoked(${id}, 'superseded')`;
      const state = who === 'a worker' ? 'current' : 'revoked';
      expect(await certificate(id)).toMatchObject({ state });
      expect(await shop.sql`select from acme.blocked_key`).toHaveLength(0);
      expect(await shop.sql`select from acme.revocation_request`).toHaveLength(0);
      expect((await shop.status(csr))['state']).not.toBe('cancelled');
      const dropped = await shop.sql`
        select tenant, certificate_id, detail from acme.event where event = 'request_dropped'`;
      expect(dropped).toEqual([
        {
          tenant: null,
          certificate_id: id,
          detail: {
            request: 'revocation',
            revocation_reason: 'keyCompromise',
            tenant: 'mallory',
            by: 'mallory',
          },
        },
      ]);
    },
  );

  test('by a number is the same as by its name', async () => {
    const { certificate: id } = await issued();
    await shop.app`select acme.revoke_certificate(${id}, '9')`;
    expect(await claim(id)).toMatchObject({ reason: 'privilegeWithdrawn' });
  });

  test('for what has no certificate, has ended, or could not be replaced is refused', async () => {
    const queued = await shop.insert();
    expect((await refusal(shop.app`select acme.revoke(${queued}, '0')`)).message).toBe(
      `csr ${queued} has no certificate to revoke.`,
    );
    const { csr, certificate: id } = await issued();
    expect((await refusal(shop.app`select acme.revoke(${csr}, '1', true)`)).message).toBe(
      'A replacement would have the same key, which is compromised.',
    );
    await shop.app`select acme.cancel(${csr})`;
    await shop.attend(csr);
    expect((await refusal(shop.app`select acme.revoke(${csr}, '0', true)`)).message).toBe(
      `csr ${csr} is cancelled and is not renewed: nothing will replace its certificate.`,
    );
    await by('certificate', { not_after: ago('1 hour') });
    expect((await refusal(shop.app`select acme.revoke(${csr}, '0')`)).message).toContain(
      `Certificate ${id} ended at `,
    );
    // The key is worth knowing of all the same.
    await shop.app`select acme.revoke(${csr}, 'keyCompromise')`;
    expect(await claim(id)).toBeNull();
    expect(await shop.sql`select from acme.blocked_key`).toHaveLength(1);
    expect((await certificate(id))['state']).toBe('expired');
  });

  test('left open by an application holds up no worker', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app.begin(async (tx) => {
      await tx`select acme.revoke_certificate(${id}, '0')`;
      await shop.sql.begin(async (worker) => {
        await worker`set local lock_timeout = '500ms'`;
        await worker`select acme_private.attend(null, ${csr}, 0)`;
        await worker`select acme_private.claim(null, 'certificate', ${id})`;
      });
    });
    expect(await claim(id)).not.toBeNull();
  });

  test('after a worker died that held one is tried for the reason that was given last', async () => {
    const { certificate: id } = await issued();
    await shop.app`select acme.revoke_certificate(${id}, 'superseded')`;
    await claim(id);
    await by('certificate', { lease_until: ago('1 second') });
    await shop.app`select acme.revoke_certificate(${id}, 'cessationOfOperation')`;
    expect(await claim(id)).toMatchObject({ reason: 'cessationOfOperation' });
  });

  test('of an administrator that a server has revoked something, left open, holds up no worker and keeps the settings', async () => {
    const { csr, certificate: id } = await issued();
    const worker = await shop.database.as('acme_worker', { max: 1 });
    const [other] = await shop.sql<[{ id: string }]>`
      insert into acme.account (name, server) values ('other', 'ca') returning id`;
    await by('account', { state: 'registering', ...held() }, other.id);
    await worker`set statement_timeout = '5s'`;
    const admin = await shop.database.as('acme_admin');
    await admin.begin(async (tx) => {
      const settings = () => tx<Record<string, string>[]>`
        select coalesce(current_setting('acme_private.quiet', true), '') as quiet, s.*
          from (select jsonb_object_agg(name, setting) as others from pg_settings where context = 'user') s`;
      const before = await settings();
      await tx`select acme.certificate_was_revoked(${id}, 'superseded')`;
      expect(await settings()).toMatchObject(before);
      // Another account's registration asks for a dispatch, too.
      await worker`
        select acme_private.account_registered(null, ${other.id}, ${LEASE}, 'https://ca.example.org/account/2', 'valid', null)`;
    });
    expect(await shop.status(csr)).toMatchObject({ state: 'renewing' });
    expect((await shop.jobs()).map(({ task }) => task)).toContain('dispatch');
  });

  test('of an administrator that a server has revoked for a compromised key keeps the settings, too', async () => {
    const { certificate: id } = await issued();
    const admin = await shop.database.as('acme_admin');
    await admin.begin(async (tx) => {
      const settings = () =>
        tx`select jsonb_object_agg(name, setting) as all from pg_settings where context = 'user'`;
      const before = await settings();
      await tx`select acme.certificate_was_revoked(${id}, 'keyCompromise')`;
      expect(await settings()).toMatchObject(before);
    });
    expect(await certificate(id)).toMatchObject({ revocation_reason: 'keyCompromise' });
  });

  test("for another tenant's certificate looks like one for none, however it is made", async () => {
    const { csr, certificate: id } = await issued();
    const other = await shop.database.as('acme_app', { login: 'other' });
    const answers = async (wanted: string): Promise<string[]> => {
      const queries = [
        other`select acme.revoke_certificate(${wanted}, '0')`,
        other`insert into acme.revocation_request (certificate_id, reason) values (${wanted}, 'superseded')`,
      ];
      const errors = await Promise.all(queries.map(refusal));
      return errors.map(({ code, message, hint }) =>
        [code, message, hint].join().replace(wanted, '#'),
      );
    };
    expect(await answers(id)).toEqual(await answers('987654'));
    expect((await refusal(other`select acme.revoke(${csr}, '0')`)).message).toBe(
      `There is no csr ${csr}.`,
    );
    const forged = other`insert into acme.revocation_request (certificate_id, reason, tenant) values (${id}, '0', 'x')`;
    expect((await refusal(forged)).code).toBe('42501');
    await shop.app`select acme.revoke_certificate(${id}, '0')`;
    expect(await other`select from acme.revocation_request`).toHaveLength(0);
    expect(
      await (await shop.database.as('acme_reader'))`select from acme.revocation_request`,
    ).toHaveLength(1);
    // An administrator asks for any tenant, and the row is the certificate's tenant's.
    await (await shop.database.as('acme_admin'))`select acme.revoke_certificate(${id}, '0')`;
    expect(await shop.app`select from acme.revocation_request`).toHaveLength(2);
  });

  test('of an administrator that a server has revoked something is for administrators', async () => {
    const { certificate: id } = await issued();
    const denied = shop.app`select acme.certificate_was_revoked(${id}, '0')`;
    expect((await refusal(denied)).code).toBe('42501');
    const admin = await shop.database.as('acme_admin');
    const unknown = admin`select acme.certificate_was_revoked(987654, '0')`;
    expect((await refusal(unknown)).message).toBe('There is no certificate 987654.');
    await admin`select acme.certificate_was_revoked(${id}, '4')`;
    expect(await certificate(id)).toMatchObject({
      state: 'revoked',
      revocation_reason: 'superseded',
    });
  });
});

describe('after it', () => {
  test('a commit whose lease is gone stores nothing', async () => {
    const { certificate: id } = await issued();
    await shop.app`select acme.revoke_certificate(${id}, '0')`;
    const held = await claim(id);
    await by('certificate', { lease_until: ago('1 minute') });
    const next = await claim(id);
    await revoked(id, held?.lease ?? '');
    expect((await certificate(id))['state']).toBe('revoking');
    await revoked(id, next?.lease ?? '');
    expect((await certificate(id))['state']).toBe('revoked');
  });

  test('renewal = off stays so', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`update acme.csr set renewal = 'off' where id = ${csr}`;
    await shop.attend(csr);
    await shop.app`select acme.revoke_certificate(${id}, '0')`;
    await revoked(id, (await claim(id))?.lease ?? '');
    expect(await shop.status(csr)).toMatchObject({ state: 'issued', has_certificate: true });
    const { revoked_at: at } = await shop.status(csr);
    expect(at).toBeInstanceOf(Date);
  });

  test('a csr that is cancelled before its replacement is there has its certificate revoked', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke(${csr}, 'superseded', true)`;
    expect(await claim(id)).toBeNull();
    expect(await certificate(id)).toMatchObject({ state: 'current', revoke_when_replaced: true });
    await shop.app`select acme.cancel(${csr})`;
    await shop.attend(csr);
    expect(await certificate(id)).toMatchObject({ state: 'revoking', revoke_when_replaced: false });
    expect(await shop.jobs()).toContainEqual({
      task: 'revoke',
      key: null,
      payload: { kind: 'certificate', id: Number(id) },
    });
    expect(await claim(id)).toMatchObject({ reason: 'superseded' });
  });

  test('listeners hear that something happened, and no more', async () => {
    const { certificate: id } = await issued();
    const heard: string[] = [];
    const listening = await shop.sql.listen('acme', (text) => heard.push(text));
    await shop.app`select acme.revoke_certificate(${id}, 'keyCompromise')`;
    await revoked(id, (await claim(id))?.lease ?? '');
    await shop.sql`select pg_notify('acme', 'last')`;
    await expect.poll(() => heard.includes('last')).toBe(true);
    await listening.unlisten();
    expect(new Set(heard)).toEqual(new Set(['', 'last']));
    const events = await shop.sql<{ event: string }[]>`
      select event from acme.event where certificate_id = ${id} or csr_id = (
        select csr_id from acme.certificate where id = ${id})`;
    expect(events.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['needs_new_csr', 'certificate_revoked']),
    );
  });
});

describe('a blocked key', () => {
  test('stops csrs in every state, and an administrator can take that back', async () => {
    const states = ['issued', 'renewing', 'queued', 'retrying', 'needs_person'];
    const csrs = await Promise.all(states.map(() => shop.insert()));
    for (const [i, state] of states.entries()) await putInState(shop.sql, csrs[i] ?? '', state);
    const [row] = await shop.sql<[{ id: string }]>`
      select id from acme.certificate where csr_id = ${csrs[0] ?? ''}`;
    await shop.app`select acme.revoke_certificate(${row.id}, 'keyCompromise')`;
    await claim(row.id);
    for (const [i, csr] of csrs.entries()) {
      expect(await shop.status(csr), states[i]).toMatchObject({
        state: 'needs_new_csr',
        reason_code: 'key_blocked',
      });
    }
    // Trying again does not help while it is blocked.
    await shop.app`select acme.retry(${csrs[2] ?? ''})`;
    await shop.attend(csrs[2] ?? '');
    expect((await shop.status(csrs[2] ?? ''))['state']).toBe('needs_new_csr');

    const admin = await shop.database.as('acme_admin');
    expect(await admin`delete from acme.blocked_key returning reason`).toEqual([
      { reason: 'keyCompromise' },
    ]);
    for (const csr of csrs) {
      await shop.app`select acme.retry(${csr})`;
      await shop.attend(csr);
    }
    expect((await shop.status(csrs[2] ?? ''))['state']).toMatch(/queued|ordering/);
    expect((await shop.status(csrs[0] ?? ''))['state']).toBe('renewing');
    expect((await refusal(shop.app`select * from acme.blocked_key`)).code).toBe('42501');
  });

  test('is refused when a CSR is judged', async () => {
    const { certificate: id } = await issued();
    await shop.app`select acme.revoke_certificate(${id}, 'keyCompromise')`;
    await claim(id);
    await set(shop.sql, 'blocked_key', all, {
      spki_sha256: Buffer.from(accepted('1').spki, 'hex'),
    });
    const late = await shop.insert();
    const [{ turn }] = await shop.sql<[{ turn: { received: { lease: string } } }]>`
      select acme_private.dispatch(null, null, '[]', 1) as turn`;
    await shop.sql`
      select acme_private.dispatch(null, ${turn.received.lease}, ${JSON.stringify([accepted(late)])}::text::jsonb, 0)`;
    expect(await shop.status(late)).toMatchObject({
      state: 'rejected',
      reason_code: 'key_blocked',
    });
  });
});

describe('what nobody works on', () => {
  const stuck = () =>
    shop.app`select kind, id, reason_code from acme.stuck order by kind, id, reason_code`;

  test('is in acme.stuck, and reconcile wakes it', async () => {
    const [seen, unseen] = [await issued(), await issued()];
    await shop.app`select acme.revoke_certificate(${seen.certificate}, '0')`;
    await claim(seen.certificate);
    await shop.app`select acme.revoke_certificate(${unseen.certificate}, '0')`;
    expect(await stuck()).toEqual([]);
    await shop.clearJobs();
    await shop.sql`update acme.revocation_request set created_at = now() - interval '5 minutes'`;
    await by(
      'certificate',
      { lease_until: ago('5 minutes'), revoking_since: ago('6 minutes') },
      { state: 'revoking' },
    );
    expect(await stuck()).toEqual([
      { kind: 'certificate', id: seen.certificate, reason_code: 'lease_ran_out' },
      { kind: 'certificate', id: unseen.certificate, reason_code: 'request_not_seen' },
    ]);
    await shop.sql`select acme_private.reconcile()`;
    const woken = (await shop.jobs()).filter(({ task }) => task === 'revoke');
    expect(woken.map(({ key }) => key).sort()).toEqual(
      [seen, unseen].map((one) => `pgacme:certificate:${one.certificate}`).sort(),
    );
    const other = await shop.database.as('acme_app', { login: 'other' });
    expect(await other`select from acme.stuck`).toHaveLength(0);
  });

  test('that ends meanwhile has expired', async () => {
    const { certificate: id } = await issued();
    await shop.app`select acme.revoke_certificate(${id}, '0')`;
    const held = await claim(id);
    await shop.sql`select acme_private.release('certificate', ${id}, ${held?.lease ?? ''})`;
    await by('certificate', { not_after: ago('1 second') });
    await shop.sql`select acme_private.reconcile()`;
    expect((await certificate(id))['state']).toBe('expired');
    expect(await claim(id)).toBeNull();
  });

  test('is set aside when it ends one worker after the other', async () => {
    const { certificate: id } = await issued();
    await shop.app`select acme.revoke_certificate(${id}, '0')`;
    for (let n = 0; n < 5; n++) {
      expect(await claim(id)).not.toBeNull();
      await by('certificate', { lease_until: ago('1 second') });
    }
    expect(await claim(id)).toBeNull();
    expect(await certificate(id)).toMatchObject({ state: 'revoking', reason_code: 'set_aside' });
    const [event] = await shop.sql`
      select certificate_id from acme.event where event = 'set_aside'`;
    expect(event).toEqual({ certificate_id: id });
  });

  test('goes with a csr that is deleted', async () => {
    const { csr, certificate: id } = await issued();
    await shop.app`select acme.revoke_certificate(${id}, '0')`;
    await shop.sql`delete from acme.csr where id = ${csr}`;
    expect(await claim(id)).toBeNull();
    expect(await shop.sql`select from acme.revocation_request`).toHaveLength(0);
  });
});
