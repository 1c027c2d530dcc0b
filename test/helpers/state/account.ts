import type postgres from 'postgres';
import { add, type Columns, set, sha256, withoutTriggers } from './rows.ts';

export async function accountId(sql: postgres.ISql, name = 'main'): Promise<string> {
  const [row] = await sql<[{ id: string }]>`select id from acme.account where name = ${name}`;
  return row.id;
}

/** Makes the default account registered, as if a worker had done it. */
export async function registerDefaultAccount(sql: postgres.Sql): Promise<void> {
  const [{ id }] = await sql<[{ id: string }]>`select id from acme.account where is_default`;
  await registerAccounts(sql, [id]);
}

/** Makes accounts registered, as if a worker had done it. */
export async function registerAccounts(sql: postgres.Sql, ids: readonly string[]): Promise<void> {
  await withoutTriggers(sql, async (tx) => {
    for (const id of ids) {
      await set(tx, 'account', id, {
        state: 'valid',
        url: `https://ca.example.org/account/${id}`,
      });
    }
  });
}

/** The accounts are others than those that workers have read, as after a roll-over by another worker. */
export async function accountsChanged(sql: postgres.ISql): Promise<void> {
  await set(sql, 'account', {}, { version: sql`version + 1` });
}

/** Gives an account a key, whose thumbprint names it, and returns the key's id. */
export function addAccountKey(
  sql: postgres.ISql,
  account: string,
  thumbprint: string,
  columns: Columns<'account_key'> = {},
): Promise<string> {
  return add(sql, 'account_key', {
    account_id: account,
    jwe: 'sealed',
    thumbprint,
    spki_sha256: sha256(thumbprint),
    ...columns,
  });
}

/** Nothing of an account is left that workers have not seen and told the server. */
export async function accountsSeen(sql: postgres.ISql): Promise<void> {
  const rows = await sql<{ id: string; version: string }[]>`select id, version from acme.account`;
  for (const { id, version } of rows) {
    await set(sql, 'account', id, { seen_version: version, told_version: version });
  }
}
