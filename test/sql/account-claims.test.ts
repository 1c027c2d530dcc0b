import { beforeEach, expect, test } from 'vitest';
import { registerDefaultAccount } from '../helpers/csr-state.ts';
import { openShop, type Shop } from '../helpers/shop.ts';

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
  await shop.clearJobs();
});

async function claim(): Promise<{ step: string } | null> {
  const [row] = await shop.sql<[{ claim: { step: string } | null }]>`
    select acme_private.claim(null, 'account', (select id from acme.account)) as claim`;
  return row.claim;
}

/** Moves the beginning of what was asked for into the past. */
async function later(seconds: number): Promise<void> {
  await shop.sql`
    update acme_private.account_state
       set since = since - make_interval(secs => ${seconds}),
           next_attempt_at = next_attempt_at - make_interval(secs => ${seconds})`;
}

test.each(['roll_over_key', 'deactivate_account'])(
  'acme.%s() waits for dispatchers about to commit, however often it is woken, and is never forgotten',
  async (request) => {
    await shop.sql`update acme_private.account_state set thumbprint = 'of its key'`;
    await shop.sql.unsafe(`select acme.${request}('main')`);
    for (let i = 0; i < 3; i++) {
      await shop.clearJobs();
      expect(await claim(), 'an order may be about to be committed').toBeNull();
      expect((await shop.jobs()).map(({ task }) => task)).toEqual(['register']);
    }
    await later(2);
    expect(await claim()).toMatchObject({ step: /roll_over|deactivate/.exec(request)?.[0] });
  },
);

test('what a worker took before its time because of a person is due when that worker dies', async () => {
  await shop.sql`
    update acme_private.account_state
       set state = 'registering', next_attempt_at = 'infinity', reason_code = 'user_action_required'`;
  expect(await claim(), 'it waits for a person').toBeNull();
  await shop.sql`select acme.agree_terms('main')`;
  expect(await claim()).toMatchObject({ step: 'register' });
  await shop.sql`update acme_private.account_state set lease_until = now() - interval '1 second'`;
  expect(await claim()).toMatchObject({ step: 'register' });
});
