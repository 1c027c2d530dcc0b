-- When an order ends: what it published is taken back, its place goes to the next csr in line, and one that is
-- not wanted any more gives up its authorizations.

-- The place of an order that ended goes to the next csr in line: to this worker, or by a dispatch.
create or replace function acme_private.pass_on(p_worker bigint, o acme_private."order", p_take int) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims jsonb := '[]';
begin
  if acme_private.is_held(p_worker) then
    return '[]';
  end if;
  if p_take > 0 then
    -- One that was parked has no place to pass on: the dispatcher counts whether there is any.
    if o.is_parked then
      perform acme_private.wake_dispatch();
    elsif acme_private.room(o.server_id) > 0 then
      v_claims := acme_private.fill_places(p_worker, o.server_id, o.account_id, o.tenant, 1, 1);
    end if;
    if v_claims = '[]' then
      -- Its own csr may be in the queue again, and whoever opened its account or server meanwhile cannot see it.
      perform acme_private.come_back('{}', array[o.csr_id]);
    end if;
    return v_claims;
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
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

-- Ends an order that is not wanted any more: its csr was cancelled, or what unwanted_for says. Then the csr keeps its turn. Their
-- rows are locked.
create or replace function acme_private.end_cancelled(o acme_private."order") returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  c record;
  v_code text;
begin
  select r.cancel_request, r.cancel_reason into c from acme.csr r where r.id = o.csr_id;
  v_code := case when o.unwanted_for = 'key_blocked' or c.cancel_request is null then o.unwanted_for else 'cancelled' end;
  perform acme_private.clean_up(o.id);
  update acme_private."order"
     set state = 'cancelled', finished_at = acme_private.clock(), lease_token = null, lease_until = null, lease_worker = null,
         claims = 0, next_attempt_at = null, reason_code = v_code,
         reason = coalesce(c.cancel_reason, case v_code
           when 'key_blocked' then 'Its key was blocked.'
           when 'revoking' then 'The certificate of its csr was to be revoked, and the csr to end with it.'
           when 'account_replaced' then 'Another account takes the place of its own, and makes a new order.'
           when 'name_in_use' then 'Another tenant waits for one of its names, or was given it.'
           else 'It was cancelled on request.' end)
   where id = o.id;
  -- Where the server refused to revoke meanwhile it goes on, and keeps its turn.
  update acme_private.csr_state
     set order_id = null, state = case when state = 'ordering' then 'queued' else state end, queued_at = o.created_at,
         attempts = attempts + case v_code when 'name_in_use' then 1 else 0 end
   where csr_id = o.csr_id;
  perform acme_private.heed(o.csr_id);
  perform acme_private.wake_waiters_for_names(o.identifiers);
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

-- Ends an order without a certificate and decides what becomes of its csr. Its csr_state and its row are locked.
--   validation   new try by the ladder of each name that failed (p_identifier), never given up
--   refused      new try by the csr's own ladder
--   server_error new order after a while; the server's own fault, which counts nowhere
--   gone         new order at once; if that does not help, by the csr's ladder
--   account_lost new order as soon as the account is registered again
--   account_held new order as soon as a person did what the server asks of the account
--   limited      new order when the server takes them again: its turn is kept, or it waits for the narrower limit
--   person       waits for acme.retry() after a person acted
--   permanent    failed: the same request can never succeed
--   set_aside    new order in an hour: workers died over it, or PostgreSQL raised an error for it
create or replace function acme_private.end_order(
  p_worker bigint, o acme_private."order", p_class text, p_code text, p_text text, p_problem jsonb, p_identifier text
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  s acme_private.csr_state;
  v_state text;
  v_due timestamptz;
  v_cooldown acme_private.closure;
begin
  if o.state in ('creating', 'authorizing', 'ready')
     and (o.is_unwanted or (select c.cancel_request is not null from acme.csr c where c.id = o.csr_id)) then
    -- It would have been cancelled next, and what failed may be that it is being cancelled: its
    -- authorizations are deactivated first.
    perform acme_private.end_cancelled(o);
    return;
  end if;
  if p_class = 'refused' and acme_private.came_out_the_same(o, p_problem) then
    p_class := 'person';
    p_text := format('%s It came out the same twice, so that it is not ordered again: ask the CA, or make another CSR. When the CA has changed that: select acme.retry(%s).',
                     p_text, o.csr_id);
  end if;
  perform acme_private.clean_up(o.id);
  update acme_private."order"
     set state = 'failed', finished_at = v_now, lease_token = null, lease_until = null, lease_worker = null, claims = 0,
         next_attempt_at = null, reason_code = p_code, reason = p_text, last_problem = p_problem
   where id = o.id;
  perform acme_private.note('order_failed', o.tenant, o.csr_id, o.id, o.account_id, null, p_worker,
    jsonb_build_object('class', p_class, 'reason', p_text, 'problem', p_problem));
  select * into s from acme_private.csr_state where csr_id = o.csr_id;
  v_state := case when s.certificate_id is null then 'queued' else 'renewing' end;
  case
    when p_class = 'validation' and p_identifier is not null then
      v_state := 'retrying';
      v_due := v_now + acme_private.ladder(acme_private.count_failure(o.account_id, p_identifier));
    when p_class = 'server_error' then
      v_state := 'retrying';
      v_due := v_now + acme_private.server_error_delay(o.csr_id);
    when p_class in ('validation', 'refused') or p_class = 'gone' and s.attempts > 0 then
      v_state := 'retrying';
      v_due := v_now + acme_private.ladder(s.attempts + 1);
    when p_class = 'set_aside' then
      v_state := 'retrying';
      v_due := v_now + interval '1 hour';
    when p_class in ('gone', 'account_lost', 'account_held', 'limited') then
      v_cooldown := acme_private.cooldown_of(s);
      if p_class = 'limited' and v_cooldown.id is not null then
        v_state := 'retrying';
        v_due := v_cooldown.until;
        p_text := v_cooldown.reason;
      end if;
    when p_class = 'person' then
      v_state := 'needs_person';
    when p_class = 'permanent' then
      v_state := 'failed';
  end case;
  update acme_private.csr_state
     set state = v_state, order_id = null,
         -- It keeps its turn where the try was none.
         queued_at = case when v_state in ('queued', 'renewing')
                          then case when p_class = 'gone' then v_now else o.created_at end end,
         attempts = s.attempts + case when p_class in ('account_lost', 'account_held', 'limited', 'server_error') then 0 else 1 end,
         next_attempt_at = v_due, updated_at = v_now, cooldown_id = v_cooldown.id,
         reason_code = case when v_state in ('queued', 'renewing') then null else p_code end,
         reason = case when v_state in ('queued', 'renewing') then null else p_text end,
         last_problem = p_problem
   where csr_id = o.csr_id;
  if v_state in ('retrying', 'needs_person', 'failed') then
    perform acme_private.note(v_state, o.tenant, o.csr_id, o.id, o.account_id, null, p_worker,
      jsonb_build_object('reason', p_text, 'next_attempt_at', v_due));
  end if;
  if v_state = 'retrying' then
    perform acme_private.enqueue('csr', o.csr_id, v_due);
  end if;
  perform acme_private.heed(o.csr_id);
  perform acme_private.wake_waiters_for_names(o.identifiers);
end
$$;

-- The csrs of these orders, then the orders (the lock order), as far as they are under way.
create or replace function acme_private.lock_with_csrs(p_orders bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform from acme_private.csr_state x
   where x.csr_id = any (array(
     select y.csr_id from acme_private."order" y where y.finished_at is null and y.id = any (p_orders)))
   order by x.csr_id
     for no key update;
  perform from acme_private."order" y where y.finished_at is null and y.id = any (p_orders) order by y.id for update;
end
$$;

-- Ends these orders (lock_with_csrs) as end_order does, then passes on their places; returns the claims.
create or replace function acme_private.end_orders(
  p_worker bigint, p_orders bigint[], p_class text, p_code text, p_text text, p_problem jsonb, p_identifier text, p_take int
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  o acme_private."order";
  v_ended acme_private."order"[] := '{}';
  v_claims jsonb := '[]';
begin
  for o in
    select y.*
      from acme_private."order" y
     where y.finished_at is null and y.id = any (p_orders)
     order by y.id
  loop
    perform acme_private.end_order_anyhow(p_worker, o, p_class, p_code, p_text, p_problem, p_identifier);
    v_ended := v_ended || o;
  end loop;
  foreach o in array v_ended loop
    v_claims := v_claims || acme_private.pass_on(p_worker, o, p_take - jsonb_array_length(v_claims));
  end loop;
  return v_claims;
end
$$;

-- Is this order of no use without its account's key, which nobody has had for an hour? The server may have its CSR, so
-- that whoever does have the key is waited for; and only where the csr is to go on without it. (Its last event tells
-- when it moved; every look of somebody who has the key sets attempts back, also while the server takes its time.)
create or replace function acme_private.is_given_up(p_order bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select o.state in ('ready', 'finalizing', 'downloading')
           and o.reason_code in ('secret_key_wrong', 'account_not_ready') and o.attempts >= 10
           and (o.is_unwanted or c.cancel_request is not null or acme_private.is_moved(o.id))
           and greatest(o.created_at, acme_private.last_event_at(o.csr_id)) < acme_private.clock() - interval '1 hour'
      from acme_private."order" o
      join acme.csr c on c.id = o.csr_id
     where o.id = p_order);
end
$$;
