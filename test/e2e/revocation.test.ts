import { webcrypto } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import type { PebbleBinaries } from '../../src/local/pebble.ts';
import { findPebble } from '../../src/local/pebble.ts';
import { certificateStatus } from '../helpers/certificate-status.ts';
import { pebbleOfThisRelease, type TestPebble } from '../helpers/pebble.ts';
import { set, withoutTriggers } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { freshName, pebbleWorld, type World } from '../helpers/world.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 120_000 });

const versions: Record<string, () => Promise<PebbleBinaries | undefined>> = {
  'the newest Pebble': findPebble,
  "the release's own Pebble": pebbleOfThisRelease,
};

interface Certificate {
  id: string;
  serial: string;
  state: string;
  revoked_at: Date | null;
  reason_code: string | null;
}

function keyPair(): Promise<webcrypto.CryptoKeyPair> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

function certificates({ sql }: World, csr: string): Promise<Certificate[]> {
  return sql<Certificate[]>`
    select id, serial, state, revoked_at, reason_code from acme.certificate where csr_id = ${csr} order by id`;
}

function states(world: World, csr: string, wanted: string[]): Promise<Certificate[]> {
  return until(
    async () => {
      const rows = await certificates(world, csr);
      if (rows.map(({ state }) => state).join() === wanted.join()) return rows;
      throw new Error(
        `they are ${rows.map(({ state, reason_code }) => `${state} ${reason_code ?? ''}`).join(', ')}`,
      );
    },
    { what: `the certificates of csr ${csr} are ${wanted.join(', ')}`, timeoutMs: 20_000 },
  );
}

describe.each(Object.keys(versions))('with %s', (which) => {
  async function worldOf(): Promise<World & { pebble: TestPebble }> {
    const binaries = await versions[which]?.();
    if (binaries === undefined) throw new Error('There is no apt-get to fetch this Pebble with.');
    const world = await pebbleWorld({ binaries });
    await world.worker();
    return world;
  }

  async function issued(world: World, name = freshName()): Promise<string> {
    const csr = await world.insert({ names: [name] });
    await world.reach(csr, 'issued');
    return csr;
  }

  test('a revoked csr is not renewed; its certificate is revoked at the CA and stays readable', async () => {
    const world = await worldOf();
    const csr = await issued(world);
    await world.sql`select acme.revoke(${csr}, 'cessationOfOperation')`;
    const [row] = await states(world, csr, ['revoked']);
    expect(row?.revoked_at).toBeInstanceOf(Date);
    expect(await certificateStatus(world.pebble, row?.serial ?? '')).toMatchObject({
      Status: 'Revoked',
      Reason: 5,
    });
    const status = await world.reach(csr, 'cancelled');
    expect(status).toMatchObject({ reason_code: 'revoked', renew_at: null, has_certificate: true });
    const [current] = await world.sql<{ revoked_at: Date | null; chain_pem: string }[]>`
      select revoked_at, chain_pem from acme.current_certificate where csr_id = ${csr}`;
    expect(current?.revoked_at).toEqual(row?.revoked_at);
    expect(current?.chain_pem).toContain('BEGIN CERTIFICATE');
    const names =
      await world.sql`select from acme.certificate_for(${status.identifiers?.[0] ?? ''})`;
    expect(names, 'certificate_for gives no revoked certificate').toHaveLength(0);
    expect(await world.events(csr)).toEqual(
      expect.arrayContaining(['revocation_requested', 'certificate_revoked', 'cancelled']),
    );
    const [{ text }] = await world.sql<[{ text: string }]>`select acme.explain(${csr}) as text`;
    expect(text).toMatch(/Its certificate \d+ was revoked \d{4}-/);
  });

  test('after_replacement: a new certificate comes first, then the old one is revoked', async () => {
    const world = await worldOf();
    const csr = await issued(world);
    await world.sql`select acme.revoke(${csr}, '4', after_replacement => true)`;
    const [old, current] = await states(world, csr, ['revoked', 'current']);
    expect(await certificateStatus(world.pebble, old?.serial ?? '')).toMatchObject({ Reason: 4 });
    expect(await certificateStatus(world.pebble, current?.serial ?? '')).toMatchObject({
      Status: 'Valid',
    });
    const events = await world.events(csr);
    expect(events.indexOf('certificate_revoked')).toBeGreaterThan(events.lastIndexOf('issued'));
    await world.reach(csr, 'issued');
  });

  test('one certificate by its id: its csr goes on, and orders another', async () => {
    const world = await worldOf();
    const csr = await issued(world);
    const [first] = await certificates(world, csr);
    await world.sql`select acme.revoke_certificate(${first?.id ?? ''}, 'superseded')`;
    await states(world, csr, ['revoked', 'current']);
    const row = await world.reach(csr, 'issued');
    expect(row.renew_at).toBeInstanceOf(Date);
  });

  test('a compromised key: all its certificates are revoked, and no csr gets another with it', async () => {
    const world = await worldOf();
    const key = await keyPair();
    const csr = await world.insert({ names: [freshName()], key });
    await world.reach(csr, 'issued');
    await world.sql`select acme.renew(${csr})`;
    await states(world, csr, ['superseded', 'current']);
    const other = await world.insert({ names: [freshName()], key });
    await world.reach(other, 'issued');

    await world.sql`select acme.revoke(${csr}, 'keycompromise')`;
    for (const { serial } of [
      ...(await states(world, csr, ['revoked', 'revoked'])),
      ...(await states(world, other, ['revoked'])),
    ]) {
      expect(await certificateStatus(world.pebble, serial)).toMatchObject({ Reason: 1 });
    }
    for (const id of [csr, other]) {
      const row = await world.reach(id, 'needs_new_csr');
      expect(row).toMatchObject({
        reason_code: 'key_blocked',
        renew_at: null,
        next_attempt_at: null,
      });
      expect(row.reason).toContain(`acme.cancel(${id})`);
    }
    const late = await world.insert({ names: [freshName()], key });
    expect(await world.reach(late, 'rejected')).toMatchObject({ reason_code: 'key_blocked' });
    const blocked = await world.sql`select from acme.event where event = 'key_blocked'`;
    expect(blocked).toHaveLength(1);
  });

  test('what somebody revoked before us is revoked', async () => {
    const world = await worldOf();
    const csr = await issued(world);
    await world.sql`select acme.revoke(${csr}, 'superseded')`;
    const [row] = await states(world, csr, ['revoked']);
    // As after a worker's death between the answer and the commit.
    await withoutTriggers(world.sql, (tx) =>
      set(tx, 'certificate', row?.id ?? '', { state: 'revoking', revoked_at: null }),
    );
    await world.sql`select acme.revoke_certificate(${row?.id ?? ''}, 'superseded')`;
    await states(world, csr, ['revoked']);
    const [event] = await world.sql<{ detail: Record<string, unknown> }[]>`
      select detail from acme.event where event = 'certificate_revoked' order by id desc limit 1`;
    expect(event?.detail).toMatchObject({ was_revoked: true });
  });
});
