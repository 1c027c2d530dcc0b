import type postgres from 'postgres';
import { add, now } from './rows.ts';

/** Makes a tenant the owner of a name, as if it had proved control of it. */
export async function ownName(
  sql: postgres.ISql,
  tenant: string,
  name: string,
  domain = 'example.org',
): Promise<void> {
  await add(sql, 'name', {
    tenant,
    name,
    registered_domain: domain,
    owner_since: now(),
    proved_at: now(),
  });
}
