-- The dispatcher: has received csrs judged, and admits queued ones as orders, round-robin over tenants, as
-- far as the server has room.

-- Makes the order of a csr that is locked, leased to this worker. null: it may not go after all.
create or replace function acme_private.make_order(p_worker bigint, p_csr bigint) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  s acme_private.csr_state;
  v_order bigint;
  v_earliest timestamptz;
  v_obstacle record;
  v_cooldown acme_private.closure;
begin
  -- An order answers the requests made before it; a cancellation among them means no order at all.
  perform acme_private.heed(p_csr);
  select * into s from acme_private.csr_state where csr_id = p_csr;
  if s.state not in ('queued', 'renewing') or s.order_id is not null then
    return null;
  end if;
  v_earliest := acme_private.free_at(s.account_id, s.identifiers);
  if v_earliest > v_now then
    update acme_private.csr_state
       set state = 'retrying', next_attempt_at = v_earliest, queued_at = null, reason_code = 'failure_limit', updated_at = v_now,
           reason = 'One of its names failed validation five times within the hour; servers count that. It is tried again when one more try is free.'
     where csr_id = p_csr;
    perform acme_private.enqueue('csr', p_csr, v_earliest);
    return null;
  end if;
  v_cooldown := acme_private.cooldown_of(s);
  if v_cooldown.id is not null then
    perform acme_private.wait_out(p_csr, v_cooldown);
    return null;
  end if;
  v_obstacle := acme_private.name_obstacle(s.tenant, s.account_id, s.identifiers, s.domains, s.contested_since);
  if v_obstacle.code is not null then
    perform acme_private.wait_for_names(p_worker, s, v_obstacle.code, v_obstacle.reason, v_obstacle.until, v_obstacle.is_locked);
    return null;
  end if;
  insert into acme_private."order" (csr_id, tenant, server_id, account_id, identifiers, identifiers_key, profile,
                                    lease_token, lease_until, lease_worker, claims)
  values (s.csr_id, s.tenant, s.server_id, s.account_id, s.identifiers, s.identifiers_key, s.profile,
          gen_random_uuid(), v_now + acme_private.lease_time(), p_worker, 1)
  on conflict do nothing
  returning id into v_order;
  if v_order is null then
    return null;
  end if;
  update acme_private.csr_state
     set state = case when state = 'queued' then 'ordering' else state end, order_id = v_order, queued_at = null,
         reason_code = null, reason = null, next_attempt_at = null, contested_since = null, updated_at = v_now
   where csr_id = s.csr_id;
  return v_order;
end
$$;

-- May this account get new orders now?
create or replace function acme_private.is_open(p_account bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select a.paused_at is null and s.state = 'valid' and s.reread_since is null and s.doubted_at is null and not exists (
      select from acme_private.closure c
       where c.server_id = s.server_id and c.scope in ('server', 'account') and c.value is null
         and (c.account_id is null or c.account_id = s.account_id) and c.until > acme_private.clock())
      from acme_private.account_state s
      join acme.account a on a.id = s.account_id
     where s.account_id = p_account);
end
$$;

-- The order of a csr that is locked, for this worker or for whoever takes its job. Null: it may not go after all.
create or replace function acme_private.begin_order(
  p_worker bigint, s acme_private.csr_state, p_is_taken boolean
) returns acme_private.admitted
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v acme_private.admitted;
begin
  v.order_id := acme_private.make_order(p_worker, s.csr_id);
  if v.order_id is null then
    return v;
  end if;
  v.account_id := s.account_id;
  v.tenant := s.tenant;
  if p_is_taken then
    v.claim := acme_private.order_claim(v.order_id, true);
  else
    perform acme_private.hand_out(v.order_id);
  end if;
  return v;
end
$$;
comment on function acme_private.begin_order(bigint, acme_private.csr_state, boolean) is
  'Makes the order of a locked csr, and its claim or its job.';

-- The same; where the csr raises an error, it is set aside, and there is no order.
create or replace function acme_private.begin_order_or_set_aside(
  p_worker bigint, s acme_private.csr_state, p_is_taken boolean
) returns acme_private.admitted
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return acme_private.begin_order(p_worker, s, p_is_taken);
exception when others then
  if not acme_private.is_fault_of_row(sqlstate) then
    raise;
  end if;
  raise warning 'pgacme sets csr % aside: %', s.csr_id, sqlerrm;
  perform acme_private.set_aside(p_worker, 'csr', s.csr_id, sqlstate);
  return null;
end
$$;
comment on function acme_private.begin_order_or_set_aside(bigint, acme_private.csr_state, boolean) is
  'Makes the order of a locked csr; sets the csr aside where that raises an error.';

-- Admits the next csr of a server after the place (account, tenant) where the last one came from, so
-- that tenants take turns whatever the length of their queues. Its order is leased to this worker, which gets the claim, or
-- (p_is_taken false) left to whoever takes the job. Null: there is none. p_is_careful: one that raises an error is set aside.
create or replace function acme_private.admit_next(
  p_worker bigint, p_server bigint, p_account bigint, p_tenant text, p_is_taken boolean, p_is_careful boolean
) returns acme_private.admitted
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  s acme_private.csr_state;
  v_account bigint := p_account;
  v_tenant text := p_tenant;
  v_is_second_round boolean := false;
  v_passed int := 0;
  v_admitted acme_private.admitted;
begin
  if (select paused_at is not null from acme.server where id = p_server) then
    return null;
  end if;
  loop
    select q.* into s
      from acme_private.csr_state q
     where q.server_id = p_server
       and q.state in ('queued', 'renewing') and q.order_id is null
       and (q.account_id, q.tenant) > (v_account, v_tenant)
       and not exists (
         select from acme_private."order" o
          where o.is_live and o.account_id = q.account_id and o.identifiers_key = q.identifiers_key
            and coalesce(o.profile, '') = coalesce(q.profile, '')
            -- (what another tenant has under way is for name_obstacle)
            and o.tenant = q.tenant)
     order by q.account_id, q.tenant, q.priority desc, q.queued_at, q.csr_id
     limit 1
       for no key update skip locked;
    if found then
      if not acme_private.is_open(s.account_id) then
        -- On to the next account that may order: there may be thousands that wait to be registered.
        v_account := coalesce((select x.account_id
                                 from acme_private.account_state x
                                where x.server_id = p_server and x.account_id > s.account_id and x.state = 'valid'
                                order by x.account_id
                                limit 1), 9223372036854775807);
        v_tenant := '';
        continue;
      end if;
      if s.state = 'queued' and not s.is_renewal and acme_private.takes_renewals_only(s.account_id) then
        -- New sets of names wait where they are; of the renewals the next one.
        v_tenant := case when s.account_id = v_account then v_tenant else '' end;
        v_account := s.account_id;
        s := acme_private.next_renewal(p_server, v_account, v_tenant);
      end if;
      if s.csr_id is null then
        v_account := v_account + 1;
        v_tenant := '';
      else
        if p_is_careful then
          v_admitted := acme_private.begin_order_or_set_aside(p_worker, s, p_is_taken);
        else
          v_admitted := acme_private.begin_order(p_worker, s, p_is_taken);
        end if;
        if v_admitted.order_id is not null then
          return v_admitted;
        end if;
        -- It left the queue (cancelled, held back): look again from the same place, within bounds.
        v_passed := v_passed + 1;
        if v_passed > 100 then
          v_account := s.account_id;
          v_tenant := s.tenant;
          v_passed := 0;
          -- (Limits may hold thousands of them: the rest is looked at next.)
          perform acme_private.wake_dispatch();
        end if;
      end if;
    elsif v_is_second_round then
      return null;
    else
      v_is_second_round := true;
      v_account := 0;
      v_tenant := '';
    end if;
  end loop;
end
$$;

-- How many more orders a server takes now, over all workers.
create or replace function acme_private.room(p_server bigint) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select s.max_orders_in_flight - (select count(*)::int from acme_private."order" o
                                      where o.server_id = s.id and o.is_live and not o.is_parked)
      from acme.server s
     where s.id = p_server);
end
$$;

-- Admits as many csrs as there are places, in turns after the place (account, tenant). The first p_take orders come back as
-- claims, jobs wake workers for the rest.
create or replace function acme_private.admit_after(
  p_worker bigint, p_server bigint, p_account bigint, p_tenant text, p_places int, p_take int, p_is_careful boolean
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v acme_private.admitted;
  v_account bigint := p_account;
  v_tenant text := p_tenant;
  v_claims jsonb := '[]';
begin
  for i in 1..p_places loop
    v := acme_private.admit_next(p_worker, p_server, v_account, v_tenant, jsonb_array_length(v_claims) < p_take, p_is_careful);
    exit when v.order_id is null;
    if v.claim is not null then
      v_claims := v_claims || v.claim;
    end if;
    v_account := v.account_id;
    v_tenant := v.tenant;
  end loop;
  return v_claims;
end
$$;
comment on function acme_private.admit_after(bigint, bigint, bigint, text, int, int, boolean) is
  'Admits csrs of a server in turns; returns the first claims.';

-- The same, in one subtransaction; only where something was raised in it csr by csr, and whose fault it is is set aside.
create or replace function acme_private.fill_places(
  p_worker bigint, p_server bigint, p_account bigint, p_tenant text, p_places int, p_take int
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  begin
    return acme_private.admit_after(p_worker, p_server, p_account, p_tenant, p_places, p_take, false);
  exception when others then
    if not acme_private.is_fault_of_row(sqlstate) then
      raise;
    end if;
  end;
  return acme_private.admit_after(p_worker, p_server, p_account, p_tenant, p_places, p_take, true);
end
$$;
comment on function acme_private.fill_places(bigint, bigint, bigint, text, int, int) is
  'Admits csrs of a server in turns; one that raises an error is set aside, and the others go.';

-- Fills a server's free places. The first p_take orders come back as claims; jobs wake workers for the rest.
create or replace function acme_private.admit(p_worker bigint, p_server bigint, p_take int) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_room int;
  v_account bigint := 0;
  v_tenant text := '';
begin
  if acme_private.room(p_server) <= 0 then
    return '[]';
  end if;
  -- Two dispatchers must not count the same free places.
  perform from acme_private.lock where name = 'dispatch' for update;
  v_room := acme_private.room(p_server);
  select o.account_id, o.tenant into v_account, v_tenant
    from acme_private."order" o
   where o.server_id = p_server and o.is_live
   order by o.id desc
   limit 1;
  if not found then
    -- None is under way: it does not begin with the first tenant again. One of the latest orders tells where it was.
    select x.account_id, x.tenant into v_account, v_tenant
      from (select o.* from acme_private."order" o order by o.id desc limit 100) x
     where x.server_id = p_server
     order by x.id desc
     limit 1;
  end if;
  return acme_private.fill_places(p_worker, p_server, coalesce(v_account, 0), coalesce(v_tenant, ''), v_room, p_take);
end
$$;

-- What makes room (an order's end, a registered account, an ended pause) wakes a dispatcher, which cannot
-- see a csr queued at that very moment: one that leaves a server full, or a csr where it has just queued
-- it, comes back.
create or replace function acme_private.come_back(p_servers bigint[], p_queued bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  -- Half a second or more from now, on the full second: one job for all that come back then. None is put
  -- off, and none may run before this is committed.
  v_wait interval := date_trunc('second', clock_timestamp() + interval '1.5 seconds') - now();
  v_occasion text := 'soon:' || extract(epoch from now() + v_wait)::bigint;
begin
  if (exists (select from unnest(p_servers) s (id) where acme_private.room(s.id) <= 0)
      or exists (select from acme_private.csr_state q
                  where q.csr_id = any (p_queued) and q.state in ('queued', 'renewing') and q.order_id is null))
     -- add_job costs ten times this look
     and not exists (select from worker_schema.jobs j where j.key = 'pgacme:dispatch:' || v_occasion) then
    perform acme_private.dispatch_at(acme_private.clock() + v_wait, v_occasion);
  end if;
end
$$;

-- Gives an order that was just made to whichever worker takes the job.
create or replace function acme_private.hand_out(p_order bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme_private."order"
     set lease_token = null, lease_until = null, lease_worker = null, claims = 0
   where id = p_order;
  perform acme_private.enqueue('order', p_order);
end
$$;

-- One turn of the dispatcher: store the verdicts of the last turn, take what was received since, and
-- fill free places. The caller comes back with verdicts until received.rows is empty.
create or replace function acme_private.dispatch(p_worker bigint, p_lease uuid, p_verdicts jsonb, p_take int) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_received jsonb;
  v_claims jsonb := '[]';
  v_server bigint;
  v_servers bigint[] := '{}';
begin
  perform acme_private.begin_work(true);
  if p_lease is not null then
    perform acme_private.store_verdicts(p_worker, p_lease, p_verdicts);
  end if;
  if acme_private.is_held(p_worker) then
    return '{"received": {"rows": []}, "claims": []}';
  end if;
  perform acme_private.forget_waiting_dispatches();
  perform acme_private.apply_resumes();
  perform acme_private.release_limited();
  if p_take > 0 then
    v_received := acme_private.claim_received(p_worker);
  else
    -- The worker stops: what is still to be judged is another's.
    v_received := '{"rows": []}';
    if exists (select from acme_private.csr_state where state = 'received') then
      perform acme_private.wake_dispatch();
    end if;
  end if;
  for v_server in
    select s.id
      from acme.server s
     where s.paused_at is null
       -- (as a join, which exists would be, all of the queue might be read)
       and (select true from acme_private.csr_state q
             where q.server_id = s.id and q.state in ('queued', 'renewing') and q.order_id is null limit 1)
     order by s.id
  loop
    v_claims := v_claims || acme_private.admit(p_worker, v_server,
      case when jsonb_array_length(v_received -> 'rows') > 0 then 0 else p_take - jsonb_array_length(v_claims) end);
    v_servers := v_servers || v_server;
  end loop;
  perform acme_private.come_back(v_servers, array(
    select (v ->> 'csr_id')::bigint from jsonb_array_elements(p_verdicts) v));
  return jsonb_build_object('received', v_received, 'claims', v_claims);
end
$$;
comment on function acme_private.dispatch(bigint, uuid, jsonb, int) is
  'Stores verdicts, takes received csrs to judge, admits queued ones. Returns {received: {lease, rows}, claims}.';
