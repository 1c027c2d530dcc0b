import { expect, test } from 'vitest';
import { registerDefaultAccount } from '../helpers/state/index.ts';
import { openShop } from '../helpers/shop.ts';

test('a key that the server took late makes what is to be published by hand another one', async () => {
  const { sql, app } = await openShop();
  await registerDefaultAccount(sql);
  const [{ id }] = await app<[{ id: string }]>`select acme.preauthorize('www.example.org') as id`;
  await sql`
    update acme_private.authorization set state = 'pending', url = 'https://ca.example.org/authz/1'
     where id = ${id}`;
  await sql`
    with made as (
      insert into acme_private.challenge (authorization_id, tenant, url, type, token, key_authorization)
      select id, tenant, 'https://ca.example.org/chall/1', 'http-01', 't', 't.old'
        from acme_private.authorization
      returning id, tenant
    )
    insert into acme_private.record (challenge_id, tenant, solver, method, type, identifier, token, value)
    select id, tenant, 'by-hand', 'manual', 'http-01', 'www.example.org', 't', 't.old' from made`;
  expect(await app`select value from acme.challenge_todo`).toEqual([{ value: 't.old' }]);
  const [key] = await sql<[{ id: string }]>`
    insert into acme_private.account_key (account_id, state, jwe, thumbprint, spki_sha256, retired_at)
    select id, 'retired', 'sealed', 'late', sha256('late'), now() from acme.account returning id`;
  const [{ lease, account }] = await sql<[{ lease: string; account: string }]>`
    update acme_private.account_state
       set lease_token = gen_random_uuid(), lease_until = now() + interval '1 minute'
    returning lease_token as lease, account_id as account`;
  await sql`select acme_private.account_key_found(null, ${account}, ${lease}, ${key.id})`;
  const [{ thumbprint }] = await sql<[{ thumbprint: string }]>`
    select thumbprint from acme.account_status`;
  expect(thumbprint).toBe('late');
  expect(await app`select state from acme.record`).toEqual([{ state: 'removed' }]);
  expect(await app`select state from acme.challenge`).toEqual([{ state: 'invalid' }]);
});
