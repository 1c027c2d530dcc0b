import { expect, test } from 'vitest';
import { refusal } from '../helpers/refusal.ts';
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

test('a tenant has at most 100 pre-authorizations under way', async () => {
  const { sql, app, database } = await openShop();
  await registerDefaultAccount(sql);
  await app`
    select acme.preauthorize('host-' || i || '.example.org') from generate_series(1, 100) i`;
  const [{ id }] = await app<[{ id: string }]>`
    select id from acme.authorization where identifier = 'host-1.example.org'`;
  // One that is under way already is that one.
  expect(await app`select acme.preauthorize('host-1.example.org') as id`).toEqual([{ id }]);
  const error = await refusal(app`select acme.preauthorize('one-more.example.org')`);
  expect(error.message).toMatch(/^Tenant '\w+' has 100 pre-authorizations under way/);
  expect(error.hint).toContain('acme.deactivate_authorization');
  // Another tenant's are counted by themselves, and what is over makes way.
  const other = await database.as('acme_app', { login: 'other' });
  await other`select acme.preauthorize('one-more.example.org')`;
  await set(sql, 'authorization', id, {
    state: 'invalid',
    url: 'https://ca.example.org/authz/1',
  });
  await app`select acme.preauthorize('another.example.org')`;
});
