-- Tenants, and which of them has a name.

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
  -- pgacme's own roles are everybody's, after set role: they are no tenant.
  return coalesce((select t.tenant from acme.tenant_role t where t.role = quote_ident(p_role)::regrole),
                  case when p_role not in ('acme_owner', 'acme_worker', 'acme_app', 'acme_multi_tenant', 'acme_reader',
                                           'acme_responder', 'acme_admin') then p_role::text end);
end
$$;
comment on function acme_private.tenant_of(name) is
  'The tenant that a role acts for in this session: the setting acme.tenant if it is a member of acme_multi_tenant; else what acme.tenant_role has for it; else its name. null: one of pgacme''s own roles, which is no tenant.';

-- Parsed here and now, and inlined: row-level security depends on it, and nobody's search_path may bend it.
create or replace function acme_private.current_tenant() returns text
language sql stable
return acme_private.tenant_of(current_user);
comment on function acme_private.current_tenant() is
  'The tenant that this session acts for: acme_private.tenant_of(current_user).';

-- Which tenant a session acts for (acme_private.tenant_of), what a tenant may be called, and who writes that down.

create or replace function acme_private.is_plain_tenant(p_tenant text) returns boolean
language sql immutable parallel safe
return length(p_tenant) between 1 and 200
   and p_tenant !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]';
comment on function acme_private.is_plain_tenant(text) is
  'May a tenant be called so? The same as the constraints on acme.csr and acme.tenant_role.';

create or replace function acme.current_tenant() returns text
language sql stable
return acme_private.current_tenant();
comment on function acme.current_tenant() is
  'The tenant that this session acts for: of members of acme_multi_tenant the setting acme.tenant; else what acme.tenant_role has for the current role; else the name of that role.';

alter table acme.csr alter column tenant set default acme_private.current_tenant();

-- A role that is gone leaves a number, which in another cluster, or after billions of oids, may be another role's.
create or replace function acme_private.forget_dropped_roles() returns void
language sql volatile
begin atomic
  delete from acme.tenant_role t where not exists (select from pg_roles r where r.oid = t.role);
end;
comment on function acme_private.forget_dropped_roles() is 'Deletes the rows of acme.tenant_role whose role was dropped.';
