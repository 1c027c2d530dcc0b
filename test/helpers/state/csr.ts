import type postgres from 'postgres';
import type { Verdict } from '../../../src/db/steps/step-types.ts';
import { now, set, withoutTriggers } from './rows.ts';

/**
 * Puts csrs into a state with what belongs to each (names, order, certificate), without a worker and
 * without the triggers: as if workers had brought them there. The name of each is made from its id.
 */
export async function putInState(
  sql: postgres.Sql,
  csr: string | readonly string[],
  state: string,
): Promise<void> {
  const csrs = typeof csr === 'string' ? [csr] : [...csr];
  await withoutTriggers(sql, async (tx) => {
    const name = tx`'csr-' || csr_id || '.example.org'`;
    await tx`
      update acme_private.csr_state s
         set identifiers = array[${name}], domains = array['example.org'], identifiers_key = acme_private.identifiers_key(array[${name}]),
             spki_sha256 = sha256('key'), account_id = a.id, server_id = v.id,
             queued_at = case when ${state} in ('queued', 'renewing') then now() end
        from acme.account a
        join acme.server v on v.name = a.server
       where s.csr_id = any (${csrs}::bigint[]) and a.is_default`;
    await tx`
      insert into acme_private.tenant_name (name, registered_domain, tenant, owner_since, proved_at)
      select ${name}, 'example.org', tenant, now(), now() from acme_private.csr_state where csr_id = any (${csrs}::bigint[])
      on conflict do nothing`;
    if (state === 'ordering') await makeOrder(tx, csrs);
    if (state === 'issued' || state === 'renewing') await makeCertificate(tx, csrs);
    await set(tx, 'csr', csrs, { state });
  });
}

async function makeOrder(tx: postgres.TransactionSql, csrs: string[]): Promise<void> {
  await tx`
    with made as (
      insert into acme_private."order" (csr_id, tenant, server_id, account_id, identifiers, identifiers_key)
      select csr_id, tenant, server_id, account_id, identifiers, identifiers_key
        from acme_private.csr_state
       where csr_id = any (${csrs}::bigint[])
      returning id, csr_id
    )
    update acme_private.csr_state s
       set order_id = made.id
      from made
     where s.csr_id = made.csr_id`;
}

async function makeCertificate(tx: postgres.TransactionSql, csrs: string[]): Promise<void> {
  await tx`
    with made as (
      insert into acme_private.certificate (csr_id, tenant, order_id, identifiers, leaf_pem, chain_pem, subject, issuer,
                                            serial, not_before, not_after, spki_sha256, fingerprint_sha256,
                                            planned_renewal_at)
      select csr_id, tenant, 0, identifiers, 'leaf', 'leaf and chain', '', 'CN=Test CA', '01', now() - interval '1 day',
             now() + interval '89 days', spki_sha256, sha256('certificate'), now() + interval '60 days'
        from acme_private.csr_state
       where csr_id = any (${csrs}::bigint[])
      returning id, csr_id
    )
    update acme_private.csr_state s
       set certificate_id = made.id, renew_at = now() + interval '60 days'
      from made
     where s.csr_id = made.csr_id`;
}

/** What a worker found that accepts a csr, for this one name below example.org. */
export function accepted(csr: string | number, name = `csr-${csr}.example.org`): Verdict {
  return {
    csr_id: Number(csr),
    identifiers: [name],
    domains: ['example.org'],
    spki: 'ab'.repeat(32),
    reasons: [],
  };
}

/** The renewals of these csrs are due. */
export async function renewalDue(
  sql: postgres.ISql,
  csr: string | readonly string[],
  since = now(),
): Promise<void> {
  await set(sql, 'csr', csr, { renew_at: since });
}
