import { sealedAccountKeys } from '../../src/secrets/account-keys.ts';
import { sealingKeys } from '../../src/secrets/seal.ts';
import { until } from './until.ts';
import type { World } from './world.ts';

/** A row of acme.account_status, as far as tests look at it. */
export interface AccountStatus {
  id: string;
  state: string;
  reason_code: string | null;
  reason: string | null;
  url: string;
  thumbprint: string;
  terms_url: string | null;
  agreed_terms_url: string | null;
  verified_at: Date;
  has_pending_change: boolean;
}

/** Where an account stands. */
export async function account({ sql }: World, name = 'main'): Promise<AccountStatus> {
  const [row] = await sql<[AccountStatus]>`select * from acme.account_status where name = ${name}`;
  return row;
}

/** The account `main`, once it is as wanted. */
export function once(world: World, is: (row: AccountStatus) => boolean, what: string) {
  return until(
    async () => {
      const row = await account(world);
      if (is(row)) return row;
      throw new Error(`it is ${row.state}: ${row.reason_code} ${row.reason}`);
    },
    { what, timeoutMs: 30_000 },
  );
}

/** The account `main`, once it can order and nothing of it is left to be told. */
export const valid = (world: World) =>
  once(world, (row) => row.state === 'valid' && !row.has_pending_change, 'the account is valid');

/** The events of accounts whose name is like this. */
export async function events({ sql }: World, like = 'account_%'): Promise<string[]> {
  const rows = await sql<{ event: string }[]>`
    select event from acme.event where csr_id is null and event like ${like} order by id`;
  return rows.map(({ event }) => event);
}

/** The account's key, opened as a worker does. */
export async function openKey(world: World, origin: string) {
  const [row] = await world.sql<[{ jwe: string }]>`
    select jwe from acme_private.account_key where state = 'current'`;
  const keys = sealedAccountKeys(await sealingKeys(world.secretKey));
  return keys.open({ account: 'main', origin }, row.jwe);
}
