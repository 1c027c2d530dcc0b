-- Failed validations, and servers or accounts that take no new orders for a time.

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

-- A server (account_id is null), or one account of it, that takes no new orders until a time (429, 503 with Retry-After).
create table acme_private.closure (
  server_id bigint not null
    constraint closure_server_id_fkey references acme.server (id) on delete cascade,
  account_id bigint
    constraint closure_account_id_fkey references acme.account (id) on delete cascade,
  until timestamptz not null,
  reason text not null,
  problem jsonb,
  constraint closure_scope_key unique nulls not distinct (server_id, account_id)
);
