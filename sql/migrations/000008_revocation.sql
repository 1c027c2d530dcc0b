-- Revocation (RFC 8555 §7.6): what was asked for, what is under way, and keys that are used no more. And what
-- a csr may ask for besides. Fast; the checks of two tables are made anew, a second with a million rows.

-- What applications asked for and no worker has seen yet; workers take the rows away. What comes of it is in
-- acme.certificate and acme.event. No foreign key: it would lock the workers' row for as long as the
-- application's transaction lasts.
create table acme.revocation_request (
  id bigint generated always as identity primary key,
  -- The certificate's: acme_private.tg_revocation_request__insert
  tenant text not null,
  certificate_id bigint not null,
  reason text not null
    constraint revocation_request_reason_is_known check (reason in ('unspecified', 'keyCompromise',
      'affiliationChanged', 'superseded', 'cessationOfOperation', 'privilegeWithdrawn')),
  after_replacement boolean not null default false,
  requested_by text not null default session_user,
  created_at timestamptz not null default now()
);
create index revocation_request_certificate_idx on acme.revocation_request (certificate_id);

-- Keys that somebody else has, or may have: no server is asked for a certificate with one again. Of all
-- tenants and servers, since the key is what is lost.
create table acme_private.blocked_key (
  spki_sha256 bytea primary key,
  tenant text,
  certificate_id bigint,
  reason text not null,
  created_at timestamptz not null default now()
);

alter table acme_private.certificate
  drop constraint certificate_state_is_known,
  add constraint certificate_state_is_known check (state in ('current', 'superseded', 'revoking', 'revoked', 'expired')),
  add column revocation_reason text,
  -- current, and to be revoked as soon as it is superseded
  add column revoke_when_replaced boolean not null default false,
  add column revoking_since timestamptz,
  add column next_attempt_at timestamptz,
  add column attempts int not null default 0,
  add column reason_code text,
  add column reason text,
  add column last_problem jsonb,
  add column lease_token uuid,
  add column lease_until timestamptz,
  add column lease_worker bigint,
  add column claims int not null default 0,
  add constraint certificate_revoking_has_reason check (state <> 'revoking' or revocation_reason is not null),
  add constraint certificate_revoked_has_time check (state <> 'revoked' or revoked_at is not null);
create index certificate_revoking_idx on acme_private.certificate (id) where state = 'revoking';

alter table acme_private.csr_state
  drop constraint csr_state_is_known,
  add constraint csr_state_is_known check (state in ('received', 'rejected', 'queued', 'ordering', 'issued',
    'renewing', 'retrying', 'needs_person', 'needs_new_csr', 'failed', 'cancelled'));

-- Not wanted any more for another reason than acme.cancel(): ended before it is finalized.
alter table acme_private."order" add column is_unwanted boolean not null default false;

insert into acme_private.transition (kind, from_state, to_state) values
  ('certificate', 'current', 'revoking'), ('certificate', 'superseded', 'revoking'),
  ('certificate', 'revoking', 'revoked'), ('certificate', 'revoking', 'expired'),
  ('certificate', 'revoking', 'current'), ('certificate', 'revoking', 'superseded'),
  ('csr', 'queued', 'needs_new_csr'), ('csr', 'issued', 'needs_new_csr'), ('csr', 'renewing', 'needs_new_csr'),
  ('csr', 'retrying', 'needs_new_csr'), ('csr', 'needs_person', 'needs_new_csr'),
  ('csr', 'needs_new_csr', 'queued'), ('csr', 'needs_new_csr', 'renewing'), ('csr', 'needs_new_csr', 'cancelled');

insert into acme_private.step (kind, state, step) values
  ('certificate', 'revoking', 'revoke');

alter table acme.csr
  add column preferred_chain text
    constraint csr_preferred_chain_is_short check (length(preferred_chain) between 1 and 300),
  add column validity interval
    constraint csr_validity_is_positive check (validity > interval '0');
