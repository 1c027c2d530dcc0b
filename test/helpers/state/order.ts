import type postgres from 'postgres';
import type { Shop } from '../shop.ts';
import { putInState } from './csr.ts';
import { LEASE } from './lease.ts';
import { type Columns, set, withoutTriggers } from './rows.ts';

/** The columns of a row that a worker holds. */
export function held(): { lease_token: string; lease_until: Date } {
  return { lease_token: LEASE, lease_until: new Date(Date.now() + 60_000) };
}

/** A csr whose order is live, as workers brought it there; `columns` are those of the order. */
export async function underWay(
  shop: Shop,
  columns: Columns<'order'>,
): Promise<{ csr: string; order: string }> {
  const csr = await shop.insert();
  await putInState(shop.sql, csr, 'ordering');
  const [order] = await withoutTriggers(shop.sql, (tx) =>
    set(tx, 'order', { csr_id: csr }, columns),
  );
  if (order === undefined) throw new Error(`Csr ${csr} has no order.`);
  return { csr, order };
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
