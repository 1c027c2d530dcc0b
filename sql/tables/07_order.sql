-- Orders (RFC 8555 §7.1.3).

create table acme_private."order" (
  id bigint generated always as identity
    constraint order_pkey primary key,
  -- Not acme.csr: an application that locks its own row there must not delay a worker.
  csr_id bigint not null
    constraint order_csr_id_fkey references acme_private.csr_state (csr_id) on delete cascade,
  tenant text not null,
  -- No foreign keys, as for csr_state.
  server_id bigint not null,
  account_id bigint not null,
  state text not null default 'creating'
    constraint order_state_is_known check (state in ('creating', 'authorizing', 'ready', 'finalizing',
      'downloading', 'issued', 'failed', 'cancelled')),
  is_live boolean not null generated always as (state not in ('issued', 'failed', 'cancelled')) stored,
  -- it waits for a person to publish something, and takes no slot of its server
  is_parked boolean not null default false,
  -- Why nobody wants it any more, besides acme.cancel(): it is ended before it is finalized. name_in_use: another tenant waits for
  -- one of its names, or was given it.
  unwanted_for text
    constraint order_unwanted_for_is_known check (unwanted_for in ('key_blocked', 'account_replaced', 'revoking', 'name_in_use')),
  is_unwanted boolean not null generated always as (unwanted_for is not null) stored,
  identifiers text[] not null,
  identifiers_key bytea not null,
  profile text,
  url text,
  finalize_url text,
  certificate_url text,
  expires_at timestamptz,
  -- since when the server has it: one of its replicas may not know a URL that is minutes old
  made_at timestamptz,
  -- Its csr was cancelled when the server had the CSR: it is polled until then, and a certificate that comes is stored as
  -- unwanted. It is not live: it takes no slot and no names, and is not its csr's order any more.
  watched_until timestamptz,
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
  finished_at timestamptz,
  constraint order_finished_has_time check (is_live = (finished_at is null)),
  constraint order_watched_is_cancelled check (watched_until is null or state = 'cancelled'),
  constraint order_made_has_url check (state in ('creating', 'failed', 'cancelled') or url is not null)
) with (
  fillfactor = 60,
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);
-- is_live is granted to nobody: no query of a tenant can use these.
create unique index order_live_csr_key on acme_private."order" (csr_id) where is_live;
-- A server gives the same order again for the same names; two csrs must not finalize one order.
create unique index order_live_names_key
  on acme_private."order" (account_id, identifiers_key, coalesce(profile, '')) where is_live;
create index order_live_server_idx on acme_private."order" (server_id) where is_live;
-- what a key roll-over or a deactivation waits for
create index order_live_account_idx on acme_private."order" (account_id) where is_live;
create index order_csr_idx on acme_private."order" (csr_id);
create index order_watched_idx on acme_private."order" (id) where watched_until is not null;
