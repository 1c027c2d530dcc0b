-- Which accounts a tenant may know of. An account of a registered domain has that in its name: other tenants neither see
-- it nor get another answer for its name than for an unknown one.

-- Whose rows a role sees in what runs as the owner: null: every tenant's; '': no tenant's.
-- (A parameter of type name makes "C" the collation of a function's other parameters and variables, for which our indexes are
-- of no use: hence collate "default" in those that take a role.)
create or replace function acme_private.tenant_seen(p_role name) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return case when not acme_private.is_watcher(p_role) then coalesce(acme_private.tenant_of(p_role), '') end;
end
$$;
comment on function acme_private.tenant_seen(name) is
  'The tenant whose rows a role sees in functions that run as the owner; null: those of all.';

-- From now on this csr's tenant knows the account.
create or replace function acme_private.show_account(p_account bigint, p_csr bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into acme_private.account_tenant (account_id, tenant)
  select p_account, s.tenant from acme_private.csr_state s where s.csr_id = p_csr
  on conflict do nothing;
end
$$;
comment on function acme_private.show_account(bigint, bigint) is 'Lets the tenant of a csr know an account.';

-- p_tenant: as of acme_private.tenant_seen.
create or replace function acme_private.is_account_usable(a acme.account, p_tenant text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return a.is_default is true
      or p_tenant is null
      or exists (select from acme_private.account_tenant t where t.account_id = a.id and t.tenant = p_tenant)
      or exists (select from acme.csr c where c.tenant = p_tenant and c.account = a.name)
      or not exists (select from acme.account_domain d where d.account = a.name and d.server = a.server)
         and not exists (select from acme_private.account_tenant t where t.account_id = a.id);
end
$$;
comment on function acme_private.is_account_usable(acme.account, text) is
  'May this tenant know the account: is it shared, or used by a csr of the tenant?';

create or replace function acme_private.usable_accounts(p_role name)
returns table (name text, server text, is_default boolean, paused_at timestamptz, pause_reason text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_tenant text collate "default" := acme_private.tenant_seen(p_role);
begin
  return query
  select a.name, a.server, a.is_default is true, a.paused_at, a.pause_reason
    from acme.account a
   where acme_private.is_account_usable(a, v_tenant)
   order by a.id;
end
$$;
comment on function acme_private.usable_accounts(name) is 'The accounts that a role may know.';

-- The account that is meant: null as name is the default one. null: there is none, as far as this role may know.
create or replace function acme_private.usable_account(p_account text, p_role name) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_tenant text collate "default" := acme_private.tenant_seen(p_role);
begin
  return (
    select jsonb_build_object('id', a.id, 'name', a.name, 'server', a.server, 'state', s.state, 'account_policy', v.account_policy)
      from acme.account a
      join acme_private.account_state s on s.account_id = a.id
      join acme.server v on v.name = a.server
     where case when p_account is null then a.is_default else a.name = p_account collate "default" end
       and acme_private.is_account_usable(a, v_tenant));
end
$$;
comment on function acme_private.usable_account(text, name) is 'An account by name, if a role may know it.';

-- What acme.csr_status and others show of the account of a csr that their reader sees.
create or replace function acme_private.account_shown(
  p_account bigint, out name text, out is_paused boolean, out pause_reason text, out is_ready boolean, out state text,
  out next_attempt_at timestamptz, out reason_code text, out reason text, out url text
)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  select a.name, a.paused_at is not null, a.pause_reason, s.state = 'valid' and s.reread_since is null and s.doubted_at is null,
         s.state, s.next_attempt_at, s.reason_code, s.reason, s.url
    into name, is_paused, pause_reason, is_ready, state, next_attempt_at, reason_code, reason, url
    from acme.account a
    join acme_private.account_state s on s.account_id = a.id
   where a.id = p_account;
end
$$;
comment on function acme_private.account_shown(bigint) is 'What is shown of an account to who sees a csr that uses it.';

-- For each row of acme.csr_status that is shown: less to do than above.
create or replace function acme_private.account_name(p_account bigint) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return (select a.name from acme.account a where a.id = p_account);
end
$$;
comment on function acme_private.account_name(bigint) is 'The name of an account, for who sees a csr that uses it.';

create or replace function acme_private.has_default_account() returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select from acme.account a where a.is_default);
end
$$;
comment on function acme_private.has_default_account() is 'Is there an account for csrs that name none?';
