import { randomUUID } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  accountId,
  add,
  ago,
  held,
  LEASE,
  lease,
  now,
  putInState,
  set,
  withoutTriggers,
} from '../helpers/state/index.ts';

// How long a row waits for a server that is still at work. One transaction has one time, so that what was
// reckoned from it can be compared to the microsecond.

let shop: Shop;

beforeAll(async () => {
  shop = await openShop();
});

const kinds = {
  authorization: {
    text: 'The server is validating a.example.org.',
    make: async () => {
      return add(shop.sql, 'authorization', {
        account_id: await accountId(shop.sql),
        url: `https://ca.example.org/authorization/${randomUUID()}`,
        tenant: 'postgres',
        identifier: 'a.example.org',
      });
    },
  },
  order: {
    text: 'The server is issuing the certificate.',
    make: async () => {
      const csr = await shop.insert();
      await putInState(shop.sql, csr, 'ordering');
      const url = `https://ca.example.org/order/of-${csr}`;
      const [order = ''] = await withoutTriggers(shop.sql, (tx) =>
        set(tx, 'order', { csr_id: csr }, { state: 'finalizing', url }),
      );
      return order;
    },
  },
};

/** A row as it is after it has waited, `age` after it began to; null: it has not waited before. */
async function waited(kind: keyof typeof kinds, age: string | null, retryAfterMs: number | null) {
  const { make, text } = kinds[kind];
  const id = await make();
  await shop.clearJobs();
  const { sql } = shop;
  return sql.begin(async (tx) => {
    const table = tx`acme_private.${tx(kind)}`;
    const waiting_since = age === null ? null : ago(age);
    await set(tx, kind, id, { ...held(), waiting_since });
    if (kind === 'order') {
      await tx`select acme_private.order_finalized(null, ${id}, ${LEASE}, null, false, ${retryAfterMs}, 8)`;
    } else {
      const outcome = {
        class: 'waiting',
        code: 'waiting_for_server',
        text,
        retry_after_ms: retryAfterMs,
      };
      await tx`select acme_private.step_failed(null, ${kind}, ${id}, ${LEASE}, ${tx.json(outcome)}, 8)`;
    }
    const [row] = await tx<
      [{ pause: string; since: string; reason: string; reason_code: string; job: string }]
    >`
      select (next_attempt_at - now())::text as pause, (now() - waiting_since)::text as since, reason, reason_code,
             (select (j.run_at - now())::text from acme_worker.jobs j where j.key = ${`pgacme:${kind}:${id}`}) as job
        from ${table} where id = ${id} and lease_token is null`;
    return row;
  });
}

const each = Object.keys(kinds) as (keyof typeof kinds)[];

test.each(each)(
  'an %s that waits for the first time is looked at again after 3 s',
  async (kind) => {
    expect(await waited(kind, null, null)).toEqual({
      pause: '00:00:03',
      since: '00:00:00',
      reason_code: 'waiting_for_server',
      reason: kinds[kind].text,
      job: '00:00:03',
    });
  },
);

test.each(
  each.flatMap((kind) =>
    [
      ['20 seconds', '00:00:03'],
      ['10 minutes', '00:01:00'],
      ['50 minutes', '00:05:00'],
      ['3 days', '00:05:00'],
    ].map(([age = '', pause = '']) => [kind, age, pause] as const),
  ),
)('an %s that has waited for %s is looked at again after %s, and says so', async (...given) => {
  const [kind, age, pause] = given;
  const row = await waited(kind, age, null);
  expect(row).toMatchObject({ pause, job: pause, reason_code: 'waiting_for_server' });
  expect(row.reason).toMatch(
    /^The server is .*\. It has been at it since \d{4}-\S+ \S+ \w+, and is asked less and less often\.$/,
  );
});

test.each(
  each.flatMap((kind) =>
    [
      [null, 1000, '00:00:01'],
      ['10 minutes', 61_000, '00:01:01'],
      ['10 minutes', 1000, '00:01:00'],
      ['3 days', 3_600_000, '01:00:00'],
    ].map(
      ([age, asked, pause]) => [kind, age, asked, pause] as [typeof kind, string, number, string],
    ),
  ),
)('an %s: %s, and the server asks for %i ms', async (kind, age, asked, pause) => {
  expect(await waited(kind, age, asked)).toMatchObject({ pause });
});

test.each(each)(
  'an %s that is handed back by a worker that stops has not waited, and is due at once',
  async (kind) => {
    expect(await waited(kind, null, 0)).toMatchObject({ pause: '00:00:00', since: null });
  },
);

test('an authorization that a new order names is looked at as one that has not waited', async () => {
  const { sql } = shop;
  const authorization = await kinds.authorization.make();
  await set(sql, 'authorization', authorization, {
    waiting_since: ago('1 day'),
    next_attempt_at: now(),
  });
  const [row] = await sql<[{ url: string }]>`
    select url from acme_private.authorization where id = ${authorization}`;
  const claimed = async () => {
    const [{ claim }] = await sql<[{ claim: { has_waited: boolean } }]>`
      select acme_private.authorization_claim(${authorization}) as claim`;
    return claim.has_waited;
  };
  expect(await claimed()).toBe(true);
  const csr = await shop.insert();
  await putInState(sql, csr, 'ordering');
  const [order = ''] = await lease(sql, 'order', { csr_id: csr });
  const facts = {
    url: 'https://ca.example.org/order/again',
    status: 'pending',
    authorizations: [row.url],
  };
  await sql`select acme_private.order_created(null, ${order}, ${LEASE}, ${sql.json(facts)}, 8)`;
  expect(await claimed()).toBe(false);
});
