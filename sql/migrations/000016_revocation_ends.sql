-- A csr that acme.revoke() is to end does so when its certificate is revoked, not before: a server that refuses
-- the reason leaves it as it was. Builds an index of no rows: a second with a million certificates.

alter table acme.revocation_request
  add column ends_csr boolean not null default false,
  -- What is replaced goes on.
  add constraint revocation_request_ends_or_replaces check (not (ends_csr and after_replacement));

alter table acme_private.certificate
  -- Its csr is held while this is being revoked, and ends with it.
  add column ends_csr boolean not null default false;
create index certificate_ends_csr_idx on acme_private.certificate (csr_id) where ends_csr;
