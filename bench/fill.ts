import type { Sql } from '#src/db/steps/connect';

/**
 * Fills a database with csrs that were issued some time ago, each with its certificate, its claim and
 * an event: by plain SQL, past all triggers. They renew within the next two months, a few are overdue
 * by far less than a minute's worth of the sweep.
 */
export async function fill(sql: Sql, tenant: string, rows: number): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`set local synchronous_commit = off`;
    await tx`set local maintenance_work_mem = '256MB'`;
    await tx`
      insert into acme.server (name, directory_url, refused_csr_features, blocks_revoked_keys)
      values ('filled', 'https://ca.invalid/dir', '{}', false)`;
    await tx`
      insert into acme.account (name, server, is_default) values ('filled', 'filled', false)`;
    await tx`
      insert into acme_private.account_state (account_id, server_id, state, url)
      select a.id, s.id, 'valid', 'https://ca.invalid/account/1'
        from acme.account a, acme.server s
       where a.name = 'filled' and s.name = 'filled'`;
    await tx`
      insert into acme.csr (tenant, pem)
      select ${tenant}, '-----BEGIN CERTIFICATE REQUEST-----' || repeat(md5(g::text), 12)
        from generate_series(1, ${rows}::int) g`;
    await tx`
      insert into acme_private.csr_state
             (csr_id, tenant, der_sha256, state, identifiers, identifiers_key, spki_sha256, server_id,
              account_id, certificate_id, renew_at)
      select c.id, c.tenant, sha256(int8send(c.id)), 'issued', array['host.d' || c.id || '.example'],
             sha256(int8send(c.id)), sha256(int8send(c.id)), a.server_id, a.account_id, c.id,
             case when c.id % 10000 = 0 then now() - interval '1 minute'
                  else now() + (c.id % 86400) * interval '1 minute' end
        from acme.csr c, acme_private.account_state a`;
    await tx`
      insert into acme_private.certificate
             (csr_id, tenant, order_id, identifiers, leaf_pem, chain_pem, subject, issuer, serial,
              not_before, not_after, spki_sha256, fingerprint_sha256)
      select s.csr_id, s.tenant, s.csr_id, s.identifiers,
             repeat(md5(s.csr_id::text), 20), repeat(md5(s.csr_id::text), 40), 'CN=x', 'CN=filled CA',
             md5(s.csr_id::text), now() - interval '30 days', now() + interval '60 days',
             s.spki_sha256, s.spki_sha256
        from acme_private.csr_state s
       order by s.csr_id`;
    await tx`
      insert into acme_private.certificate_name (name, certificate_id, tenant)
      select s.identifiers[1], s.csr_id, s.tenant from acme_private.csr_state s`;
    await tx`
      insert into acme_private.tenant_name (name, registered_domain, tenant, owner_since, proved_at)
      select s.identifiers[1], 'd' || s.csr_id || '.example', s.tenant, now(), now() from acme_private.csr_state s`;
    await tx`
      insert into acme_private.event (tenant, event, csr_id, account_id, certificate_id, detail)
      select s.tenant, 'issued', s.csr_id, s.account_id, s.certificate_id,
             jsonb_build_object('serial', md5(s.csr_id::text))
        from acme_private.csr_state s`;
  });
  // As autovacuum would have done it over the months.
  await sql`vacuum analyze`;
  await sql`checkpoint`;
}
