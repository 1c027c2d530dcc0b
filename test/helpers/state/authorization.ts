import type postgres from 'postgres';
import { add, type Columns } from './rows.ts';

/** An authorization of these orders, of the account of the first one; `columns` are its own. */
export async function authorizationOf(
  sql: postgres.ISql,
  orders: readonly string[],
  columns: Columns<'authorization'> = {},
): Promise<string> {
  const [first] = await sql<[{ account_id: string; tenant: string }]>`
    select account_id, tenant from acme_private."order" where id = ${orders[0] ?? null}`;
  const id = await add(sql, 'authorization', {
    ...first,
    url: `https://ca.example.org/authorization/${orders.join('-')}`,
    ...columns,
  });
  for (const order of orders) {
    await add(sql, 'order_authorization', { order_id: order, authorization_id: id });
  }
  return id;
}

/** A challenge of an authorization, and the record that a person is to publish for it. */
export async function challengeByHand(
  sql: postgres.ISql,
  authorization: string,
  { identifier = 'a.example.org', solver = 'by-hand', value = 't.k' } = {},
): Promise<{ challenge: string; record: string }> {
  const [{ tenant }] = await sql<[{ tenant: string }]>`
    select tenant from acme_private.authorization where id = ${authorization}`;
  const challenge = await add(sql, 'challenge', {
    authorization_id: authorization,
    tenant,
    url: 'https://ca.example.org/challenge/1',
    type: 'http-01',
    token: 't',
    key_authorization: value,
  });
  const record = await add(sql, 'record', {
    challenge_id: challenge,
    tenant,
    solver,
    method: 'manual',
    type: 'http-01',
    identifier,
    token: 't',
    value,
  });
  return { challenge, record };
}
