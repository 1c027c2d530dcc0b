-- The tables of pgacme. Applications see the schema acme; acme_private is the workers' own.
--
-- Two rules shape them (docs/design.md):
--   * Applications write acme.csr; workers write acme_private.csr_state. Never the same row.
--   * What changes often (state, times, lease) is apart from what is long (PEM text).
--
-- The columns of work, the same in every table that a step works on:
--   next_attempt_at  not before this time; null: as soon as something wakes it
--   attempts         tries in a row that met trouble
--   reason_code, reason, last_problem   why it waits or ended
--   lease_token, lease_until, lease_worker, claims   a worker's hold; claims since the last commit

create schema acme;
create schema acme_private;

-- Which of these files ran. The files of sql/api/ are one entry, made anew when their hash changes.
create table acme_private.migration (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default now()
);

-- One row: what this database was when it was set up.
create table acme_private.installation (
  is_only boolean primary key default true check (is_only),
  system_identifier text not null,
  database_name text not null,
  environment text,
  worker_schema text not null,
  created_at timestamptz not null default now()
);

-- What may follow what. A trigger refuses everything else, also to a DBA.
create table acme_private.transition (
  kind text not null,
  from_state text not null,
  to_state text not null,
  primary key (kind, from_state, to_state)
);

-- The map: which step serves a row of this kind in this state. The triggers, the dispatcher and
-- reconcile all read it. A step is a task of the queue.
create table acme_private.step (
  kind text not null,
  state text not null,
  step text not null,
  primary key (kind, state)
);

-- Locks between workers. Rows, since advisory locks can be taken by everyone.
create table acme_private.lock (
  name text primary key
);
insert into acme_private.lock (name) values ('dispatch'), ('reconcile');

create table acme_private.worker (
  id bigint generated always as identity primary key,
  host text not null,
  pid int not null,
  version text not null,
  concurrency int not null,
  started_at timestamptz not null default now(),
  heartbeat_at timestamptz not null default now(),
  stopped_at timestamptz
);

create table acme.server (
  id bigint generated always as identity primary key,
  name text not null
    constraint server_name_key unique
    constraint server_name_is_plain check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  directory_url text not null
    constraint server_directory_url_is_https check (directory_url ~ '^https://[^/?#@[:space:]]+([/?][^#[:space:]]*)?$'),
  ca_bundle text
    constraint server_ca_bundle_is_pem check (ca_bundle ~ '-----BEGIN CERTIFICATE-----' and ca_bundle !~ 'PRIVATE KEY'),
  allowed_hosts text[] not null default '{}',
  key_types text[] not null default '{RSA-2048,RSA-3072,RSA-4096,P-256,P-384}',
  max_names int not null default 100
    constraint server_max_names_is_positive check (max_names > 0),
  max_orders_in_flight int not null default 50
    constraint server_max_orders_in_flight_is_positive check (max_orders_in_flight > 0),
  paused_at timestamptz,
  pause_reason text,
  version bigint not null default 1,
  created_at timestamptz not null default now()
);

create table acme.account (
  id bigint generated always as identity primary key,
  name text not null
    constraint account_name_key unique
    constraint account_name_is_plain check (name ~ '^[a-z0-9][a-z0-9._-]{0,252}$'),
  server text not null references acme.server (name) on update cascade on delete restrict,
  contact text[] not null default '{}',
  terms_agreed boolean not null default false,
  key_algorithm text not null default 'ES256'
    constraint account_key_algorithm_is_known check (key_algorithm in ('ES256', 'ES384', 'RS256')),
  is_default boolean,
  paused_at timestamptz,
  pause_reason text,
  version bigint not null default 1,
  created_at timestamptz not null default now()
);
create unique index account_is_default_key on acme.account (is_default) where is_default;
create index account_server_idx on acme.account (server);

create table acme_private.account_state (
  account_id bigint primary key references acme.account (id) on delete cascade,
  server_id bigint not null references acme.server (id) on delete restrict,
  state text not null default 'new'
    constraint account_state_is_known check (state in ('new', 'registering', 'valid', 'deactivated', 'revoked')),
  url text,
  terms_url text,
  version bigint not null default 1,
  -- acme.account.version as of the last claim
  seen_version bigint not null default 1,
  registered_at timestamptz,
  next_attempt_at timestamptz,
  attempts int not null default 0,
  reason_code text,
  reason text,
  last_problem jsonb,
  lease_token uuid,
  lease_until timestamptz,
  lease_worker bigint,
  claims int not null default 0,
  updated_at timestamptz not null default now(),
  constraint account_valid_has_url check (state <> 'valid' or url is not null)
) with (fillfactor = 70);
create index account_state_server_idx on acme_private.account_state (server_id);

-- Sealed keys: nobody is granted anything here.
create table acme_private.account_key (
  account_id bigint primary key references acme.account (id) on delete cascade,
  jwe text not null,
  thumbprint text not null constraint account_key_thumbprint_key unique,
  spki_sha256 bytea not null constraint account_key_spki_key unique,
  created_at timestamptz not null default now()
);

create table acme.solver (
  id bigint generated always as identity primary key,
  name text not null
    constraint solver_name_key unique
    constraint solver_name_is_plain check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  challenge_type text not null default 'http-01'
    constraint solver_challenge_type_is_known check (challenge_type in ('http-01')),
  method text not null default 'responder'
    constraint solver_method_is_known check (method in ('responder', 'manual')),
  names text[] not null default '{*}',
  created_at timestamptz not null default now()
);

create table acme.csr (
  id bigint generated always as identity primary key,
  tenant text not null default coalesce(nullif(current_setting('acme.tenant', true), ''), current_user),
  ref text
    constraint csr_ref_is_short check (length(ref) between 1 and 500),
  pem text not null,
  account text references acme.account (name) on update cascade on delete restrict,
  profile text
    constraint csr_profile_is_short check (length(profile) between 1 and 100),
  solver text references acme.solver (name) on update cascade on delete restrict,
  renewal text not null default 'reuse'
    constraint csr_renewal_is_known check (renewal in ('reuse', 'off')),
  priority int not null default 0,
  labels jsonb not null default '{}'
    constraint csr_labels_is_object check (jsonb_typeof(labels) = 'object'),
  version bigint not null default 1,
  retry_request bigint,
  renew_request bigint,
  renew_reason text,
  cancel_request bigint,
  inserted_xid xid8 not null default pg_current_xact_id(),
  touched_xid xid8,
  created_at timestamptz not null default now()
);
create index csr_account_idx on acme.csr (account) where account is not null;

create table acme_private.csr_state (
  csr_id bigint primary key references acme.csr (id) on delete cascade,
  tenant text not null,
  ref text,
  der_sha256 bytea not null,
  state text not null default 'received'
    constraint csr_state_is_known check (state in ('received', 'rejected', 'queued', 'ordering', 'issued',
      'renewing', 'retrying', 'needs_person', 'failed', 'cancelled')),
  is_live boolean not null generated always as (state not in ('rejected', 'failed', 'cancelled')) stored,
  identifiers text[],
  identifiers_key bytea,
  spki_sha256 bytea,
  server_id bigint references acme.server (id) on delete restrict,
  account_id bigint references acme.account (id) on delete restrict,
  profile text,
  priority int not null default 0,
  order_id bigint,
  certificate_id bigint,
  queued_at timestamptz,
  renew_at timestamptz,
  renewal_reason text,
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
) with (fillfactor = 70);
-- The same CSR twice is one csr; a ref names one live csr of its tenant.
create unique index csr_state_der_key on acme_private.csr_state (tenant, der_sha256) where is_live;
create unique index csr_state_ref_key on acme_private.csr_state (tenant, ref) where is_live and ref is not null;
create index csr_state_received_idx on acme_private.csr_state (csr_id) where state = 'received';
create index csr_state_suspect_idx on acme_private.csr_state (csr_id) where state = 'received' and claims > 0;
-- The queue, in the order in which the dispatcher walks it: round-robin over tenants.
create index csr_state_queue_idx
  on acme_private.csr_state (server_id, account_id, tenant, priority desc, queued_at, csr_id)
  where state in ('queued', 'renewing') and order_id is null;
create index csr_state_retry_idx on acme_private.csr_state (next_attempt_at) where state = 'retrying';
create index csr_state_renew_idx on acme_private.csr_state (renew_at) where state = 'issued';
create index csr_state_account_idx on acme_private.csr_state (account_id) where account_id is not null;

-- Requests of applications that no worker has heeded yet, should their wake-up get lost.
create table acme_private.request (
  id bigint generated always as identity primary key,
  csr_id bigint not null,
  created_at timestamptz not null default now()
);
create index request_csr_idx on acme_private.request (csr_id);

create table acme_private."order" (
  id bigint generated always as identity primary key,
  -- Not acme.csr: an application that locks its own row there must not hold up a worker.
  csr_id bigint not null references acme_private.csr_state (csr_id) on delete cascade,
  tenant text not null,
  server_id bigint not null references acme.server (id) on delete restrict,
  account_id bigint not null references acme.account (id) on delete restrict,
  state text not null default 'creating'
    constraint order_state_is_known check (state in ('creating', 'authorizing', 'ready', 'finalizing',
      'downloading', 'issued', 'failed', 'cancelled')),
  is_live boolean not null generated always as (state not in ('issued', 'failed', 'cancelled')) stored,
  -- waits for a person to publish something: holds no place among the orders in flight
  is_parked boolean not null default false,
  identifiers text[] not null,
  identifiers_key bytea not null,
  profile text,
  url text,
  finalize_url text,
  certificate_url text,
  expires_at timestamptz,
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
  finished_at timestamptz,
  constraint order_finished_has_time check (is_live = (finished_at is null)),
  constraint order_made_has_url check (state in ('creating', 'failed', 'cancelled') or url is not null)
) with (fillfactor = 60);
create unique index order_live_csr_key on acme_private."order" (csr_id) where is_live;
-- Servers hand out one order for the same names again; two csrs must not finalize the same one.
create unique index order_live_names_key
  on acme_private."order" (account_id, identifiers_key, coalesce(profile, '')) where is_live;
create index order_live_server_idx on acme_private."order" (server_id) where is_live;
create index order_csr_idx on acme_private."order" (csr_id);

create table acme_private.authorization (
  id bigint generated always as identity primary key,
  account_id bigint not null references acme.account (id) on delete restrict,
  url text not null,
  tenant text not null,
  state text not null default 'pending'
    constraint authorization_state_is_known check (state in ('pending', 'valid', 'invalid', 'deactivated', 'expired', 'revoked')),
  identifier text,
  is_wildcard boolean not null default false,
  expires_at timestamptz,
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
  constraint authorization_url_key unique (account_id, url)
) with (fillfactor = 60);
create index authorization_pending_idx on acme_private.authorization (id) where state = 'pending';

create table acme_private.order_authorization (
  order_id bigint not null references acme_private."order" (id) on delete cascade,
  authorization_id bigint not null references acme_private.authorization (id) on delete cascade,
  primary key (order_id, authorization_id)
);
create index order_authorization_authorization_idx on acme_private.order_authorization (authorization_id);

create table acme_private.challenge (
  id bigint generated always as identity primary key,
  authorization_id bigint not null references acme_private.authorization (id) on delete cascade,
  tenant text not null,
  url text not null,
  type text not null,
  token text not null,
  key_authorization text not null,
  state text not null default 'pending'
    constraint challenge_state_is_known check (state in ('pending', 'processing', 'valid', 'invalid')),
  error jsonb,
  created_at timestamptz not null default now(),
  constraint challenge_url_key unique (authorization_id, url)
) with (fillfactor = 70);

-- Outlives its csr: what was published must be removed, whatever becomes of the rest.
create table acme_private.record (
  id bigint generated always as identity primary key,
  challenge_id bigint references acme_private.challenge (id) on delete set null,
  tenant text not null,
  solver text not null,
  method text not null,
  type text not null,
  identifier text not null,
  token text not null,
  value text not null,
  state text not null default 'intended'
    constraint record_state_is_known check (state in ('intended', 'publishing', 'published', 'removing', 'removed')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
) with (fillfactor = 70);
create index record_token_idx on acme_private.record (token) where state in ('published', 'removing');
create index record_challenge_idx on acme_private.record (challenge_id);
create index record_open_idx on acme_private.record (challenge_id) where state in ('intended', 'published');
create index record_todo_idx on acme_private.record (id) where method = 'manual' and state in ('intended', 'removing');

create table acme_private.certificate (
  id bigint generated always as identity primary key,
  csr_id bigint not null references acme_private.csr_state (csr_id) on delete cascade,
  tenant text not null,
  order_id bigint not null,
  state text not null default 'current'
    constraint certificate_state_is_known check (state in ('current', 'superseded')),
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
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);
create index certificate_csr_idx on acme_private.certificate (csr_id);

-- One row a name of each current certificate: the look-up of certificate_for(). A table, since
-- row-level security lets only leakproof comparisons use an index, and array operators are not.
create table acme_private.certificate_name (
  name text not null,
  certificate_id bigint not null references acme_private.certificate (id) on delete cascade,
  tenant text not null,
  primary key (name, certificate_id)
);
create index certificate_name_certificate_idx on acme_private.certificate_name (certificate_id);

-- Which tenant an identifier belongs to. name is without "*.": a wildcard belongs to whom its base does.
create table acme_private.identifier_claim (
  name text primary key,
  registered_domain text not null,
  tenant text not null,
  created_at timestamptz not null default now()
);
create index identifier_claim_domain_idx on acme_private.identifier_claim (registered_domain);

-- Failed validations per (account, identifier): the ladder of new tries, and the bucket that
-- retry() may not empty further (5 an hour, one timestamp: GCRA).
create table acme_private.identifier_failure (
  account_id bigint not null references acme.account (id) on delete cascade,
  identifier text not null,
  failures int not null,
  full_at timestamptz not null,
  primary key (account_id, identifier)
);

-- A server, or one account of it, that takes no new orders until a time (429, 503 with Retry-After).
create table acme_private.closure (
  server_id bigint not null references acme.server (id) on delete cascade,
  account_id bigint references acme.account (id) on delete cascade,
  until timestamptz not null,
  reason text not null,
  problem jsonb,
  constraint closure_scope_key unique nulls not distinct (server_id, account_id)
);

-- The audit trail. No foreign keys: it outlives what it speaks of.
create table acme_private.event (
  id bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp(),
  tenant text,
  event text not null,
  csr_id bigint,
  order_id bigint,
  account_id bigint,
  certificate_id bigint,
  worker_id bigint,
  detail jsonb
);
create index event_csr_idx on acme_private.event (csr_id, id) where csr_id is not null;
create index event_account_idx on acme_private.event (account_id, id) where csr_id is null;

insert into acme_private.transition (kind, from_state, to_state) values
  ('csr', 'received', 'rejected'), ('csr', 'received', 'queued'), ('csr', 'received', 'cancelled'),
  ('csr', 'rejected', 'received'),
  ('csr', 'queued', 'ordering'), ('csr', 'queued', 'retrying'), ('csr', 'queued', 'needs_person'),
  ('csr', 'queued', 'cancelled'),
  ('csr', 'ordering', 'issued'), ('csr', 'ordering', 'queued'), ('csr', 'ordering', 'retrying'),
  ('csr', 'ordering', 'needs_person'), ('csr', 'ordering', 'failed'), ('csr', 'ordering', 'cancelled'),
  ('csr', 'issued', 'renewing'), ('csr', 'issued', 'cancelled'),
  ('csr', 'renewing', 'issued'), ('csr', 'renewing', 'retrying'), ('csr', 'renewing', 'needs_person'),
  ('csr', 'renewing', 'failed'), ('csr', 'renewing', 'cancelled'),
  ('csr', 'retrying', 'queued'), ('csr', 'retrying', 'renewing'), ('csr', 'retrying', 'cancelled'),
  ('csr', 'needs_person', 'queued'), ('csr', 'needs_person', 'renewing'), ('csr', 'needs_person', 'cancelled'),
  ('csr', 'failed', 'queued'), ('csr', 'failed', 'renewing'), ('csr', 'failed', 'cancelled'),
  ('order', 'creating', 'authorizing'), ('order', 'creating', 'ready'), ('order', 'creating', 'finalizing'),
  ('order', 'creating', 'downloading'), ('order', 'creating', 'failed'), ('order', 'creating', 'cancelled'),
  ('order', 'authorizing', 'ready'), ('order', 'authorizing', 'failed'), ('order', 'authorizing', 'cancelled'),
  ('order', 'ready', 'finalizing'), ('order', 'ready', 'downloading'), ('order', 'ready', 'failed'),
  ('order', 'ready', 'cancelled'),
  ('order', 'finalizing', 'downloading'), ('order', 'finalizing', 'failed'),
  ('order', 'downloading', 'issued'), ('order', 'downloading', 'failed'),
  ('authorization', 'pending', 'valid'), ('authorization', 'pending', 'invalid'),
  ('authorization', 'pending', 'deactivated'), ('authorization', 'pending', 'expired'),
  ('authorization', 'pending', 'revoked'), ('authorization', 'valid', 'pending'),
  ('authorization', 'valid', 'deactivated'), ('authorization', 'valid', 'expired'),
  ('authorization', 'valid', 'revoked'),
  ('authorization', 'invalid', 'pending'), ('authorization', 'deactivated', 'pending'),
  ('authorization', 'expired', 'pending'), ('authorization', 'revoked', 'pending'),
  ('account', 'new', 'registering'), ('account', 'registering', 'valid'), ('account', 'registering', 'new'),
  ('account', 'valid', 'registering'), ('account', 'valid', 'deactivated'), ('account', 'valid', 'revoked'),
  ('account', 'registering', 'deactivated'), ('account', 'registering', 'revoked'),
  ('record', 'intended', 'published'), ('record', 'intended', 'removed'),
  ('record', 'published', 'removing'), ('record', 'published', 'removed'), ('record', 'removing', 'removed'),
  ('challenge', 'pending', 'processing'), ('challenge', 'pending', 'valid'), ('challenge', 'pending', 'invalid'),
  ('challenge', 'processing', 'valid'), ('challenge', 'processing', 'invalid'), ('challenge', 'invalid', 'pending'),
  ('certificate', 'current', 'superseded');

insert into acme_private.step (kind, state, step) values
  ('csr', 'received', 'dispatch'),
  ('csr', 'queued', 'dispatch'),
  ('csr', 'renewing', 'dispatch'),
  ('csr', 'retrying', 'attend'),
  ('order', 'creating', 'create'),
  ('order', 'ready', 'finalize'),
  ('order', 'finalizing', 'finalize'),
  ('order', 'downloading', 'download'),
  ('authorization', 'pending', 'prove'),
  ('account', 'new', 'register'),
  ('account', 'registering', 'register');

insert into acme.server (name, directory_url) values
  ('letsencrypt', 'https://acme-v02.api.letsencrypt.org/directory'),
  ('letsencrypt-staging', 'https://acme-staging-v02.api.letsencrypt.org/directory');

insert into acme.solver (name, challenge_type, method, names) values
  ('http-01', 'http-01', 'responder', '{*}');
