-- ACME accounts: what administrators write, where each stands, and its keys.

create table acme.account (
  id bigint generated always as identity
    constraint account_pkey primary key,
  name text not null
    constraint account_name_key unique
    constraint account_name_is_plain check (name ~ '^[a-z0-9][a-z0-9._-]{0,252}$'),
  server text not null
    constraint account_server_fkey references acme.server (name) on update cascade on delete restrict,
  contact text[] not null default '{}',
  terms_agreed boolean not null default false,
  key_algorithm text not null default 'ES256'
    constraint account_key_algorithm_is_known check (key_algorithm in ('ES256', 'ES384', 'RS256')),
  is_default boolean,
  paused_at timestamptz,
  pause_reason text,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  eab_kid text
    constraint account_eab_kid_is_short check (length(eab_kid) between 1 and 500),
  -- Only on its way in: a trigger moves it to acme_private.account_eab.
  eab_hmac text,
  -- What the server has to be told of the account; the other changes of version are ours.
  details_version bigint not null default 1,
  terms_request bigint,
  verify_request bigint,
  roll_over_request bigint,
  deactivate_request bigint,
  constraint account_name_server_key unique (name, server)
);
create unique index account_is_default_key on acme.account (is_default) where is_default;
create index account_server_idx on acme.account (server);
comment on table acme.account is 'ACME accounts (RFC 8555 §7.1.2). A new row registers itself. Written by acme_admin.';
comment on column acme.account.id is 'Given by the database.';
comment on column acme.account.name is 'How csrs and functions call it; it cannot change, since its key is sealed for it.';
comment on column acme.account.server is 'The server where it is registered, by name.';
comment on column acme.account.contact is 'Contact URLs, for example {mailto:ops@example.org}.';
comment on column acme.account.terms_agreed is 'True once a person agreed to the server''s terms of service.';
comment on column acme.account.key_algorithm is 'The kind of account key that a worker makes (RFC 7518 §3.1).';
comment on column acme.account.is_default is 'Serves the csrs that name no account, or is the model of those that do (server.account_policy); the first account gets it.';
comment on column acme.account.paused_at is 'Since when it gets no new orders; null: it is open. Set by acme.pause.';
comment on column acme.account.pause_reason is 'Why it is paused: shown to all who wait.';
comment on column acme.account.version is 'Counts the changes of this row that workers act on.';
comment on column acme.account.created_at is 'When it was inserted.';
comment on column acme.account.eab_kid is 'The key identifier of an external account binding, from the CA (RFC 8555 §7.3.4).';
comment on column acme.account.eab_hmac is
  'The key of the external account binding, sealed by pgacme seal. Only on its way in: it is kept elsewhere, and null when read.';
comment on column acme.account.details_version is 'The version at which contact, terms or binding changed last.';
comment on column acme.account.terms_request is 'The version at which somebody agreed to the terms of service last, by acme.agree_terms or terms_agreed.';
comment on column acme.account.verify_request is 'The version at which acme.verify_account was called last.';
comment on column acme.account.roll_over_request is 'The version at which acme.roll_over_key was called last.';
comment on column acme.account.deactivate_request is 'The version at which acme.deactivate_account was called; it cannot be taken back.';

create table acme.account_domain (
  server text not null,
  domain text not null
    constraint account_domain_domain_is_plain check (domain ~ '^[a-z0-9][a-z0-9.-]{0,252}$'),
  account text not null,
  created_at timestamptz not null default now(),
  constraint account_domain_pkey primary key (server, domain),
  -- an account of that very server
  constraint account_domain_account_fkey foreign key (account, server)
    references acme.account (name, server) on update cascade on delete cascade
);
create index account_domain_account_idx on acme.account_domain (account, server);
comment on table acme.account_domain is
  'Which account serves which registered domain of a server whose account_policy is per_registered_domain. Filled when such a csr is accepted; acme_admin may write it as well.';
comment on column acme.account_domain.server is 'The server, by name.';
comment on column acme.account_domain.domain is 'The registered domain, such as example.org or example.co.uk.';
comment on column acme.account_domain.account is 'The account that new csrs of this domain get, if they name none.';
comment on column acme.account_domain.created_at is 'When it was inserted.';

create table acme_private.account_state (
  account_id bigint
    constraint account_state_pkey primary key
    constraint account_state_account_id_fkey references acme.account (id) on delete cascade,
  server_id bigint not null
    constraint account_state_server_id_fkey references acme.server (id) on delete restrict,
  state text not null default 'new'
    constraint account_state_is_known check (state in ('new', 'registering', 'valid', 'rolling_over', 'deactivating',
      'deactivated', 'revoked')),
  url text,
  terms_url text,
  -- The terms of service that a person agreed to (RFC 8555 §7.3.3): nobody agrees to others on that person's behalf.
  agreed_terms_url text,
  -- RFC 7638, of the current key: its name in logs and events
  thumbprint text,
  -- it came by an import: certificates that another client ordered may be its own
  is_imported boolean not null default false,
  registered_at timestamptz,
  -- when the server last knew the key and gave this URL for it
  verified_at timestamptz,
  -- Counts the changes of the key and the account's URL: a worker that spoke for an earlier version is told so.
  version bigint not null default 1,
  -- acme.account.version as of the last claim, of what the server was told, and of the last key roll-over
  seen_version bigint not null default 1,
  told_version bigint not null default 1,
  rolled_version bigint not null default 1,
  -- since when its key is being rolled over, or it is being deactivated
  since timestamptz,
  -- Since when its list of orders has to be read, after a restore; it gets no new orders before. null: nothing to read.
  reread_since timestamptz,
  -- Since when the server is asked whether the account is still valid there; it gets no new orders meanwhile.
  doubted_at timestamptz,
  -- how many orders the list had (null: not read yet), and how many certificates were found by it
  reread_listed int,
  reread_found int not null default 0,
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
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 100);
create index account_state_server_idx on acme_private.account_state (server_id);
-- Thousands of accounts may wait to be registered: the dispatcher goes to the next one that may order.
create index account_state_valid_idx on acme_private.account_state (server_id, account_id) where state = 'valid';
-- accounts that may need a person: few of many
create index account_state_attention_idx on acme_private.account_state (account_id)
  where state <> 'valid' or reason_code is not null;

-- Tenants that had a csr of a registered domain with an account. An account that is in here, or in account_domain, is shown
-- to these alone: its name tells whose domain it is of.
create table acme_private.account_tenant (
  account_id bigint not null
    constraint account_tenant_account_id_fkey references acme.account (id) on delete cascade,
  tenant text not null,
  constraint account_tenant_pkey primary key (account_id, tenant)
);

-- Sealed account keys: one current key for each account and, during a roll-over, the pending one. Of a retired key only
-- its hashes stay, since a key is never used for an account again (RFC 8555 §11.1). A pending key that the server was
-- sent and did not take stays sealed. Nobody is granted anything here.
create table acme_private.account_key (
  id bigint generated always as identity
    constraint account_key_pkey primary key,
  account_id bigint not null
    constraint account_key_account_id_fkey references acme.account (id) on delete cascade,
  state text not null default 'current'
    constraint account_key_state_is_known check (state in ('current', 'pending', 'retired')),
  jwe text,
  thumbprint text not null
    constraint account_key_thumbprint_key unique,
  spki_sha256 bytea not null
    constraint account_key_spki_key unique,
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  -- of a pending key: how far standbys must have replayed the log before it is sent, and since when the server may know it
  position pg_lsn,
  sent_at timestamptz,
  constraint account_key_in_use_is_kept check (state = 'retired' or jwe is not null)
);
create unique index account_key_current_key on acme_private.account_key (account_id) where state = 'current';
create unique index account_key_pending_key on acme_private.account_key (account_id) where state = 'pending';
create index account_key_account_idx on acme_private.account_key (account_id);

-- The HMAC key of an external account binding, sealed. Nobody is granted anything here.
create table acme_private.account_eab (
  account_id bigint
    constraint account_eab_pkey primary key
    -- deferred: the trigger that stores it runs before its account is inserted
    constraint account_eab_account_id_fkey references acme.account (id) on delete cascade deferrable initially deferred,
  jwe text not null
);

-- Orders from an account's list (RFC 8555 §7.1.2.1) that this database does not know and no worker has looked at yet.
create table acme_private.listed_order (
  account_id bigint not null
    constraint listed_order_account_id_fkey references acme.account (id) on delete cascade,
  url text not null,
  constraint listed_order_pkey primary key (account_id, url)
);
