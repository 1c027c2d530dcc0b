import type { Sql } from '../steps/connect.ts';
import { connectAnyhow } from '../steps/connect-anyhow.ts';
import { primaryOf } from '../steps/hosts.ts';
import type { AccountRecord } from '../steps/step-types.ts';

/** An account that its server is to be asked about, and the orders of it that the database knows. */
export interface OrderBook {
  /** undefined: there is none of this name. `hold`: why nothing may be sent from this database. */
  account(name: string): Promise<{ record: AccountRecord; hold: string | null } | undefined>;
  known(account: number, urls: string[]): Promise<{ url: string; order: string; csr: string }[]>;
  close(): Promise<void>;
}

/** Opens the database as acme_owner; each call is one transaction. */
export async function orderBook(databaseUrl: string | undefined, name: string): Promise<OrderBook> {
  const sql = await connectAnyhow({ databaseUrl: await primaryOf(databaseUrl), name, max: 1 });
  const asOwner = async <T>(query: (tx: Sql) => PromiseLike<readonly T[]>): Promise<T[]> => {
    const { rows } = await sql.begin(async (tx) => {
      await tx`set local role acme_owner`;
      return { rows: [...(await query(tx as unknown as Sql))] };
    });
    return rows;
  };
  return {
    async account(account) {
      const [row] = await asOwner<{ record: AccountRecord; hold: string | null }>(
        (tx) => tx`
          select acme_private.account_for_worker(a.id) as record, acme_private.hold() as hold
            from acme.account a
           where a.name = ${account}`,
      );
      return row;
    },
    known: (account, urls) =>
      asOwner<{ url: string; order: string; csr: string }>(
        (tx) => tx`
          select o.url, o.id as order, o.csr_id as csr
            from acme_private."order" o
           where o.account_id = ${account}
             and o.url in (select jsonb_array_elements_text(${tx.json(urls)}))`,
      ),
    close: () => sql.end({ timeout: 5 }),
  };
}
