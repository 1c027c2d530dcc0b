-- Certificate requests: what applications write, and where each stands.
--
-- What tenants write is bounded in size and content. Control characters reach terminals (ESC), and those that turn the direction
-- of text (U+202A-202E, U+2066-2069, U+200E, U+200F, U+061C) make a line look like another one. A time out of a timestamp's
-- range would raise in the commits of others.

create table acme.csr (
  id bigint generated always as identity
    constraint csr_pkey primary key,
  -- Its default is acme_private.current_tenant(), set where that function is (sql/api/tenant/functions.sql).
  tenant text not null
    constraint csr_tenant_is_plain check (length(tenant) between 1 and 200
      and tenant !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]'),
  ref text
    constraint csr_ref_is_short check (length(ref) between 1 and 500)
    constraint csr_ref_is_plain check (ref !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  pem text not null,
  account text
    constraint csr_account_fkey references acme.account (name) on update cascade on delete restrict,
  profile text
    constraint csr_profile_is_short check (length(profile) between 1 and 100)
    constraint csr_profile_is_plain check (profile !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  solver text
    constraint csr_solver_fkey references acme.solver (name) on update cascade on delete restrict,
  renewal text not null default 'reuse'
    constraint csr_renewal_is_known check (renewal in ('reuse', 'off')),
  priority int not null default 0
    constraint csr_priority_is_bounded check (priority between -1000000 and 1000000),
  labels jsonb not null default '{}'
    constraint csr_labels_is_object check (jsonb_typeof(labels) = 'object')
    -- As text, control characters below U+0020 are escapes: a backslash that is not escaped itself, and one of bfnrtu.
    constraint csr_labels_are_plain check (octet_length(labels::text) <= 16384
      and labels::text !~ '[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|(^|[^\\])(\\\\)*\\[bfnrtu]'),
  version bigint not null default 1,
  retry_request bigint,
  renew_request bigint,
  renew_reason text
    constraint csr_renew_reason_is_plain check (length(renew_reason) <= 500
      and renew_reason !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  cancel_request bigint,
  inserted_xid xid8 not null default pg_current_xact_id(),
  touched_xid xid8,
  created_at timestamptz not null default now(),
  cancel_reason text
    constraint csr_cancel_reason_is_plain check (length(cancel_reason) <= 500
      and cancel_reason !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  preferred_chain text
    constraint csr_preferred_chain_is_short check (length(preferred_chain) between 1 and 300)
    constraint csr_preferred_chain_is_plain check (preferred_chain !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  validity interval
    constraint csr_validity_is_positive check (validity > interval '0')
    -- Each part by itself: a large one and its opposite add up to little, and are added one after the other.
    constraint csr_validity_is_bounded check (validity <= interval '100 years'
      and extract(year from validity) between -100 and 100
      and extract(day from validity) between -36600 and 36600
      and extract(hour from validity) between -878400 and 878400),
  -- Only on its way in: a trigger moves it to acme_private.adoption.
  chain_pem text
    constraint csr_chain_pem_is_moved check (chain_pem is null),
  validity_start interval
    constraint csr_validity_start_is_bounded check (validity_start between interval '-100 years' and interval '100 years'
      and extract(year from validity_start) between -100 and 100
      and extract(day from validity_start) between -36600 and 36600
      and extract(hour from validity_start) between -878400 and 878400),
  -- A month counts 30 days here.
  constraint csr_validity_ends_after_start check (validity > validity_start)
);
-- for the foreign keys, when an account or a solver is renamed or deleted
create index csr_account_idx on acme.csr (tenant, account) where account is not null;
create index csr_solver_idx on acme.csr (tenant, solver) where solver is not null;
comment on table acme.csr is 'Certificate signing requests, as applications inserted them. Where each stands: csr_status.';
comment on column acme.csr.id is 'Given by the database; keep it in your tables, as a plain bigint.';
comment on column acme.csr.tenant is 'On whose behalf it was inserted: acme.current_tenant() at that time.';
comment on column acme.csr.ref is 'The application''s own key; one live csr of a tenant has it.';
comment on column acme.csr.pem is 'The PKCS #10 request in PEM (RFC 2986, RFC 7468). Never a private key.';
comment on column acme.csr.account is 'The account to order with; null: the default account, or that of its registered domain (server.account_policy).';
comment on column acme.csr.profile is 'The profile to ask the server for; null: the server''s default.';
comment on column acme.csr.solver is 'The solver to use for all its names; null: the most specific one.';
comment on column acme.csr.renewal is 'reuse: renew with this same CSR; off: do not renew.';
comment on column acme.csr.priority is 'Within a tenant, higher goes first.';
comment on column acme.csr.labels is 'Anything of yours, as a JSON object.';
comment on column acme.csr.version is 'Counts the changes of this row.';
comment on column acme.csr.retry_request is 'The version at which acme.retry was called last.';
comment on column acme.csr.renew_request is 'The version at which acme.renew was called last.';
comment on column acme.csr.renew_reason is 'What acme.renew was told.';
comment on column acme.csr.cancel_request is 'The version at which acme.cancel, or acme.release_domain, was called first; it cannot be taken back.';
comment on column acme.csr.inserted_xid is 'The transaction that inserted it: acme.wait refuses there.';
comment on column acme.csr.touched_xid is 'The transaction that changed it last: acme.wait refuses there.';
comment on column acme.csr.created_at is 'When it was inserted.';
comment on column acme.csr.cancel_reason is 'Why it was cancelled, in a sentence; null: it was asked for.';
comment on column acme.csr.preferred_chain is
  'Of several chains that the server offers, the one whose top (its last certificate, or the issuer of that) has this common name; or which has this key in hex: the SHA-256 of one in the chain, or the root''s key identifier; null, or if none has: the server''s default.';
comment on column acme.csr.validity is
  'How long a new certificate is to be good: its notAfter is asked for as now plus this. Only where the server takes that; null: the server''s default.';
comment on column acme.csr.chain_pem is
  'The certificate that another client ordered for this CSR, and its issuers: it is adopted in place of ordering one. Only on its way in: null when read.';
comment on column acme.csr.validity_start is
  'When a new certificate is to become good: its notBefore is asked for as now plus this. Only where the server takes that; null: the server''s default.';

-- The workers' half of a request. No foreign key to acme.csr: each check would lock a row that an application may hold, also
-- when a row is updated twice in one transaction; a trigger deletes it with its csr. None to the account and the server:
-- each certificate would lock the same row three times, and PostgreSQL rewrites the list of lockers for each of
-- them; a trigger keeps an account that is needed.
create table acme_private.csr_state (
  csr_id bigint
    constraint csr_state_pkey primary key,
  tenant text not null,
  ref text,
  -- of the CSR in DER form: the same CSR twice is one csr
  der_sha256 bytea not null,
  state text not null default 'received'
    constraint csr_state_is_known check (state in ('received', 'rejected', 'queued', 'ordering', 'issued',
      'renewing', 'retrying', 'needs_person', 'needs_new_csr', 'failed', 'cancelled')),
  is_live boolean not null generated always as (state not in ('rejected', 'failed', 'cancelled')) stored,
  -- sorted, in the form in which orders have them; null until a worker has read the CSR
  identifiers text[],
  -- the registered domain of each
  domains text[],
  identifiers_key bytea,
  -- of the CSR's public key
  spki_sha256 bytea,
  server_id bigint,
  account_id bigint,
  profile text,
  priority int not null default 0,
  order_id bigint,
  certificate_id bigint,
  queued_at timestamptz,
  -- This tenant has had a certificate for its set of names by another csr: a renewal to the server.
  is_renewal boolean not null default false,
  -- of one that waits as limited: the limit
  cooldown_id bigint,
  -- since when it waits for a name that other tenants ask for, too; null: it does not
  contested_since timestamptz,
  renew_at timestamptz,
  renewal_reason text,
  -- acme.csr.version as of the last request that a worker applied
  seen_version bigint not null default 1,
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
  updated_at timestamptz not null default now(),
  constraint csr_accepted_has_names check (state in ('received', 'rejected', 'cancelled') or identifiers is not null),
  constraint csr_issued_has_certificate check (state <> 'issued' or certificate_id is not null),
  constraint csr_ordering_has_order check (state <> 'ordering' or order_id is not null)
) with (
  fillfactor = 70,
  -- Each certificate leaves dead entries in the small indexes that every step reads. The default, a fifth of the table, would
  -- let 200,000 of them gather among a million finished rows.
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);
create unique index csr_state_der_key on acme_private.csr_state (tenant, der_sha256) where is_live;
-- A ref names one live csr of its tenant.
create unique index csr_state_ref_key on acme_private.csr_state (tenant, ref) where is_live and ref is not null;
-- csr_status and current_certificate by ref, also of csrs that ended
create index csr_state_ref_idx on acme_private.csr_state (tenant, ref) where ref is not null;
-- Received csrs are read in turns of their tenants.
create index csr_state_received_idx on acme_private.csr_state (tenant, csr_id) where state = 'received';
create index csr_state_suspect_idx on acme_private.csr_state (csr_id) where state = 'received' and claims > 0;
-- The queue, in the order in which the dispatcher walks it: round-robin over tenants.
create index csr_state_queue_idx
  on acme_private.csr_state (server_id, account_id, tenant, priority desc, queued_at, csr_id)
  where state in ('queued', 'renewing') and order_id is null;
-- the renewals of the queue, for an account that gets no orders for new sets of names
create index csr_state_renewal_queue_idx
  on acme_private.csr_state (server_id, account_id, tenant, priority desc, queued_at, csr_id)
  where order_id is null and (state = 'renewing' or state = 'queued' and is_renewal);
-- those that wait for a limit
create index csr_state_cooldown_idx on acme_private.csr_state (cooldown_id)
  where cooldown_id is not null and state = 'retrying' and reason_code = 'limited';
-- those that wait for a name: the longest first
create index csr_state_contested_idx on acme_private.csr_state (contested_since, tenant)
  where contested_since is not null and state in ('queued', 'renewing', 'retrying');
-- those that a person has to act on
create index csr_state_attention_idx on acme_private.csr_state (csr_id, tenant)
  where state in ('rejected', 'needs_person', 'needs_new_csr', 'failed');
create index csr_state_retry_idx on acme_private.csr_state (next_attempt_at, tenant) where state = 'retrying';
create index csr_state_renew_idx on acme_private.csr_state (renew_at, tenant) where state = 'issued';

-- Requests of applications that no worker has applied yet, in case their wake-up is lost.
create table acme_private.request (
  id bigint generated always as identity
    constraint request_pkey primary key,
  csr_id bigint not null,
  created_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create index request_csr_idx on acme_private.request (csr_id);

-- Chains of other clients' certificates that a worker has not read yet, or found not to be the csr's. No foreign key, as
-- for csr_state.
create table acme_private.adoption (
  csr_id bigint
    constraint adoption_pkey primary key,
  chain_pem text not null,
  created_at timestamptz not null default now()
);
