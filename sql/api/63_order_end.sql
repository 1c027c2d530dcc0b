-- When an order ends: what it published is taken back, its place goes to the next csr in line, and one that is
-- not wanted any more gives up its authorizations.

-- The place of an order that ended goes to the next csr in line: to this worker, or by a dispatch.
create or replace function acme_private.pass_on(p_worker bigint, o acme_private."order", p_take int) returns jsonb
language plpgsql volatile
as $$
declare
  v_order bigint;
begin
  if acme_private.is_held(p_worker) then
    return '[]';
  end if;
  if p_take > 0 then
    -- One that was parked has no place to pass on: the dispatcher counts whether there is any.
    if o.is_parked then
      perform acme_private.wake_dispatch();
    elsif acme_private.room(o.server_id) > 0 then
      v_order := acme_private.admit_next(p_worker, o.server_id, o.account_id, o.tenant);
    end if;
    if v_order is null then
      -- Its own csr may be in the queue again, and whoever opened its account or server meanwhile cannot see it.
      perform acme_private.come_back('{}', array[o.csr_id]);
      return '[]';
    end if;
    return jsonb_build_array(acme_private.order_claim(v_order, true));
  end if;
  if exists (select from acme_private.csr_state q
              where q.server_id = o.server_id and q.state in ('queued', 'renewing') and q.order_id is null) then
    perform acme_private.dispatch_at(acme_private.clock(), 'now');
  end if;
  return '[]';
end
$$;

-- Takes back what the order's authorizations published, where no other order under way needs it.
create or replace function acme_private.clean_up(p_order bigint) returns void
language plpgsql volatile
as $$
begin
  perform acme_private.unpublish(oa.authorization_id)
    from acme_private.order_authorization oa
   where oa.order_id = p_order
     and not acme_private.is_needed(oa.authorization_id, p_order);
end
$$;

-- Authorizations that a cancelled order leaves behind, for the worker to deactivate (RFC 8555 §7.5.2).
create or replace function acme_private.abandoned_authorizations(p_order bigint) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'url', a.url) order by a.id), '[]')
    from acme_private.order_authorization oa
    join acme_private.authorization a on a.id = oa.authorization_id
   where oa.order_id = p_order and a.state = 'pending'
     and not acme_private.is_needed(a.id, p_order)
$$;
comment on function acme_private.abandoned_authorizations(bigint) is
  'The pending authorizations of an order that no other order under way refers to.';

-- Ends an order that is not wanted any more: its csr was cancelled, its key blocked, or another account takes the
-- place of its own. Then the csr keeps its turn. Their rows are locked.
create or replace function acme_private.end_cancelled(o acme_private."order") returns void
language plpgsql volatile
as $$
declare
  c record;
  v_code text := 'cancelled';
begin
  select r.cancel_request, r.cancel_reason, acme_private.is_blocked(s.spki_sha256) as is_blocked into c
    from acme.csr r
    join acme_private.csr_state s on s.csr_id = r.id
   where r.id = o.csr_id;
  if o.is_unwanted and c.is_blocked then
    v_code := 'key_blocked';
  elsif o.is_unwanted and c.cancel_request is null and acme_private.is_moved(o.id) then
    v_code := 'account_replaced';
  elsif o.is_unwanted and c.cancel_request is null then
    v_code := 'revoking';
  end if;
  perform acme_private.clean_up(o.id);
  update acme_private."order"
     set state = 'cancelled', finished_at = acme_private.clock(), lease_token = null, lease_until = null, lease_worker = null,
         claims = 0, next_attempt_at = null, reason_code = v_code,
         reason = coalesce(c.cancel_reason, case v_code
           when 'key_blocked' then 'Its key was blocked.'
           when 'revoking' then 'The certificate of its csr was to be revoked, and the csr to end with it.'
           when 'account_replaced' then 'Another account takes the place of its own, and makes a new order.'
           else 'It was cancelled on request.' end)
   where id = o.id;
  -- Where the server refused to revoke meanwhile it goes on, and keeps its turn.
  update acme_private.csr_state
     set order_id = null, state = case when state = 'ordering' then 'queued' else state end, queued_at = o.created_at
   where csr_id = o.csr_id;
  perform acme_private.heed(o.csr_id);
end
$$;

create or replace function acme_private.order_cancelled(
  p_worker bigint, p_order bigint, p_lease uuid, p_deactivated bigint[], p_take int
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  o acme_private."order";
begin
  perform acme_private.begin_work(false);
  perform from acme_private.csr_state x
   where x.csr_id = (select y.csr_id from acme_private."order" y where y.id = p_order)
     for no key update;
  select * into o from acme_private."order" where id = p_order and lease_token = p_lease for update;
  if not found then
    return '[]';
  end if;
  -- One that another order came to need meanwhile is left to that order's step, which finds it ended.
  update acme_private.authorization a
     set state = 'deactivated', lease_token = null, lease_until = null, lease_worker = null, updated_at = v_now
   where a.id = any (p_deactivated) and a.state = 'pending'
     and not acme_private.is_needed(a.id, p_order);
  perform acme_private.end_cancelled(o);
  return acme_private.pass_on(p_worker, o, p_take);
end
$$;
comment on function acme_private.order_cancelled(bigint, bigint, uuid, bigint[], int) is
  'Ends an order that is not wanted any more; its authorizations were deactivated before.';
