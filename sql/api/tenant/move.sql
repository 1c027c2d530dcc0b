-- An administrator gives a name to another tenant, or to nobody.

-- Its registered domain, as a worker found it for a name that overlaps with it.
create or replace function acme_private.domain_of_name(p_name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select t.registered_domain
      from (
        select x.registered_domain
          from acme_private.tenant_name x
         where reverse(x.name) collate "C" = any (acme_private.reversed(acme_private.name_and_above(p_name, '')))
        union all
        (select x.registered_domain
           from acme_private.tenant_name x
          where acme_private.is_below(x.name, p_name)
          limit 1)
      ) t
     where acme_private.is_within(p_name, t.registered_domain)
     limit 1);
end
$$;
comment on function acme_private.domain_of_name(text) is
  'The registered domain of a name, where a tenant has asked for a name that overlaps with it.';

-- Orders of other tenants than this one for a name, and for what is below it within its registered domain.
create or replace function acme_private.orders_of_others(p_name text, p_domain text, p_tenant text) returns bigint[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select o.id
      from acme_private."order" o
     where o.is_live and o.tenant is distinct from p_tenant
       and exists (
         select from unnest(acme_private.base_names(o.identifiers)) n
           join acme_private.tenant_name t on t.tenant = o.tenant and t.name = n
          where coalesce(t.registered_domain, p_domain) is not distinct from p_domain
            and (n = p_name or acme_private.is_below(n, p_name)))
     order by o.id);
end
$$;
comment on function acme_private.orders_of_others(text, text, text) is
  'The live orders of tenants other than this one for a name or one below it.';

-- What others are ordering of a name, and of what is below it, ends before it is finalized; then the rows of the name are locked.
-- In this order, as a proof does. Who proves it at this moment, or releases it, is waited for, but not for as long as an application
-- leaves its transaction open.
create or replace function acme_private.lock_name(p_name text, p_domain text, p_tenant text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_lock_timeout text := current_setting('lock_timeout');
  v_orders bigint[] := acme_private.orders_of_others(p_name, p_domain, p_tenant);
begin
  perform set_config('lock_timeout', '5s', true);
  perform from acme_private."order" o where o.id = any (v_orders) order by o.id for no key update;
  perform acme_private.give_up_orders(v_orders);
  perform from acme_private.tenant_name t
   where reverse(t.name) collate "C" = reverse(p_name) or acme_private.is_below(t.name, p_name) and t.owner_since is not null
   order by t.tenant, t.name
     for no key update;
  perform set_config('lock_timeout', v_lock_timeout, true);
  -- What was begun meanwhile: since then nothing is.
  perform acme_private.give_up_orders(acme_private.orders_of_others(p_name, p_domain, p_tenant));
exception when lock_not_available then
  raise exception 'A transaction that releases or proves % is still open.', p_name
    using errcode = 'lock_not_available', hint = 'Call acme.move_name again when it has ended; pg_stat_activity shows who has a transaction open.';
end
$$;
comment on function acme_private.lock_name(text, text, text) is
  'Ends the orders of other tenants for a name, and locks its rows and those that are owned below it.';

-- What others own of a name, and of what is below it within its registered domain, is theirs no longer.
create or replace function acme_private.take_name_away(p_name text, p_domain text, p_tenant text) returns setof text
language sql volatile set search_path = pg_catalog, pg_temp
as $$
  update acme_private.tenant_name t
     set owner_since = null, proved_at = null, unused_since = null, checked_at = acme_private.clock()
   where t.owner_since is not null and t.tenant is distinct from p_tenant
     and coalesce(t.registered_domain, p_domain) is not distinct from p_domain
     and (reverse(t.name) collate "C" = reverse(p_name) or acme_private.is_below(t.name, p_name))
  returning t.tenant
$$;
comment on function acme_private.take_name_away(text, text, text) is
  'Ends that tenants other than this one own a name, or one below it; returns them.';

create or replace function acme_private.move_name(p_name text, p_tenant text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
declare
  v_name text := acme_private.base_name(regexp_replace(lower(p_name), '\.$', ''));
  v_domain text := acme_private.domain_of_name(v_name);
  v_former text;
begin
  if v_name is null or v_name !~ '^[a-z0-9-]+(\.[a-z0-9-]+)+$' then
    raise exception '% is no host name.', coalesce(quote_literal(left(p_name, 80)), 'null')
      using errcode = 'invalid_parameter_value', hint = 'Give a name such as www.example.org, in ASCII (xn--…).';
  elsif v_domain is null and exists (
    select from acme_private.tenant_name t
     where acme_private.is_below(t.name, v_name) and t.registered_domain is not null)
  then
    raise exception '% is a suffix under which domains are registered; it is not moved as a whole.', v_name
      using errcode = 'invalid_parameter_value', hint = 'Move each domain by itself; see acme.name_owner.';
  elsif not acme_private.is_plain_tenant(p_tenant) then
    raise exception 'Give a tenant of 1 to 200 characters, none of them a control character or one that is not seen; or null, and nobody owns the name.'
      using errcode = 'invalid_parameter_value';
  end if;
  perform acme_private.lock_name(v_name, v_domain, p_tenant);
  for v_former in select distinct t from acme_private.take_name_away(v_name, v_domain, p_tenant) t loop
    perform acme_private.note('name_moved', v_former, p_detail => jsonb_build_object('name', v_name, 'is_owner', false));
  end loop;
  if p_tenant is not null then
    insert into acme_private.tenant_name (tenant, name, registered_domain, owner_since)
    values (p_tenant, v_name, v_domain, acme_private.clock())
    on conflict (tenant, name) do update set owner_since = coalesce(acme_private.tenant_name.owner_since, excluded.owner_since);
    perform acme_private.note('name_moved', p_tenant, p_detail => jsonb_build_object('name', v_name, 'is_owner', true));
  end if;
  perform acme_private.wake_waiters_for_names(array[v_name]);
end
$$;
comment on function acme_private.move_name(text, text) is 'What acme.move_name does.';

create or replace function acme.move_name(name text, tenant text) returns void
language sql volatile
begin atomic
  select acme_private.move_name(move_name.name, move_name.tenant);
end;
comment on function acme.move_name(text, text) is
  'Makes a tenant the owner of a name, a wildcard''s base, and of what is below it, also before anybody asks for it; tenant null: nobody. Orders that others have under way for it are cancelled, and their csrs wait as needs_person or are rejected (name_held); their certificates stay. What they proved is deactivated at the server before an order of the new owner.';
