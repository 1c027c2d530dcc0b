import { expect, test } from 'vitest';
import { travel } from '../helpers/clock.ts';
import { openShop } from '../helpers/shop.ts';
import { ahead, now, putInState, registerDefaultAccount, set } from '../helpers/state/index.ts';

test('a certificate whose end has passed is expired for every reader, unless it was revoked', async () => {
  const shop = await openShop();
  await registerDefaultAccount(shop.sql);
  const ids: string[] = [];
  for (let i = 0; i < 4; i++) {
    const csr = await shop.insert();
    await putInState(shop.sql, csr, 'issued');
    const [row] = await shop.sql<[{ id: string }]>`
      select id from acme.certificate where csr_id = ${csr}`;
    ids.push(row.id);
  }
  await shop.sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    for (const [i, state] of ['current', 'superseded', 'revoked', 'revoking'].entries()) {
      await set(tx, 'certificate', ids[i] ?? '', {
        state,
        revocation_reason: 'unspecified',
        not_after: ahead('30 days'),
        revoked_at: state === 'revoked' ? now() : null,
      });
    }
  });
  const readers = [
    shop.app,
    await shop.database.as('acme_reader'),
    await shop.database.as('acme_admin'),
  ];
  const states = () =>
    Promise.all(
      readers.map(async (sql) => {
        const rows = await sql<{ state: string }[]>`select state from acme.certificate order by id`;
        return rows.map(({ state }) => state);
      }),
    );
  expect(await states()).toEqual(
    readers.map(() => ['current', 'superseded', 'revoked', 'revoking']),
  );
  await travel(shop.sql, 29);
  expect((await states())[0]).toEqual(['current', 'superseded', 'revoked', 'revoking']);
  await travel(shop.sql, 31);
  // Whether one that is being revoked has ended is a worker's to find.
  expect(await states()).toEqual(readers.map(() => ['expired', 'expired', 'revoked', 'revoking']));
  await shop.sql`select acme_private.reconcile()`;
  expect((await states())[0]).toEqual(['expired', 'expired', 'revoked', 'expired']);
  const [stored] = await shop.sql`
    select state from acme_private.certificate where id = ${ids[0] ?? ''}`;
  expect(stored).toEqual({ state: 'current' });
});

test.each([
  ['12 hours', 12],
  ['10 days', 24],
])(
  'a certificate that ends with its issuer in %s is renewed a day later, or as it ends',
  async (left, hours) => {
    const shop = await openShop();
    const [row] = await shop.sql<[{ hours: number }]>`
    select round(extract(epoch from acme_private.first_renewal(jsonb_build_object(
             'not_before', now() - interval '80 days', 'not_after', now() + ${left}::interval, 'ends_with_issuer', true))
           - now()) / 3600)::int as hours`;
    expect(row.hours).toBe(hours);
  },
);
