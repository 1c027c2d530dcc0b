-- Failed validations, and what servers limit.

-- Failed validations by account and identifier: the retry delay, and the bucket that acme.retry() may not empty (5 an
-- hour; one timestamp: GCRA).
create table acme_private.identifier_failure (
  account_id bigint not null
    constraint identifier_failure_account_id_fkey references acme.account (id) on delete cascade,
  identifier text not null,
  failures int not null,
  full_at timestamptz not null,
  constraint identifier_failure_pkey primary key (account_id, identifier)
);

-- What takes no new orders until a time (429, 503 with Retry-After), as narrow as the server's answer names it.
create table acme_private.closure (
  id bigint generated always as identity
    constraint closure_pkey primary key,
  server_id bigint not null
    constraint closure_server_id_fkey references acme.server (id) on delete cascade,
  -- null: all accounts of the server
  account_id bigint
    constraint closure_account_id_fkey references acme.account (id) on delete cascade,
  -- server, account: all new orders. orders: those of an account for new sets of names. domain: new sets of names with
  -- names of a registered domain. set: one set of names. identifier: one name with an account. csr: one csr.
  -- registrations: new accounts, of all at the server, since it counts them by address.
  scope text not null
    constraint closure_scope_is_known check (
      scope in ('server', 'account', 'orders', 'domain', 'set', 'identifier', 'csr', 'registrations')),
  -- the domain, the identifier, the key of the set in hex, or the id of the csr
  value text,
  -- the server's name of the limit; null: it did not say
  limit_name text,
  -- of one csr: the set of names that was refused
  set_key bytea,
  -- when the server refused first
  since timestamptz not null default now(),
  until timestamptz not null,
  reason text not null,
  problem jsonb,
  constraint closure_scope_has_value check ((value is null) = (scope in ('server', 'account', 'orders', 'registrations'))),
  -- in the order in which admission looks it up
  constraint closure_scope_value_key unique nulls not distinct (server_id, scope, value, account_id)
);
create index closure_until_idx on acme_private.closure (until);
-- a second refusal that names no limit, of other names
create index closure_unknown_idx on acme_private.closure (account_id) where scope = 'csr' and limit_name is null;

-- Limits that acme.resume was to end and that no worker has seen yet; workers take the rows away, and never wait for whoever
-- writes here.
create table acme.resume_request (
  id bigint generated always as identity
    constraint resume_request_pkey primary key,
  scope text not null
    constraint resume_request_scope_is_known check (scope in ('server', 'account', 'domain', 'csr')),
  name text not null
    constraint resume_request_name_is_short check (length(name) between 1 and 255),
  requested_by text not null default current_user,
  created_at timestamptz not null default now(),
  constraint resume_request_csr_is_id check (scope <> 'csr' or name ~ '^[0-9]{1,18}$')
);
comment on table acme.resume_request is
  'Limits that acme.resume was to end and that no worker has seen yet; workers take the rows away.';
comment on column acme.resume_request.id is 'Given by the database.';
comment on column acme.resume_request.scope is 'What is to go on: server, account, domain or csr.';
comment on column acme.resume_request.name is 'Its name; of a csr its id.';
comment on column acme.resume_request.requested_by is 'The login that asked.';
comment on column acme.resume_request.created_at is 'When it was asked for.';

-- Where an administrator lifts the pause of a name. Whoever has the URL can: applications do not see it.
create table acme_private.paused_csr (
  csr_id bigint
    constraint paused_csr_pkey primary key,
  page_url text not null,
  since timestamptz not null default now()
);
