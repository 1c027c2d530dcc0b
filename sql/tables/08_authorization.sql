-- Authorizations (RFC 8555 §7.1.4), their challenges, and what is published for those.

create table acme_private.authorization (
  id bigint generated always as identity
    constraint authorization_pkey primary key,
  -- No foreign key, as for csr_state.
  account_id bigint not null,
  -- null: the server has not made it yet
  url text,
  tenant text not null,
  state text not null default 'pending'
    constraint authorization_state_is_known check (state in ('new', 'pending', 'valid', 'deactivating', 'invalid',
      'deactivated', 'expired', 'revoked')),
  identifier text,
  is_wildcard boolean not null default false,
  -- acme.preauthorize asked for it (RFC 8555 §7.4.1): it is proved without an order
  is_preauthorization boolean not null default false,
  -- the solver that acme.preauthorize named
  solver text,
  expires_at timestamptz,
  next_attempt_at timestamptz,
  attempts int not null default 0,
  waiting_since timestamptz,
  reason_code text,
  reason text,
  last_problem jsonb,
  lease_token uuid,
  lease_until timestamptz,
  lease_worker bigint,
  claims int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint authorization_made_has_url check (url is not null or is_preauthorization or state in ('deactivated')),
  -- by acme.preauthorize; what a server names is for the worker to check
  constraint authorization_preauthorization_is_short check (not is_preauthorization
    or length(identifier) <= 255 and (solver is null or length(solver) <= 63)),
  constraint authorization_tenant_is_plain check (not is_preauthorization or length(tenant) between 1 and 200
    and tenant !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]'),
  constraint authorization_new_has_name check (state <> 'new' or identifier is not null)
) with (
  fillfactor = 60,
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);
create unique index authorization_url_key on acme_private.authorization (account_id, reverse(url));
create index authorization_open_idx on acme_private.authorization (id, tenant) where state in ('new', 'pending', 'deactivating');
-- those that a name takes along when it changes hands
create index authorization_identifier_idx on acme_private.authorization (account_id, reverse(identifier), tenant)
  where state in ('pending', 'valid', 'deactivating', 'expired');
create index authorization_preauthorization_idx on acme_private.authorization (account_id, tenant) where is_preauthorization;
-- how many a tenant has under way
create index authorization_preauthorization_open_idx on acme_private.authorization (tenant)
  where is_preauthorization and state in ('new', 'pending');

create table acme_private.order_authorization (
  order_id bigint not null
    constraint order_authorization_order_id_fkey references acme_private."order" (id) on delete cascade,
  authorization_id bigint not null
    constraint order_authorization_authorization_id_fkey references acme_private.authorization (id) on delete cascade,
  constraint order_authorization_pkey primary key (order_id, authorization_id)
);
create index order_authorization_authorization_idx on acme_private.order_authorization (authorization_id);

create table acme_private.challenge (
  id bigint generated always as identity
    constraint challenge_pkey primary key,
  authorization_id bigint not null
    constraint challenge_authorization_id_fkey references acme_private.authorization (id) on delete cascade,
  tenant text not null,
  url text not null,
  type text not null,
  token text not null,
  -- stored before the challenge is answered: any worker can go on
  key_authorization text not null,
  state text not null default 'pending'
    constraint challenge_state_is_known check (state in ('pending', 'processing', 'valid', 'invalid')),
  error jsonb,
  created_at timestamptz not null default now()
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create unique index challenge_url_key on acme_private.challenge (authorization_id, reverse(url));

-- What is published for a challenge. It outlives its csr: what was published has to be removed, whatever happens to the rest.
create table acme_private.record (
  id bigint generated always as identity
    constraint record_pkey primary key,
  challenge_id bigint
    constraint record_challenge_id_fkey references acme_private.challenge (id) on delete set null,
  tenant text not null,
  solver text not null,
  method text not null,
  type text not null,
  identifier text not null,
  token text not null,
  value text not null,
  state text not null default 'intended'
    constraint record_state_is_known check (state in ('intended', 'publishing', 'published', 'removing', 'removed')),
  -- Granted to who answers challenges only: no query of a tenant finds a token by index.
  is_published boolean not null generated always as (state in ('published', 'removing')) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create index record_token_idx on acme_private.record (token) where is_published;
create index record_challenge_idx on acme_private.record (challenge_id);
create index record_open_idx on acme_private.record (challenge_id, tenant) where state in ('intended', 'published');
create index record_todo_idx on acme_private.record (id, tenant) where method = 'manual' and state in ('intended', 'removing');

-- Requests to deactivate an authorization (RFC 8555 §7.5.2) that no worker has applied yet; workers take the rows away. No foreign
-- key: it would lock the workers' row for as long as the application's transaction lasts.
create table acme.deactivation_request (
  id bigint generated always as identity
    constraint deactivation_request_pkey primary key,
  -- the authorization's: acme_private.tg_deactivation_request__insert
  tenant text not null,
  authorization_id bigint not null,
  requested_by text not null default session_user,
  created_at timestamptz not null default now()
);
create index deactivation_request_authorization_idx on acme.deactivation_request (authorization_id);
comment on table acme.deactivation_request is
  'Deactivations of authorizations that were asked for and that no worker has seen yet. Inserted into by acme.deactivate_authorization and acme.release_domain; workers take the rows away.';
comment on column acme.deactivation_request.id is 'Given by the database.';
comment on column acme.deactivation_request.tenant is 'The authorization''s.';
comment on column acme.deactivation_request.authorization_id is 'The authorization to give up, by its id in acme.authorization.';
comment on column acme.deactivation_request.requested_by is 'The login that asked.';
comment on column acme.deactivation_request.created_at is 'When it was asked for.';
