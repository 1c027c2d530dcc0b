import { beforeEach, expect, test } from 'vitest';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  authorizationOf,
  fail,
  held,
  LEASE,
  putInState,
  registerDefaultAccount,
  underWay,
} from '../helpers/state/index.ts';

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
});

/** What a step gets to know, as far as these tests look at it. */
interface Claim {
  kind: string;
  id: number;
  lease: string;
  csr_id: number;
}

/** One turn of the dispatcher, as a worker asks for it. */
async function dispatch(): Promise<Claim[]> {
  const [row] = await shop.sql<[{ answer: { claims: Claim[] } }]>`
    select acme_private.dispatch(null, null, null, 8) as answer`;
  return row.answer.claims;
}

/** Admits the one csr that is queued; the server answers with an order whose one authorization is always the same. */
async function orderAgain(): Promise<Claim> {
  const { sql } = shop;
  const [order] = await dispatch();
  const facts = {
    url: `https://ca.example.org/order/${order?.id}`,
    status: 'pending',
    authorizations: ['https://ca.example.org/authorization/1'],
  };
  const [row] = await sql<[{ claims: Claim[] }]>`
    select acme_private.order_created(null, ${order?.id ?? null}, ${order?.lease ?? null}, ${sql.json(facts)}, 8) as claims`;
  const [claim] = row.claims;
  if (claim === undefined) throw new Error('Nobody is to prove the authorization.');
  return claim;
}

/** The server offers the authorization's challenge, always the same. */
async function choose({ id, lease }: Claim): Promise<void> {
  const { sql } = shop;
  const facts = {
    identifier: 'a.example.org',
    is_wildcard: false,
    offered: [
      {
        url: 'https://ca.example.org/challenge/1',
        type: 'http-01',
        token: 't',
        key_authorization: 't.k',
      },
    ],
  };
  await sql`select acme_private.challenge_intended(null, ${id}, ${lease}, null, ${sql.json(facts)})`;
}

test('a queued csr whose name was moved to another tenant is rejected, and holds up no other', async () => {
  const [lost, other] = [await shop.insert(), await shop.insert()];
  for (const id of [lost, other]) await putInState(shop.sql, id, 'queued');
  await shop.sql`select acme.move_name(${`csr-${lost}.example.org`}, 'somebody')`;
  expect((await dispatch()).map((claim) => String(claim.csr_id))).toEqual([other]);
  expect(await shop.status(lost)).toMatchObject({ state: 'rejected', reason_code: 'name_held' });
});

// Servers hand back a pending order, with its pending authorizations, to whoever orders the same names.
test('an authorization that was given up is proved after all when a new order names it', async () => {
  const { sql } = shop;
  const id = await shop.insert();
  await putInState(sql, id, 'queued');

  const first = await orderAgain();
  await choose(first);
  const outcome = { class: 'person', code: 'user_action_required', text: 'Agree to the terms.' };
  await sql`select acme_private.step_failed(null, 'authorization', ${first.id}, ${first.lease}, ${sql.json(outcome)}, 0)`;
  expect(await sql`select state from acme.authorization`).toEqual([{ state: 'expired' }]);
  expect(await sql`select state from acme.challenge`).toEqual([{ state: 'invalid' }]);
  expect(await shop.status(id)).toMatchObject({ state: 'needs_person' });

  await putInState(sql, id, 'queued');
  const second = await orderAgain();
  expect(second).toMatchObject({ kind: 'authorization', id: first.id });
  expect(await sql`select state, reason from acme.authorization`).toEqual([
    { state: 'pending', reason: null },
  ]);
  expect(await shop.status(id)).toMatchObject({ state: 'ordering', reason: null });
  await choose(second);
  expect(await sql`select state from acme.challenge`).toEqual([{ state: 'pending' }]);
  expect(await sql`select state from acme.record order by id`).toEqual([
    { state: 'removed' },
    { state: 'published' },
  ]);
});

test('an authorization that fails for a new order leaves one that is being finalized to the server', async () => {
  const { sql } = shop;
  const first = await underWay(shop, { state: 'finalizing', url: 'u', ...held() });
  const second = await underWay(shop, { state: 'authorizing', url: 'v' });
  const id = await authorizationOf(sql, [first.order, second.order], held());
  await fail(sql, 'authorization', id, { class: 'refused' });
  expect(await sql`select state from acme."order" order by id`).toEqual([
    { state: 'finalizing' },
    { state: 'failed' },
  ]);
  // The certificate that the server made is stored.
  const facts = {
    url: 'https://ca.example.org/certificate/1',
    identifiers: [`csr-${first.csr}.example.org`],
    leaf_pem: 'leaf',
    chain_pem: 'leaf and chain',
    subject: '',
    issuer: 'CN=Test CA',
    serial: '01',
    not_before: '2000-01-01T00:00:00Z',
    not_after: '2100-01-01T00:00:00Z',
    spki_sha256: '00',
    fingerprint_sha256: '00',
  };
  await sql`select acme_private.certificate_stored(null, ${first.order}, ${LEASE}, ${sql.json(facts)}, 1)`;
  expect(await shop.status(first.csr)).toMatchObject({ state: 'issued', has_certificate: true });
});
