-- Authorizations are deactivated on request (RFC 8555 §7.5.2). Applications insert into acme.deactivation_request, by
-- acme.deactivate_authorization(); a worker takes the requests when it claims the authorization, moves it to
-- deactivating, and asks the server.

create or replace function acme.deactivate_authorization("authorization" bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into acme.deactivation_request (authorization_id) values (deactivate_authorization."authorization");
end
$$;
comment on function acme.deactivate_authorization(bigint) is
  'Has the server forget that control of a name was proved (RFC 8555 §7.5.2): the name is proved anew for the next order. An order that waits for it begins anew.';

-- As acme_private.drop_foreign_revocations.
create or replace function acme_private.drop_foreign_deactivations(p_authorization bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  r record;
begin
  for r in
    delete from acme.deactivation_request q
     using acme_private.authorization a
     where q.authorization_id = p_authorization and a.id = q.authorization_id and q.tenant <> a.tenant
    returning q.tenant, q.requested_by
  loop
    perform acme_private.note('request_dropped', null, null, null, null, null, null, jsonb_build_object(
      'request', 'deactivation', 'authorization_id', p_authorization, 'tenant', r.tenant, 'by', r.requested_by));
  end loop;
end
$$;
comment on function acme_private.drop_foreign_deactivations(bigint) is
  'Takes away the requests to give up this authorization that are not of its tenant, with an event each.';

-- Acts on the requests that this authorization has and nobody has seen; its orders are locked. While somebody
-- holds it they wait, and reconcile comes back to them.
create or replace function acme_private.heed_deactivation(p_worker bigint, p_authorization bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_by text;
  v_count bigint;
  a record;
begin
  if not exists (select from acme.deactivation_request q where q.authorization_id = p_authorization) then
    return;
  end if;
  perform acme_private.drop_foreign_deactivations(p_authorization);
  perform from acme_private.authorization x
   where x.id = p_authorization and (x.lease_token is null or x.lease_until < v_now)
     for no key update;
  if not found then
    return;
  end if;
  with heeded as (
    delete from acme.deactivation_request q where q.authorization_id = p_authorization
    returning q.requested_by
  )
  select string_agg(distinct h.requested_by, ', '), count(*) into v_by, v_count from heeded h;
  if v_count = 0 then
    return;
  end if;
  update acme_private.authorization x
     -- The server has none yet: there is nothing to ask it.
     set state = case x.state when 'new' then 'deactivated' else 'deactivating' end, is_preauthorization = false,
         lease_token = null, lease_until = null, lease_worker = null, claims = 0,
         next_attempt_at = null, attempts = 0, reason_code = null, reason = null, last_problem = null, updated_at = v_now
   where x.id = p_authorization and x.state in ('new', 'pending', 'valid')
  returning x.tenant, x.account_id, x.identifier into a;
  if found then
    perform acme_private.unpublish(p_authorization);
    perform acme_private.note('deactivation_requested', a.tenant, null, null, a.account_id, null, p_worker,
                              jsonb_build_object('authorization_id', p_authorization, 'identifier', a.identifier, 'by', v_by));
  end if;
end
$$;

-- p_state: what the server says that it is now. Orders that waited for it are made anew.
create or replace function acme_private.authorization_deactivated(
  p_worker bigint, p_authorization bigint, p_lease uuid, p_state text, p_take int
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_orders bigint[] := acme_private.orders_of(p_authorization);
  a record;
begin
  perform acme_private.begin_work(false);
  perform acme_private.lock_with_csrs(v_orders);
  perform from acme_private.authorization x where x.id = p_authorization and x.lease_token = p_lease for update;
  if found and exists (
    select from acme_private."order" o
     where o.id = any (acme_private.orders_of(p_authorization)) and o.finished_at is null and o.id <> all (v_orders))
  then
    -- An order came to need it since they were locked: once more, with that one.
    perform acme_private.put_off('authorization', p_authorization, acme_private.clock(), 0, null, null, null);
    return '[]';
  end if;
  update acme_private.authorization x
     set state = p_state, expires_at = least(coalesce(x.expires_at, acme_private.clock()), acme_private.clock()),
         lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = 0, next_attempt_at = null,
         reason_code = null, reason = null, last_problem = null, updated_at = acme_private.clock()
   where x.id = p_authorization and x.lease_token = p_lease
  returning x.tenant, x.account_id, x.identifier into a;
  if not found then
    return '[]';
  end if;
  update acme_private.challenge c
     set state = 'invalid'
   where c.authorization_id = p_authorization and c.state in ('pending', 'processing');
  perform acme_private.note('authorization_deactivated', a.tenant, null, null, a.account_id, null, p_worker,
    jsonb_build_object('authorization_id', p_authorization, 'identifier', a.identifier, 'state', p_state));
  perform acme_private.wake_waiters_for_names(array_remove(
    array[a.identifier] || array(select unnest(o.identifiers) from acme_private."order" o where o.id = any (v_orders)), null));
  -- Of one that went further the server says what becomes of it.
  return acme_private.end_orders(
    p_worker,
    array(select o.id from acme_private."order" o
           where o.id = any (v_orders) and o.state = 'authorizing' and o.lease_token is null),
    'gone', 'authorization_deactivated', format('Its authorization%s was deactivated on request.', coalesce(' for ' || a.identifier, '')),
    null, null, p_take);
end
$$;
comment on function acme_private.authorization_deactivated(bigint, bigint, uuid, text, int) is
  'Stores that an authorization was given up; returns claims on what is next in line.';
