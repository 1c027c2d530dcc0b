import type postgres from 'postgres';
import { putInState } from './csr-state.ts';
import type { Shop } from './shop.ts';

/** The lease of the worker that these rows are held by. */
export const LEASE = '00000000-0000-4000-8000-000000000000';

/** The columns of a row that a worker holds. */
export function held(): { lease_token: string; lease_until: Date } {
  return { lease_token: LEASE, lease_until: new Date(Date.now() + 60_000) };
}

type Columns = Record<string, string | boolean | number | Date>;

/** A csr whose order is live, as workers brought it there; `columns` are those of the order. */
export async function underWay(
  shop: Shop,
  columns: Columns,
): Promise<{ csr: string; order: string }> {
  const csr = await shop.insert();
  await putInState(shop.sql, csr, 'ordering');
  return shop.sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    const [row] = await tx<[{ id: string }]>`
      update acme_private."order" set ${tx(columns)} where csr_id = ${csr} returning id`;
    return { csr, order: row.id };
  });
}

/** An authorization of these orders, of the account of the first one; `columns` are its own. */
export async function authorizationOf(
  sql: postgres.Sql,
  orders: string[],
  columns: Columns = {},
): Promise<string> {
  const [first] = await sql<[{ account_id: string; tenant: string }]>`
    select account_id, tenant from acme_private."order" where id = ${orders[0] ?? null}`;
  const row = { url: `https://ca.example.org/authorization/${orders.join('-')}`, ...columns };
  const [made] = await sql<[{ id: string }]>`
    insert into acme_private.authorization ${sql({ ...first, ...row })} returning id`;
  await sql`
    insert into acme_private.order_authorization (order_id, authorization_id)
    select unnest(${orders}::bigint[]), ${made.id}`;
  return made.id;
}

/** A step on a row does not succeed, as the worker says that holds it. */
export async function fail(
  sql: postgres.ISql,
  kind: string,
  id: string,
  outcome: Record<string, string | number | object[]>,
  lease = LEASE,
): Promise<void> {
  const said = sql.json({ code: 'code', text: 'No.', account_version: '', ...outcome });
  await sql`select acme_private.step_failed(null, ${kind}, ${id}, ${lease}, ${said}, 1)`;
}

/** The server has made an order with these authorizations. */
export function orderMade(
  sql: postgres.ISql,
  order: string,
  authorizations: string[],
): postgres.PendingQuery<postgres.Row[]> {
  const facts = { url: `https://ca.example.org/order/${order}`, status: 'pending', authorizations };
  return sql`
    select acme_private.order_created(null, ${order}, ${LEASE}, ${sql.json(facts)}, 16)`;
}
