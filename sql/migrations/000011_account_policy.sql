-- One account for all domains, or one for each registered domain: a policy of each server.

alter table acme.server
  add column account_policy text not null default 'single'
    constraint server_account_policy_is_known check (account_policy in ('single', 'per_registered_domain'));

-- Which account serves which registered domain. The policy fills it, and acme_admin may.
alter table acme.account add constraint account_name_server_key unique (name, server);
create table acme.account_domain (
  server text not null,
  domain text not null
    constraint account_domain_domain_is_plain check (domain ~ '^[a-z0-9][a-z0-9.-]{0,252}$'),
  account text not null,
  created_at timestamptz not null default now(),
  constraint account_domain_pkey primary key (server, domain),
  -- an account of that very server
  constraint account_domain_account_fkey foreign key (account, server) references acme.account (name, server)
    on update cascade on delete cascade
);
create index account_domain_account_idx on acme.account_domain (account, server);

-- There may be thousands of accounts that wait to be registered, each with csrs: the dispatcher goes on to the
-- next one that may order.
create index account_state_valid_idx on acme_private.account_state (server_id, account_id) where state = 'valid';
