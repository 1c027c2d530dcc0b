import { expect, test } from 'vitest';
import { openShop } from '../helpers/shop.ts';
import {
  accountId,
  addAccountKey,
  challengeByHand,
  LEASE,
  lease,
  now,
  registerDefaultAccount,
  set,
} from '../helpers/state/index.ts';

test('a key that the server took late makes what is to be published by hand another one', async () => {
  const { sql, app } = await openShop();
  await registerDefaultAccount(sql);
  const [{ id }] = await app<[{ id: string }]>`select acme.preauthorize('www.example.org') as id`;
  await set(sql, 'authorization', id, { state: 'pending', url: 'https://ca.example.org/authz/1' });
  await challengeByHand(sql, id, { identifier: 'www.example.org', value: 't.old' });
  expect(await app`select value from acme.challenge_todo`).toEqual([{ value: 't.old' }]);
  const account = await accountId(sql);
  const key = await addAccountKey(sql, account, 'late', { state: 'retired', retired_at: now() });
  await lease(sql, 'account', account);
  await sql`select acme_private.account_key_found(null, ${account}, ${LEASE}, ${key})`;
  const [{ thumbprint }] = await sql<[{ thumbprint: string }]>`
    select thumbprint from acme.account_status`;
  expect(thumbprint).toBe('late');
  expect(await app`select state from acme.record`).toEqual([{ state: 'removed' }]);
  expect(await app`select state from acme.challenge`).toEqual([{ state: 'invalid' }]);
});
