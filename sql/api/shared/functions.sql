-- Small rules that everything else calls: time, names, what a CSR must look like, when to try again.

-- Production reads time here and nowhere else; a test replaces the function to travel.
create or replace function acme_private.clock() returns timestamptz
language sql stable
return pg_catalog.now();
comment on function acme_private.clock() is 'The time, for everything that is scheduled.';

-- p_role: the caller's current_user, which this function, as its owner, does not see. The setting is anybody's to write:
-- it counts for members of acme_multi_tenant alone, and superusers are members of every role. Row-level security calls
-- it once a query and table, the default of acme.csr.tenant once a row: some 5 microseconds each (docs/performance.md).
create or replace function acme_private.tenant_of(p_role name) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('acme.tenant', true) <> '' and pg_has_role(p_role, 'acme_multi_tenant', 'usage') then
    return current_setting('acme.tenant', true);
  end if;
  return coalesce((select t.tenant from acme.tenant_role t where t.role = quote_ident(p_role)::regrole), p_role::text);
end
$$;
comment on function acme_private.tenant_of(name) is
  'The tenant that a role acts for in this session: the setting acme.tenant if it is a member of acme_multi_tenant; else what acme.tenant_role has for it; else its name.';

create or replace function acme.version() returns text
language sql immutable
return '0.3';
comment on function acme.version() is
  'The version of this SQL contract. A worker serves the version that it was built for, and waits while the database has another one.';
