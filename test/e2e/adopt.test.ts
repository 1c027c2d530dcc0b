import { randomBytes, X509Certificate } from 'node:crypto';
import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import {
  type ForeignCertificate,
  foreignCertificates,
  otherCa,
} from '../helpers/foreign-certificates.ts';
import { scale, scaled } from '../helpers/scale.ts';
import { add, sha256 } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

/** The tenants' worker of a platform that moves: 300 here, 30,000 in the long run of tests. */
const COUNT = scale >= 10 ? 30_000 : scaled(300, 30);
const LONG = { timeout: scale >= 10 ? 1_800_000 : 120_000 };

/** One statement, as acme_admin on behalf of a tenant. */
async function insertAll(world: World, all: readonly ForeignCertificate[]): Promise<postgres.Sql> {
  const admin = await world.database.as('acme_admin');
  await admin.begin(async (tx) => {
    await tx`select set_config('acme.tenant', 'webapp', true)`;
    await tx`
      insert into acme.csr (pem, chain_pem, ref)
      select * from unnest(${all.map(({ csrPem }) => csrPem)}::text[], ${all.map(({ chainPem }) => chainPem)}::text[],
                           ${all.map(({ ref }) => ref)}::text[])`;
  });
  return admin;
}

test(
  'many certificates of another client are current, and none is ordered anew',
  LONG,
  async () => {
    const world = await faultyWorld();
    const run = randomBytes(3).toString('hex');
    const names = Array.from({ length: COUNT }, (_, i) => `shop-${i}-${run}.example.org`);
    const all: ForeignCertificate[] = [];
    for (let at = 0; at < COUNT; at += 500) {
      all.push(...(await foreignCertificates(names.slice(at, at + 500))));
    }
    const admin = await insertAll(world, all);
    expect(await admin`select count(*)::int from acme.csr where chain_pem is not null`).toEqual([
      { count: 0 },
    ]);
    await world.worker();
    await until(
      async () => {
        const rows = await world.sql<{ state: string; count: number }[]>`
        select state, count(*)::int from acme.csr_status group by state`;
        if (rows.length === 1 && rows[0]?.state === 'issued' && rows[0].count === COUNT) {
          return true;
        }
        throw new Error(JSON.stringify(rows));
      },
      { what: 'all are adopted', timeoutMs: LONG.timeout - 30_000, everyMs: 200 },
    );
    const [kept] = await world.sql<Record<string, unknown>[]>`
    select count(*)::int, count(distinct tenant)::int as tenants, bool_and(ref = any (${names})) as are_named,
           bool_and(not_after > now()) as are_good,
           (select bool_and(s.renew_at > now() + interval '1 day') from acme.csr_status s) as are_due_later
      from acme.current_certificate`;
    expect(kept).toEqual({
      count: COUNT,
      tenants: 1,
      are_named: true,
      are_good: true,
      are_due_later: true,
    });
    const [first] = all;
    const [row] = await world.sql<{ chain_pem: string; order_id: string | null }[]>`
    select c.chain_pem, k.order_id from acme.certificate_for(${first?.name ?? ''}) c
      join acme.certificate k on k.id = c.certificate_id`;
    expect(row).toEqual({ chain_pem: first?.chainPem, order_id: null });
    const webapp = await world.database.as('acme_multi_tenant', { login: 'webapp', max: 1 });
    await webapp`select set_config('acme.tenant', 'webapp', false)`;
    expect(
      await webapp`select count(*)::int from acme.event where event = 'issued' and (detail -> 'adopted')::bool`,
    ).toEqual([{ count: COUNT }]);
    // The server heard of nothing but the account.
    expect(world.ca.count('newOrder')).toBe(0);
    expect(world.ca.count('newAccount')).toBe(1);
    expect(await world.sql`select count(*)::int from acme_private.adoption`).toEqual([
      { count: 0 },
    ]);
  },
);

test('a certificate whose key is blocked is not adopted, and says what to do', async () => {
  const world = await faultyWorld();
  const [lost, good] = await foreignCertificates([freshName('lost'), freshName('good')]);
  if (lost === undefined || good === undefined) throw new Error('none were made');
  const spki = new X509Certificate(lost.chainPem).publicKey.export({ type: 'spki', format: 'der' });
  await add(world.sql, 'blocked_key', { spki_sha256: sha256(spki), reason: 'keyCompromise' });
  await insertAll(world, [lost, good]);
  await world.worker();
  const rows = await until(
    async () => {
      const found = await world.sql<{ state: string; reason_code: string; reason: string }[]>`
        select state, reason_code, reason, has_certificate from acme.csr_status order by id`;
      return found.every(({ state }) => state !== 'received') && found;
    },
    { what: 'both are judged' },
  );
  expect(rows).toEqual([
    {
      state: 'rejected',
      reason_code: 'key_blocked',
      reason:
        'Its key is blocked, since it was said to be compromised. Make a new key, and a CSR with it.',
      has_certificate: false,
    },
    { state: 'issued', reason_code: null, reason: null, has_certificate: true },
  ]);
  expect(await world.sql`select name from acme.name_owner`).toEqual([{ name: good.name }]);
  expect(world.ca.count('newOrder')).toBe(0);
});

test("a certificate that is not the CSR's is a reason to reject, and nothing is ordered for it", async () => {
  const world = await faultyWorld();
  const ca = await otherCa();
  const [name, other] = [freshName('shop'), freshName('other')];
  const [good] = await foreignCertificates([name]);
  if (good === undefined) throw new Error('none was made');
  const stranger = await makeCsr({ names: [name] });
  const cases: [ForeignCertificate, string][] = [
    [
      { ...good, ref: 'key', csrPem: stranger.pem },
      "No certificate of the chain has the CSR's public key.",
    ],
    [
      {
        ...good,
        ref: 'names',
        chainPem: (await ca.issue({ csrPem: good.csrPem, names: [other] })) + ca.intermediate,
      },
      'not asked for',
    ],
    [
      {
        ref: 'chain',
        name,
        csrPem: (await makeCsr({ names: [name] })).pem,
        chainPem: good.chainPem.replace(ca.intermediate, ca.renamed),
      },
      "No certificate of the chain has the CSR's public key.",
    ],
  ];
  const broken = await makeCsr({ names: [other] });
  const leaf = await ca.issue({ csrPem: broken.pem, names: [other] });
  cases.push([
    { ref: 'link', name: other, csrPem: broken.pem, chainPem: leaf + ca.renamed },
    'The certificate is not issued by any other of the chain.',
  ]);
  const admin = await insertAll(
    world,
    cases.map(([one]) => one),
  );
  await world.worker();
  for (const [{ ref }, sentence] of cases) {
    const row = await until(
      async () => {
        const [status] = await admin<
          { id: string; state: string; reason_code: string; reason: string }[]
        >`
          select id, state, reason_code, reason from acme.csr_status where ref = ${ref}`;
        return status?.state === 'rejected' && status;
      },
      { what: `${ref} is rejected`, timeoutMs: 20_000 },
    );
    expect(row.reason_code).toBe('adoption_mismatch');
    expect(row.reason).toContain(sentence);
    // It is judged again with its certificate, never ordered without.
    const judged = async () => {
      const [status] = await admin<{ state: string; updated_at: string }[]>`
        select state, updated_at::text from acme.csr_status where id = ${row.id}`;
      return status;
    };
    const before = await judged();
    await admin`select acme.retry(${row.id})`;
    await until(
      async () => {
        const now = await judged();
        return now?.state === 'rejected' && now.updated_at !== before?.updated_at;
      },
      { what: `${ref} is rejected again`, timeoutMs: 20_000 },
    );
    expect((await world.events(row.id)).filter((each) => each === 'rejected')).toHaveLength(1);
  }
  expect(world.ca.count('newOrder')).toBe(0);
  // The same CSR, once it comes with the right certificate, or with none.
  await insertAll(world, [{ ...good, ref: 'again' }]);
  await until(
    async () => {
      const [row] = await admin<{ state: string }[]>`
        select state from acme.csr_status where ref = 'again'`;
      return row?.state === 'issued';
    },
    { what: 'the right certificate is adopted', timeoutMs: 20_000 },
  );
});

test('an adopted certificate that has expired is renewed at once, one that is due within a day, each with its CSR', async () => {
  const world = await faultyWorld();
  const at = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();
  const [expired] = await foreignCertificates([freshName('expired')], {
    notBefore: at(-100),
    notAfter: at(-10),
  });
  const [due] = await foreignCertificates([freshName('due')], {
    notBefore: at(-80),
    notAfter: at(10),
  });
  const [off] = await foreignCertificates([freshName('off')], {
    notBefore: at(-100),
    notAfter: at(-10),
  });
  if (expired === undefined || due === undefined || off === undefined) throw new Error('none');
  await world.worker();
  const admin = await world.database.as('acme_admin');
  const id = async ({ csrPem, chainPem, ref }: ForeignCertificate) => {
    const [row] = await admin<[{ id: string }]>`
      select id from acme.adopt(${csrPem}, ${chainPem}, ${ref}, 'main')`;
    return row.id;
  };
  const ids = { expired: await id(expired), due: await id(due) };
  await admin`
    insert into acme.csr (pem, chain_pem, ref, renewal) values (${off.csrPem}, ${off.chainPem}, 'off', 'off')`;
  await world.reach(ids.due, 'issued');
  const { renew_at } = await world.status(ids.due);
  expect(renew_at?.getTime()).toBeGreaterThan(Date.now());
  expect(renew_at?.getTime()).toBeLessThan(Date.now() + 86_400_000);
  await until(
    async () => {
      // The sweep comes each minute; here it need not be waited for.
      await world.sql`select acme_private.reconcile()`;
      const [row] = await world.sql<{ is_new: boolean; is_reused: boolean }[]>`
        select c.not_after > now() as is_new, (select x.pem from acme.csr x where x.id = c.csr_id) = ${expired.csrPem} as is_reused
          from acme.current_certificate c where c.csr_id = ${ids.expired}`;
      return row?.is_new === true && row.is_reused;
    },
    { what: 'the expired certificate is replaced', timeoutMs: 30_000 },
  );
  expect((await world.events(ids.expired)).filter((event) => event === 'issued')).toHaveLength(2);
  const [unrenewed] = await admin<{ state: string; renew_at: Date | null }[]>`
    select state, renew_at from acme.csr_status where ref = 'off'`;
  expect(unrenewed).toEqual({ state: 'issued', renew_at: null });
  // Adopting it again changes nothing.
  const before = await world.events(ids.due);
  expect(await id(due)).toBe(ids.due);
  expect(await world.events(ids.due)).toEqual(before);
});
