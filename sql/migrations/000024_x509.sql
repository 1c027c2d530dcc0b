-- What CAs refuse in CSRs, by server; and when each certificate was first to be renewed. Fast.

alter table acme.server
  -- By the host of the directory, unless it is said (acme_private.tg_server__known_ca).
  add column refused_csr_features text[] not null default '{}'
    constraint server_refused_csr_features_are_known check (refused_csr_features <@ '{must_staple,client_auth_eku}'),
  add column blocks_revoked_keys boolean not null default false;
update acme.server
   set refused_csr_features = '{must_staple}', blocks_revoked_keys = true
 where directory_url ~ '^https://[^/?]+\.api\.letsencrypt\.org[/?:]';
alter table acme.server
  alter column refused_csr_features drop default,
  alter column blocks_revoked_keys drop default;
comment on column acme.server.refused_csr_features is
  'What this server refuses that a CSR may ask for: must_staple, client_auth_eku. Left out, it is filled in for CAs that are known.';
comment on column acme.server.blocks_revoked_keys is
  'Whether a revocation signed with the certificate''s own key counts as a compromise of that key here. Left out, it is filled in for CAs that are known.';

alter table acme_private.certificate
  -- Set once, when it is stored or adopted, and moved by nothing: how overdue a renewal is is measured from here.
  add column planned_renewal_at timestamptz;
update acme_private.certificate
   set planned_renewal_at = not_after - (not_after - not_before) / 3;
comment on column acme_private.certificate.planned_renewal_at is
  'When its renewal was planned for at first; retries and the CA''s wishes do not move it.';
