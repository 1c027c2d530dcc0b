import { beforeEach, expect, test } from 'vitest';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  all,
  NEVER,
  now,
  putInState,
  registerDefaultAccount,
  set,
} from '../helpers/state/index.ts';

let shop: Shop;

beforeEach(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
});

const stateOf = async () =>
  (await shop.sql<{ state: string }[]>`select state from acme.account_status`)[0]?.state;

async function waitForPerson(code: string, rereadSince: Date | null): Promise<void> {
  await set(shop.sql, 'account', all, {
    next_attempt_at: NEVER,
    reason_code: code,
    reason: 'Import a newer export.',
    reread_since: rereadSince,
  });
}

test('an account that a restored database does not order with waits for a person, and its csr says the same', async () => {
  const id = await shop.insert();
  await putInState(shop.sql, id, 'queued');
  await waitForPerson('account_key_unknown', new Date());
  expect(await stateOf()).toBe('needs_person');
  expect(await shop.status(id)).toMatchObject({
    reason_code: 'account_not_ready',
    reason: 'The account main waits for a person: Import a newer export.',
  });
  await set(shop.sql, 'account', all, { state: 'rolling_over', reread_since: null });
  expect(await stateOf()).toBe('needs_person');
  expect((await shop.status(id))['reason']).toBe(
    'The account main waits for a person: Import a newer export.',
  );
  // Until it is looked at it does not.
  await set(shop.sql, 'account', all, {
    state: 'valid',
    reread_since: now(),
    next_attempt_at: null,
    reason_code: 'database_restored',
    reason: 'It is asked.',
  });
  expect(await stateOf()).toBe('valid');
  expect((await shop.status(id))['reason']).toBe(
    'The account main is looked at first: It is asked.',
  );
});

test('one that orders goes on as valid, whatever a person is to do', async () => {
  const id = await shop.insert();
  await putInState(shop.sql, id, 'queued');
  await waitForPerson('contact_refused', null);
  expect(await stateOf()).toBe('valid');
  expect((await shop.status(id))['reason_code']).toBe('waiting_for_room');
});

test('a csr that no worker has looked at shows the account that it names', async () => {
  const { sql } = shop;
  await sql`insert into acme.account (name, server) values ('second', 'ca')`;
  const named = await shop.insert({ account: 'second' });
  const other = await shop.insert();
  expect(await shop.status(named)).toMatchObject({ state: 'received', account: 'second' });
  expect(await shop.status(other)).toMatchObject({ state: 'received', account: null });
});
