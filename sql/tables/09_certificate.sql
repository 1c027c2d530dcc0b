-- Certificates, their revocation, and keys that are used no more.

create table acme_private.certificate (
  id bigint generated always as identity
    constraint certificate_pkey primary key,
  csr_id bigint not null
    constraint certificate_csr_id_fkey references acme_private.csr_state (csr_id) on delete cascade,
  tenant text not null,
  -- null: adopted, no order of ours brought it
  order_id bigint,
  -- of an adopted one: the imported account that its adoption names (RFC 9773 §5 asks who ordered it); null: unknown
  account_id bigint,
  state text not null default 'current'
    constraint certificate_state_is_known check (state in ('current', 'superseded', 'revoking', 'revoked', 'expired')),
  identifiers text[] not null,
  leaf_pem text not null,
  chain_pem text not null,
  subject text not null,
  issuer text not null,
  serial text not null,
  not_before timestamptz not null,
  not_after timestamptz not null,
  spki_sha256 bytea not null,
  fingerprint_sha256 bytea not null,
  -- When its renewal was first to begin. Set once, when it is stored or adopted; no retry moves it: how overdue a renewal is is
  -- measured from here. null: its csr was cancelled.
  planned_renewal_at timestamptz,
  -- came after its csr was cancelled: it never was anybody's current certificate
  is_unwanted boolean not null default false,
  revoked_at timestamptz,
  revocation_reason text,
  -- current, and to be revoked as soon as it is superseded
  revoke_when_replaced boolean not null default false,
  -- its csr waits while this is being revoked, and ends with it
  ends_csr boolean not null default false,
  revoking_since timestamptz,
  next_attempt_at timestamptz,
  attempts int not null default 0,
  reason_code text,
  reason text,
  last_problem jsonb,
  lease_token uuid,
  lease_until timestamptz,
  lease_worker bigint,
  claims int not null default 0,
  created_at timestamptz not null default now(),
  constraint certificate_revoking_has_reason check (state <> 'revoking' or revocation_reason is not null),
  constraint certificate_revoked_has_time check (state <> 'revoked' or revoked_at is not null)
);
create index certificate_csr_idx on acme_private.certificate (csr_id);
create index certificate_revoking_idx on acme_private.certificate (id, tenant) where state = 'revoking';
-- certificates in use that should have been renewed by now: few, unless renewals fail
create index certificate_planned_renewal_idx on acme_private.certificate (planned_renewal_at, tenant) where state = 'current';
create index certificate_ends_csr_idx on acme_private.certificate (csr_id, tenant) where ends_csr;

-- One row for each name of each current certificate: the look-up of certificate_for(). A table, since row-level security
-- lets only leakproof comparisons use an index, and array operators are not leakproof.
create table acme_private.certificate_name (
  name text not null,
  certificate_id bigint not null
    constraint certificate_name_certificate_id_fkey references acme_private.certificate (id) on delete cascade,
  tenant text not null,
  constraint certificate_name_pkey primary key (tenant, name, certificate_id)
);
-- for acme.certificate_for()
create index certificate_name_reverse_idx on acme_private.certificate_name (reverse(name));
create index certificate_name_certificate_idx on acme_private.certificate_name (certificate_id);

-- Requests to revoke (RFC 8555 §7.6) that no worker has applied yet; workers take the rows away. No foreign key: it would lock
-- the workers' row for as long as the application's transaction lasts.
create table acme.revocation_request (
  id bigint generated always as identity
    constraint revocation_request_pkey primary key,
  -- the certificate's: acme_private.tg_revocation_request__insert
  tenant text not null,
  certificate_id bigint not null,
  reason text not null
    constraint revocation_request_reason_is_known check (reason in ('unspecified', 'keyCompromise',
      'affiliationChanged', 'superseded', 'cessationOfOperation', 'privilegeWithdrawn')),
  after_replacement boolean not null default false,
  requested_by text not null default session_user,
  created_at timestamptz not null default now(),
  ends_csr boolean not null default false,
  -- A csr whose certificate is replaced goes on.
  constraint revocation_request_ends_or_replaces check (not (ends_csr and after_replacement))
);
create index revocation_request_certificate_idx on acme.revocation_request (certificate_id);
comment on table acme.revocation_request is
  'Revocations that were asked for and that no worker has seen yet. Inserted into by acme.revoke and acme.revoke_certificate; workers take the rows away.';
comment on column acme.revocation_request.id is 'Given by the database.';
comment on column acme.revocation_request.tenant is 'The certificate''s.';
comment on column acme.revocation_request.certificate_id is 'The certificate to revoke, by its id in acme.certificate.';
comment on column acme.revocation_request.reason is 'Why, by the names of RFC 5280 §5.3.1.';
comment on column acme.revocation_request.after_replacement is 'True: only once a newer certificate of the same csr is stored.';
comment on column acme.revocation_request.requested_by is 'The login that asked.';
comment on column acme.revocation_request.created_at is 'When it was asked for.';
comment on column acme.revocation_request.ends_csr is
  'True: its csr is not renewed meanwhile, and ends when the certificate is revoked.';

-- Keys that somebody else has, or may have: no certificate is ordered with one again, by any tenant at any server, since
-- the key itself is lost.
create table acme_private.blocked_key (
  spki_sha256 bytea
    constraint blocked_key_pkey primary key,
  tenant text,
  certificate_id bigint,
  reason text not null,
  created_at timestamptz not null default now()
);
