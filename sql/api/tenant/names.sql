-- Who owns which name. A tenant owns a name, with what is above it (up to the registered domain) and below it, from its first
-- valid authorization on, or by the word of an administrator. Until then the name blocks nobody.

create or replace function acme_private.base_name(p_identifier text) returns text
language sql immutable parallel safe
return regexp_replace(p_identifier, '^\*\.', '');
comment on function acme_private.base_name(text) is 'The name itself, or the base of a wildcard.';

create or replace function acme_private.base_names(p_identifiers text[]) returns text[]
language sql immutable parallel safe
return array(select distinct acme_private.base_name(i) from unnest(p_identifiers) i order by 1);
comment on function acme_private.base_names(text[]) is 'The names of these identifiers, wildcards as their base; sorted.';

create or replace function acme_private.name_and_above(p_name text, p_domain text) returns text[]
language sql immutable parallel safe
return (
  select array_agg(array_to_string(l.labels[n:], '.') order by n)
    from (select string_to_array(p_name, '.') as labels) l
   cross join generate_series(1, greatest(1, cardinality(l.labels) - cardinality(string_to_array(p_domain, '.')) + 1)) n);
comment on function acme_private.name_and_above(text, text) is 'A name and those above it, up to its registered domain.';

-- Inlined, so that tenant_name is read by an index: reversed, all that is below a name is one range.
create or replace function acme_private.is_below(p_name text, p_above text) returns boolean
language sql immutable parallel safe
return reverse(p_name) collate "C" >= reverse(p_above) || '.' and reverse(p_name) collate "C" < reverse(p_above) || '/';
comment on function acme_private.is_below(text, text) is 'Is a name below another one? As is_within, for an index.';

create or replace function acme_private.reversed(p_names text[]) returns text[]
language sql immutable parallel safe
return array(select reverse(n) from unnest(p_names) n);
comment on function acme_private.reversed(text[]) is 'Each name with its characters in reverse order, as the indexes of tenant_name have it.';

-- The nearest owner at or above the name decides, so that a name can be given to another tenant than the one above it. p_domain:
-- its registered domain.
create or replace function acme_private.is_owned_by_another(p_name text, p_domain text, p_tenant text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner record;
begin
  select t.tenant, t.name into v_owner
    from acme_private.tenant_name t
   where reverse(t.name) collate "C" = any (acme_private.reversed(acme_private.name_and_above(p_name, p_domain)))
     and t.owner_since is not null
     -- (the same name overlaps whatever the public suffix list said of it then)
     and (t.name = p_name or coalesce(t.registered_domain, p_domain) = p_domain)
   order by length(t.name) desc
   limit 1;
  if found and (v_owner.tenant <> p_tenant or v_owner.name = p_name) then
    return v_owner.tenant <> p_tenant;
  end if;
  return exists (
    select from acme_private.tenant_name t
     where acme_private.is_below(t.name, p_name)
       and t.owner_since is not null and coalesce(t.registered_domain, p_domain) = p_domain and t.tenant <> p_tenant);
end
$$;
comment on function acme_private.is_owned_by_another(text, text, text) is
  'Whether a name, or one above or below it, belongs to another tenant.';

create or replace function acme_private.name_held_text(p_name text, p_tenant text) returns text
language sql immutable
return format('%s belongs to another tenant, or overlaps with a name of theirs. If it is to be this tenant''s, an administrator moves it: select acme.move_name(%L, %L); then retry.',
              p_name, p_name, p_tenant);

-- A csr was accepted, or acme.preauthorize was called: the tenant asks for these names. The caller holds the lock 'dispatch', or
-- makes no order before the commit: of two tenants that ask for overlapping names, the later one sees the row of the other.
create or replace function acme_private.ask_for_names(p_tenant text, p_identifiers text[], p_domains text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  -- (A row that an application has locked, by acme.release_domain, is left as it is.)
  with picked as (
    select t.name
      from acme_private.tenant_name t
     where t.tenant = p_tenant and t.name = any (acme_private.base_names(p_identifiers)) and t.registered_domain is null
       for no key update skip locked
  )
  update acme_private.tenant_name t
     set registered_domain = n.domain
    from picked p
    join unnest(p_identifiers, p_domains) n (name, domain) on acme_private.base_name(n.name) = p.name
   where t.tenant = p_tenant and t.name = p.name;
  insert into acme_private.tenant_name (tenant, name, registered_domain, checked_at)
  select distinct p_tenant, acme_private.base_name(n.name), n.domain, acme_private.clock()
    from unnest(p_identifiers, p_domains) n (name, domain)
   -- (An application may have the row locked, by acme.release_domain, and on conflict would wait for it.)
   where not exists (
     select from acme_private.tenant_name t where t.tenant = p_tenant and t.name = acme_private.base_name(n.name))
  on conflict do nothing;
end
$$;
comment on function acme_private.ask_for_names(text, text[], text[]) is 'Stores that a tenant asks for names.';

-- A tenant proved control of these names, or (p_is_proved false) has a certificate that was adopted. False: one of them became
-- another tenant's meanwhile. Its rows are locked first, so that of two who come at once the second one sees the first. They are
-- waited for two seconds: the tenant itself may have one locked for longer, by acme.release_domain, and the step is repeated then.
create or replace function acme_private.own_names(p_tenant text, p_identifiers text[], p_is_proved boolean) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[] := acme_private.base_names(p_identifiers);
  v_lock_timeout text := current_setting('lock_timeout');
  v_is_new boolean := false;
  r record;
begin
  -- Nearly always it has proved them before.
  if cardinality(v_names) = (
    select count(t.proved_at) from acme_private.tenant_name t where t.tenant = p_tenant and t.name = any (v_names))
  then
    return true;
  end if;
  perform set_config('lock_timeout', '2s', true);
  for r in
    select x.name, x.registered_domain
      from acme_private.tenant_name x
     where x.tenant = p_tenant and x.name = any (v_names)
       and (x.owner_since is null or p_is_proved and x.proved_at is null)
     order by x.name
       for no key update
  loop
    if acme_private.is_owned_by_another(r.name, coalesce(r.registered_domain, r.name), p_tenant) then
      perform set_config('lock_timeout', v_lock_timeout, true);
      return false;
    end if;
    begin
      update acme_private.tenant_name x
         set owner_since = coalesce(x.owner_since, acme_private.clock()), unused_since = null,
             proved_at = case when p_is_proved then acme_private.clock() end
       where x.tenant = p_tenant and x.name = r.name;
    exception when unique_violation then
      -- An administrator gave it to another tenant at this moment.
      perform set_config('lock_timeout', v_lock_timeout, true);
      return false;
    end;
    v_is_new := true;
  end loop;
  perform set_config('lock_timeout', v_lock_timeout, true);
  -- One whose row is gone by now may have become another's.
  if exists (
    select from unnest(v_names) n
     where not exists (select from acme_private.tenant_name x where x.tenant = p_tenant and x.name = n)
       and acme_private.is_owned_by_another(n, coalesce(acme_private.domain_of_name(n), n), p_tenant))
  then
    return false;
  end if;
  if v_is_new then
    -- Others who wait for it are told that it is taken.
    perform acme_private.wake_waiters_for_names(v_names);
  end if;
  return true;
end
$$;
comment on function acme_private.own_names(text, text[], boolean) is 'Makes a tenant the owner of names; false: one is another tenant''s.';

-- Locks the tenant's own rows for these names (base names) until the commit. False: somebody has one locked, or there is none.
create or replace function acme_private.lock_names(p_tenant text, p_names text[]) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_touched int;
begin
  with mine as (
    select t.name
      from acme_private.tenant_name t
     where t.tenant = p_tenant and t.name = any (p_names)
     order by t.name
       for no key update skip locked
  )
  update acme_private.tenant_name t
     set checked_at = acme_private.clock()
    from mine m
   where t.tenant = p_tenant and t.name = m.name;
  get diagnostics v_touched = row_count;
  return v_touched = cardinality(p_names);
end
$$;
comment on function acme_private.lock_names(text, text[]) is
  'Locks the rows of a tenant for names; false: not all of them can be locked now.';

-- The rows of other tenants that ask for these names (base names), for a name above one of them, or for one below.
create or replace function acme_private.names_asked_by_others(p_tenant text, p_names text[], p_domains text[])
  returns setof acme_private.tenant_name
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  for i in 1..cardinality(p_names) loop
    return query
      select t.*
        from acme_private.tenant_name t
       where reverse(t.name) collate "C" = any (acme_private.reversed(acme_private.name_and_above(p_names[i], p_domains[i])))
         and t.owner_since is null and coalesce(t.registered_domain, p_domains[i]) = p_domains[i] and t.tenant <> p_tenant
      union all
      select t.*
        from acme_private.tenant_name t
       where acme_private.is_below(t.name, p_names[i])
         and t.owner_since is null and coalesce(t.registered_domain, p_domains[i]) = p_domains[i] and t.tenant <> p_tenant;
  end loop;
end
$$;
comment on function acme_private.names_asked_by_others(text, text[], text[]) is
  'What other tenants ask for, and do not own, that overlaps with these names.';

-- Locks those rows. A transaction that begins an order for one of them has it locked until it commits. False: one is locked now.
create or replace function acme_private.lock_names_asked_by_others(p_tenant text, p_names text[], p_domains text[]) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_tenants text[];
  v_names text[];
  v_locked bigint;
begin
  select array_agg(o.tenant), array_agg(o.name) into v_tenants, v_names
    from (select distinct x.tenant, x.name from acme_private.names_asked_by_others(p_tenant, p_names, p_domains) x) o;
  select count(*) into v_locked
    from (select from unnest(v_tenants, v_names) o (tenant, name)
            join acme_private.tenant_name t on t.tenant = o.tenant and t.name = o.name
             for no key update of t skip locked) locked;
  return v_locked = coalesce(cardinality(v_names), 0);
end
$$;
comment on function acme_private.lock_names_asked_by_others(text, text[], text[]) is
  'Locks what other tenants ask for that overlaps with these names; false: one of the rows is locked.';

-- How long a name stays its owner's after the last live csr that uses it.
create or replace function acme_private.name_keep_time() returns interval
language sql immutable parallel safe
return interval '30 days';

-- Is there a live csr of this tenant that has a certificate for the name, or an order under way?
create or replace function acme_private.is_name_used(p_tenant text, p_name text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private.certificate_name n
      join acme_private.certificate k on k.id = n.certificate_id
      join acme_private.csr_state s on s.csr_id = k.csr_id
     where n.name in (p_name, '*.' || p_name) and n.tenant = p_tenant and s.is_live)
    or exists (
    select from acme_private."order" o
     where o.is_live and o.tenant = p_tenant and o.identifiers && array[p_name, '*.' || p_name]);
end
$$;
comment on function acme_private.is_name_used(text, text) is 'Whether a live csr of a tenant uses a name.';

-- Each minute: a hundred of the names that were checked longest ago, a day or more. Last in its transaction, and without
-- waiting: others hold locks on these rows.
create or replace function acme_private.lapse_names() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
begin
  with looked as (
    select t.tenant, t.name, acme_private.is_name_used(t.tenant, t.name) as is_used
      from acme_private.tenant_name t
     where t.owner_since is not null and t.checked_at < v_now - interval '23 hours'
     order by t.checked_at
     limit 100
       for no key update skip locked
  )
  update acme_private.tenant_name t
     set checked_at = v_now, unused_since = case when not l.is_used then coalesce(t.unused_since, v_now) end
    from looked l
   where t.tenant = l.tenant and t.name = l.name;
  update acme_private.tenant_name t
     set owner_since = null, proved_at = null, unused_since = null
   where t.owner_since is not null and t.checked_at = v_now
     and t.unused_since < v_now - acme_private.name_keep_time();
  delete from acme_private.tenant_name t
   where (t.tenant, t.name) in (
     select x.tenant, x.name
       from acme_private.tenant_name x
      where x.owner_since is null and x.checked_at < v_now - acme_private.name_keep_time()
        and not acme_private.is_name_used(x.tenant, x.name)
      order by x.checked_at
      limit 500
        for update skip locked);
end
$$;
comment on function acme_private.lapse_names() is
  'Frees names whose owner has had no live csr for them for 30 days, and forgets names that nobody asks for any more.';

-- What acme.name_owner shows: to a reader all names, to a tenant its own. As the owner, and in one piece: with a filter of the
-- caller's, explain (analyze) would tell which names others have.
create or replace function acme_private.name_owners(p_role name)
  returns table (name text, registered_domain text, tenant text, owner_since timestamptz, proved_at timestamptz, lapses_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  -- (A parameter of type name makes "C" the collation of variables, for which the index of tenants is of no use.)
  v_tenant text collate "default" := acme_private.tenant_seen(p_role);
begin
  return query
    select t.name, t.registered_domain, t.tenant, t.owner_since, t.proved_at, t.unused_since + acme_private.name_keep_time()
      from acme_private.tenant_name t
     where t.owner_since is not null and (v_tenant is null or t.tenant = v_tenant);
end
$$;
comment on function acme_private.name_owners(name) is 'The names and owners that a role may see.';
