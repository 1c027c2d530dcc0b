-- Tenants, and which of them has a name.

create or replace function acme_private.current_tenant() returns text
language sql stable
-- Parsed here and now: row-level security depends on it, and nobody's search_path may bend it.
return coalesce(nullif(pg_catalog.current_setting('acme.tenant', true), ''), current_user::text);
comment on function acme_private.current_tenant() is
  'On whose behalf this session acts: the setting acme.tenant, else the role.';

-- Does a name, or one that overlaps with it, belong to another tenant? p_domain: its registered domain. The caller
-- holds the lock 'dispatch', so that two tenants cannot take overlapping names side by side.
create or replace function acme_private.is_held_by_another(p_name text, p_domain text, p_tenant text) returns boolean
language plpgsql stable
as $$
declare
  v_base text := regexp_replace(p_name, '^\*\.', '');
begin
  -- The name itself and what is above it by key, what is below it as a range of reversed names.
  return exists (
    select from (
      select a.registered_domain, a.tenant
        from acme_private.identifier_claim a
       where a.name = any (array(
         select array_to_string(l.labels[n:], '.')
           from (select string_to_array(v_base, '.') as labels) l
          cross join generate_subscripts(l.labels, 1) n))
      union all
      select b.registered_domain, b.tenant
        from acme_private.identifier_claim b
       where reverse(b.name) collate "C" >= reverse(v_base) || '.'
         and reverse(b.name) collate "C" < reverse(v_base) || '/'
      ) h
     where h.registered_domain = p_domain
       and h.tenant <> p_tenant);
end
$$;

create or replace function acme_private.held_text(p_name text) returns text
language sql immutable
return format('%s belongs to another tenant, or overlaps with a name of theirs. A name can be used by one tenant at a time; acme_admin sees who in acme.identifier_claim.', p_name);
