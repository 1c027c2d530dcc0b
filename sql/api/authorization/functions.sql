-- Authorizations: which orders need one, its claim, and orders that wait for a person to publish something.

-- The orders that ever needed an authorization. As an array, so that they are read by their key: a join
-- may begin with the orders instead, all of them or (by is_live rather than finished_at) all that were live
-- of late.
create or replace function acme_private.orders_of(p_authorization bigint) returns bigint[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return array(select oa.order_id from acme_private.order_authorization oa where oa.authorization_id = p_authorization);
end
$$;

-- The server made an order that needs no more proof. Those of its authorizations that are not known were valid before this
-- database had the account; they are given up when their names change hands, as all others.
create or replace function acme_private.store_valid_authorizations(o acme_private."order", p_urls jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  with added as (
    insert into acme_private.authorization (account_id, url, tenant, state, identifier, is_wildcard)
    select o.account_id, u.url, o.tenant, 'valid',
           -- which is whose the server was not asked
           case when cardinality(o.identifiers) = 1 then acme_private.base_name(o.identifiers[1]) end,
           cardinality(o.identifiers) = 1 and o.identifiers[1] like '*.%'
      from (select distinct x.url from jsonb_array_elements_text(p_urls) x (url) order by 1) u
    on conflict (account_id, reverse(url)) do nothing
    returning id
  )
  insert into acme_private.order_authorization (order_id, authorization_id)
  select o.id, a.id from added a;
end
$$;
comment on function acme_private.store_valid_authorizations(acme_private."order", jsonb) is
  'Stores the authorizations of an order that came back ready, as far as they are not known.';

-- Is an order under way that needs this authorization, besides p_order?
create or replace function acme_private.is_ordered(p_authorization bigint, p_order bigint default null) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private."order" o
     where o.id = any (acme_private.orders_of(p_authorization)) and o.finished_at is null
       and o.id is distinct from p_order);
end
$$;

-- Is it to be proved: for an order under way, besides p_order, or for its own sake?
create or replace function acme_private.is_needed(p_authorization bigint, p_order bigint default null) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return acme_private.is_ordered(p_authorization, p_order) or exists (
    select from acme_private.authorization a
     where a.id = p_authorization and a.is_preauthorization and a.state in ('new', 'pending'));
end
$$;

create or replace function acme_private.authorization_claim(p_authorization bigint) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_build_object(
      'kind', 'authorization', 'id', a.id, 'lease', a.lease_token,
      'lease_ms', extract(epoch from acme_private.lease_time()) * 1000, 'step', case a.state when 'new' then 'preauthorize' when 'deactivating' then 'deactivate' else 'prove' end,
      'account_id', a.account_id, 'account_version', ast.version || '.' || acc.version || '.' || srv.version,
      'url', a.url, 'identifier', a.identifier, 'has_waited', a.waiting_since is not null,
      -- what it may be for: that of another name proves nothing of what was ordered
      'names', acme_private.names_of(a),
      -- which challenge types its orders' solvers can publish, by the name when it is known
      'solver', coalesce(f.solver, a.solver),
      -- the first of the csrs that it is proved for: logs name it
      'csr_id', f.csr_id, 'ref', f.ref,
      'challenge', (select jsonb_build_object('url', c.url, 'type', c.type, 'token', c.token, 'is_published', r.state = 'published')
                      from acme_private.challenge c
                      join acme_private.record r on r.challenge_id = c.id
                     where c.authorization_id = a.id and c.state in ('pending', 'processing') and r.state in ('intended', 'published')
                     order by c.id desc limit 1))
      from acme_private.authorization a
      join acme_private.account_state ast on ast.account_id = a.account_id
      join acme.account acc on acc.id = a.account_id
      join acme.server srv on srv.id = ast.server_id
      left join lateral (
        select o.csr_id, c.ref, c.solver
          from acme_private."order" o
          join acme.csr c on c.id = o.csr_id
         where o.id = any (acme_private.orders_of(a.id)) and o.finished_at is null
         order by o.id
         limit 1
      ) f on true
     where a.id = p_authorization);
end
$$;

-- The live orders of an authorization, before it is locked itself (the lock order: csr states, orders,
-- authorizations, records).
create or replace function acme_private.lock_orders(p_authorization bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform from acme_private."order" o
   where o.id = any (acme_private.orders_of(p_authorization)) and o.finished_at is null
   order by o.id
     for update;
end
$$;

-- Does this authorization wait for someone to publish its challenge by hand?
create or replace function acme_private.waits_for_publication(p_authorization bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select exists (
      select from acme_private.challenge c
        join acme_private.record r on r.challenge_id = c.id
       where c.authorization_id = p_authorization and c.state in ('pending', 'processing')
         and r.method = 'manual' and r.state = 'intended'));
end
$$;

-- Is anything published by hand? Nearly always nothing is, which an empty index tells.
create or replace function acme_private.is_anything_manual() returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select from acme_private.record r where r.method = 'manual' and r.state in ('intended', 'removing'));
end
$$;

-- Orders of this authorization that wait for nothing but people hold no place among those in flight.
create or replace function acme_private.park(p_authorization bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if not acme_private.is_anything_manual()
     and not exists (select from acme_private."order" o
                      where o.id = any (acme_private.orders_of(p_authorization)) and o.finished_at is null and o.is_parked) then
    return;
  end if;
  update acme_private."order" o
     set is_parked = p.is_parked
    from (
      select mine.order_id, bool_and(acme_private.waits_for_publication(a.id)) as is_parked
        from acme_private.order_authorization mine
        join acme_private.order_authorization oa on oa.order_id = mine.order_id
        join acme_private.authorization a on a.id = oa.authorization_id and a.state = 'pending'
       where mine.authorization_id = p_authorization
       group by mine.order_id
    ) p
   -- (One that became ready meanwhile waits for nobody.)
   where o.id = p.order_id and o.state = 'authorizing' and o.is_parked <> p.is_parked;
end
$$;
