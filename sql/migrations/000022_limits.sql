-- What a server limits, as narrow as its answer names it; accounts that may be closed at their server.

alter table acme_private.closure
  drop constraint closure_scope_key,
  add column id bigint generated always as identity,
  -- server, account: all new orders. orders: those of an account for new sets of names. domain: new sets of names with
  -- names of a registered domain. set: one set of names. identifier: one name with an account. csr: one csr.
  add column scope text not null
    constraint closure_scope_is_known check (scope in ('server', 'account', 'orders', 'domain', 'set', 'identifier', 'csr')),
  -- The domain, the identifier, the key of the set in hex, or the id of the csr.
  add column value text,
  -- What the server calls the limit; null: it did not say which one.
  add column limit_name text,
  -- Of one csr: the set of names that was refused.
  add column set_key bytea,
  add column since timestamptz not null default now(),
  add constraint closure_pkey primary key (id),
  add constraint closure_scope_has_value check ((value is null) = (scope in ('server', 'account', 'orders'))),
  -- In the order in which admission looks it up.
  add constraint closure_scope_value_key unique nulls not distinct (server_id, scope, value, account_id);
create index closure_until_idx on acme_private.closure (until);
-- A second refusal that names no limit, of other names.
create index closure_unknown_idx on acme_private.closure (account_id) where scope = 'csr' and limit_name is null;
comment on column acme_private.closure.scope is
  'What waits: server, account, orders (of an account, for new sets of names), domain (new sets of names with it), set (of names), identifier (with an account), csr.';
comment on column acme_private.closure.value is 'The domain, the identifier, the key of the set in hex, or the id of the csr.';
comment on column acme_private.closure.limit_name is 'What the server calls the limit; null: it did not say which one.';
comment on column acme_private.closure.since is 'When the server refused first.';

alter table acme_private.csr_state
  -- This tenant has had a certificate for its set of names by another csr: a renewal to the server.
  add column is_renewal boolean not null default false,
  -- Of one that waits as limited: for which scope.
  add column cooldown_id bigint;
-- Those of a scope that opens.
create index csr_state_cooldown_idx on acme_private.csr_state (cooldown_id)
  where state = 'retrying' and reason_code = 'limited';
-- The renewals of the queue, for an account that gets no orders for new sets of names.
create index csr_state_renewal_queue_idx
  on acme_private.csr_state (server_id, account_id, tenant, priority desc, queued_at, csr_id)
  where order_id is null and (state = 'renewing' or state = 'queued' and is_renewal);

alter table acme_private.account_state
  -- Since when the server is asked whether it is still valid there: it gets no new orders meanwhile.
  add column doubted_at timestamptz;

-- Limits that an administrator has ended and no worker has seen yet. Workers never wait for whoever writes here.
create table acme.resume_request (
  id bigint generated always as identity primary key,
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
  csr_id bigint primary key,
  page_url text not null,
  since timestamptz not null default now()
);
