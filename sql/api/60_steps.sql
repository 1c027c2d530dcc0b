-- Commits: what a step brought, stored in one call, fenced by its lease. Each returns the claims that
-- this worker goes on with, at most p_take; jobs wake workers for the rest. p_take = 0: the worker stops.
-- A lease that is gone gives '[]': someone else has the row, and looks at the server before it acts.

-- The server made (or handed back) an order. facts: {url, status, finalize_url, certificate_url, expires_at, authorizations,
-- replaces, replaces_refused}; of the last two at most one: the id that was sent, or the problem that it was refused with.
create or replace function acme_private.order_created(
  p_worker bigint, p_order bigint, p_lease uuid, p_facts jsonb, p_take int
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  o acme_private."order";
  v_state text := case p_facts ->> 'status'
    when 'pending' then 'authorizing' when 'ready' then 'ready'
    when 'processing' then 'finalizing' when 'valid' then 'downloading' end;
  v_id bigint;
  v_ids bigint[] := '{}';
  v_are_new boolean;
  v_claims jsonb := '[]';
begin
  perform acme_private.begin_work(false);
  if v_state = 'authorizing' and acme_private.is_anything_manual() then
    -- Other orders may be parked with what this one shares with them (park), and orders are locked before authorizations.
    perform from acme_private."order" x
     where x.id = p_order or x.finished_at is null and x.id = any (array(
       select oa.order_id
         from acme_private.authorization a
         join acme_private.order_authorization oa on oa.authorization_id = a.id
        where a.account_id = (select y.account_id from acme_private."order" y where y.id = p_order)
          and a.url = any (array(select jsonb_array_elements_text(p_facts -> 'authorizations')))))
     order by x.id
       for update;
  end if;
  select * into o from acme_private."order" where id = p_order and lease_token = p_lease for update;
  if not found then
    return v_claims;
  end if;
  if v_state = 'authorizing' then
    with upserted as (
      insert into acme_private.authorization (account_id, url, tenant)
      select distinct o.account_id, u.url, o.tenant
        from jsonb_array_elements_text(p_facts -> 'authorizations') u (url)
       order by 2
      -- Known from an earlier order: look at it again, whatever it was then. The server names it, so it may
      -- still be pending there, although we gave it up.
      on conflict (account_id, url) do update
        set tenant = excluded.tenant, reason_code = null, reason = null, next_attempt_at = null, attempts = 0,
            waiting_since = null,
            -- One that is to be given up is; the order is made anew then.
            state = case "authorization".state when 'deactivating' then 'deactivating' else 'pending' end
      -- xmax: 0 in a row that was just inserted
      returning id, xmax = 0 as is_new
    ), linked as (
      insert into acme_private.order_authorization (order_id, authorization_id)
      select p_order, u.id from upserted u
    )
    select array_agg(u.id order by u.id), bool_and(u.is_new) into v_ids, v_are_new from upserted u;
    if v_are_new then
      -- Each of them will be written down durably before it is answered, and this order with it. Lost
      -- before that, a new order is made. An order that may be finalized at once must not be lost: its
      -- csr would be issued twice.
      perform acme_private.begin_work(true);
    end if;
  end if;
  update acme_private."order"
     set state = v_state, url = p_facts ->> 'url', finalize_url = p_facts ->> 'finalize_url',
         certificate_url = p_facts ->> 'certificate_url', expires_at = (p_facts ->> 'expires_at')::timestamptz,
         next_attempt_at = null, attempts = 0, reason_code = null, reason = null, last_problem = null, claims = 0,
         lease_token = case when v_state = 'authorizing' then null else lease_token end,
         lease_worker = case when v_state = 'authorizing' then null else lease_worker end,
         lease_until = case when v_state = 'authorizing' then null else v_now + acme_private.lease_time() end
   where id = p_order;
  perform acme_private.note('order_created', o.tenant, o.csr_id, p_order, o.account_id, null, p_worker,
                            jsonb_strip_nulls(jsonb_build_object(
                              'url', p_facts ->> 'url', 'status', p_facts ->> 'status', 'replaces', p_facts ->> 'replaces',
                              'replaces_refused', p_facts -> 'replaces_refused')));
  if v_state <> 'authorizing' or o.is_unwanted or (select c.cancel_request is not null from acme.csr c where c.id = o.csr_id) then
    return acme_private.go_on(p_worker, p_order, v_state, p_take);
  end if;
  foreach v_id in array v_ids loop
    if acme_private.waits_for_publication(v_id) then
      perform acme_private.park(v_id);
    elsif jsonb_array_length(v_claims) < p_take then
      update acme_private.authorization
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = claims + 1, next_attempt_at = null
       where id = v_id and state = 'pending' and (lease_token is null or lease_until < v_now);
      if found then
        v_claims := v_claims || acme_private.authorization_claim(v_id);
      elsif exists (select from acme_private.authorization a where a.id = v_id and a.state = 'deactivating') then
        perform acme_private.enqueue('authorization', v_id);
      end if;
    else
      perform acme_private.enqueue('authorization', v_id);
    end if;
  end loop;
  return v_claims;
end
$$;
comment on function acme_private.order_created(bigint, bigint, uuid, jsonb, int) is
  'Stores a new order and its authorizations; returns claims on the first of them.';

-- Moves an order, whose row is locked, to its next state, for this worker to go on with at once, or for
-- whoever takes the job.
create or replace function acme_private.go_on(p_worker bigint, p_order bigint, p_state text, p_take int) returns jsonb
language plpgsql volatile
as $$
begin
  update acme_private."order"
     set state = p_state, is_parked = false, attempts = 0, next_attempt_at = null, reason_code = null, reason = null,
         lease_token = case when p_take > 0 then gen_random_uuid() end,
         lease_until = case when p_take > 0 then acme_private.clock() + acme_private.lease_time() end,
         lease_worker = case when p_take > 0 then p_worker end,
         claims = case when p_take > 0 then 1 else 0 end
   where id = p_order;
  if p_take > 0 then
    return jsonb_build_array(acme_private.order_claim(p_order, true));
  end if;
  perform acme_private.enqueue('order', p_order);
  return '[]';
end
$$;

-- Chooses the challenge by the solver that serves the name, and writes down what is to be published
-- before it is. facts: {identifier, is_wildcard, expires_at, offered: [{url, type, token, key_authorization}]}.
-- Returns {challenge: {url, type, token, is_published}}, {refused: sentence}, or null: the lease is gone.
create or replace function acme_private.challenge_intended(
  p_worker bigint, p_authorization bigint, p_lease uuid, p_solver text, p_facts jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  a acme_private.authorization;
  v_name text := case when (p_facts ->> 'is_wildcard')::boolean then '*.' else '' end || (p_facts ->> 'identifier');
  v_solver acme.solver := acme_private.solver_for(p_solver, v_name);
  v_offer jsonb;
  v_challenge bigint;
  v_is_published boolean;
begin
  perform acme_private.begin_work(false);
  if v_solver.method = 'manual' then
    -- They will be parked, and orders are locked before authorizations.
    perform acme_private.lock_orders(p_authorization);
  end if;
  update acme_private.authorization
     set identifier = p_facts ->> 'identifier', is_wildcard = (p_facts ->> 'is_wildcard')::boolean,
         expires_at = (p_facts ->> 'expires_at')::timestamptz, lease_until = v_now + acme_private.lease_time(),
         claims = 0, updated_at = v_now
   where id = p_authorization and lease_token = p_lease
  returning * into a;
  if not found then
    return null;
  end if;
  if v_solver.id is null then
    return jsonb_build_object('refused', format('No solver serves %s any more. Insert one into acme.solver.', v_name));
  end if;
  select c into v_offer from jsonb_array_elements(p_facts -> 'offered') c where c ->> 'type' = v_solver.challenge_type limit 1;
  if v_offer is null then
    return jsonb_build_object('refused', format('The solver %s does %s, and the server offers only %s for %s.', v_solver.name,
      v_solver.challenge_type, (select string_agg(c ->> 'type', ', ') from jsonb_array_elements(p_facts -> 'offered') c), v_name));
  end if;
  insert into acme_private.challenge (authorization_id, tenant, url, type, token, key_authorization)
  values (p_authorization, a.tenant, v_offer ->> 'url', v_offer ->> 'type', v_offer ->> 'token', v_offer ->> 'key_authorization')
  -- Given up before, and offered again with a new order.
  on conflict (authorization_id, url) do update
    set key_authorization = excluded.key_authorization, error = null,
        state = case acme_private.challenge.state when 'invalid' then 'pending' else acme_private.challenge.state end
  returning id into v_challenge;
  -- The responder answers from this row: for it, stored is published.
  v_is_published := v_solver.method = 'responder';
  insert into acme_private.record (challenge_id, tenant, solver, method, type, identifier, token, value, state)
  values (v_challenge, a.tenant, v_solver.name, v_solver.method, v_offer ->> 'type', p_facts ->> 'identifier',
          v_offer ->> 'token', v_offer ->> 'key_authorization', case when v_is_published then 'published' else 'intended' end);
  if not v_is_published then
    update acme_private.authorization
       set lease_token = null, lease_until = null, lease_worker = null, next_attempt_at = null
     where id = p_authorization;
    perform acme_private.park(p_authorization);
  end if;
  perform acme_private.note_authorization(case when v_is_published then 'challenge_published' else 'challenge_to_publish' end, a, p_worker,
    jsonb_build_object('identifier', v_name, 'type', v_offer ->> 'type', 'solver', v_solver.name));
  return jsonb_build_object('challenge', jsonb_build_object(
    'url', v_offer ->> 'url', 'type', v_offer ->> 'type', 'token', v_offer ->> 'token', 'is_published', v_is_published));
end
$$;
comment on function acme_private.challenge_intended(bigint, bigint, uuid, text, jsonb) is
  'Stores the chosen challenge and its record before it is published and answered.';

-- Takes back what was published for an authorization. By hand: someone has to, so it is asked for.
create or replace function acme_private.unpublish(p_authorization bigint) returns void
language plpgsql volatile
as $$
begin
  update acme_private.record r
     set state = case when r.method = 'manual' and r.state = 'published' then 'removing' else 'removed' end,
         updated_at = acme_private.clock()
   where r.id in (
     select x.id
       from acme_private.record x
       join acme_private.challenge c on c.id = x.challenge_id
      where c.authorization_id = p_authorization and x.state in ('intended', 'published')
        for update of x skip locked);
end
$$;

-- The authorization is valid. The last one of an order makes it ready. facts: {identifier, is_wildcard, expires_at}.
create or replace function acme_private.authorization_proved(
  p_worker bigint, p_authorization bigint, p_lease uuid, p_facts jsonb, p_take int
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  a acme_private.authorization;
  o record;
  v_claims jsonb := '[]';
begin
  perform acme_private.begin_work(false);
  -- Without a challenge of ours nothing of its orders may be durable yet, and they are finalized next.
  if exists (
    select from acme_private.challenge c
     where c.authorization_id = p_authorization and c.state in ('pending', 'processing')
  ) then
    perform acme_private.begin_work(true);
  end if;
  -- Orders first, so that the last two authorizations of one cannot miss each other.
  perform acme_private.lock_orders(p_authorization);
  update acme_private.authorization
     set state = 'valid', identifier = p_facts ->> 'identifier', is_wildcard = (p_facts ->> 'is_wildcard')::boolean,
         expires_at = (p_facts ->> 'expires_at')::timestamptz, lease_token = null, lease_until = null,
         lease_worker = null, claims = 0, attempts = 0, next_attempt_at = null, reason_code = null, reason = null,
         last_problem = null, updated_at = v_now
   where id = p_authorization and lease_token = p_lease
  returning * into a;
  if not found then
    return v_claims;
  end if;
  update acme_private.challenge set state = 'valid' where authorization_id = p_authorization and state in ('pending', 'processing');
  perform acme_private.unpublish(p_authorization);
  delete from acme_private.identifier_failure f where f.account_id = a.account_id and f.identifier = a.identifier;
  perform acme_private.note_preauthorization('authorization_valid', a, p_worker);
  for o in
    select x.id, x.csr_id, x.tenant, x.state, x.lease_token
      from acme_private."order" x
     where x.id = any (acme_private.orders_of(p_authorization)) and x.finished_at is null
     order by x.id
  loop
    perform acme_private.note('authorization_valid', o.tenant, o.csr_id, o.id, a.account_id, null, p_worker,
                              jsonb_build_object('identifier', a.identifier));
    if o.state = 'authorizing' and o.lease_token is null and not exists (
      select from acme_private.order_authorization oa
        join acme_private.authorization x on x.id = oa.authorization_id
       where oa.order_id = o.id and x.state = 'pending'
    ) then
      v_claims := v_claims || acme_private.go_on(p_worker, o.id, 'ready', p_take - jsonb_array_length(v_claims));
    end if;
  end loop;
  -- What is left of the others may be a person's.
  perform acme_private.park(p_authorization);
  -- To be given up since. Without a key, which is a lock: those of orders may be taken.
  if exists (select from acme.deactivation_request q where q.authorization_id = p_authorization) then
    perform acme_private.wake_rows('prove', 'authorization', array[p_authorization]);
  end if;
  return v_claims;
end
$$;
comment on function acme_private.authorization_proved(bigint, bigint, uuid, jsonb, int) is
  'Stores that an authorization is valid; returns a claim to finalize each order that became ready.';

-- The order is finalized. null: the server still works on it. A certificate URL: download it (a worker
-- that has the URL downloads without this commit, certificate_stored tells what came of both).
create or replace function acme_private.order_finalized(
  p_worker bigint, p_order bigint, p_lease uuid, p_certificate_url text, p_retry_after_ms bigint, p_take int
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  o acme_private."order";
begin
  perform acme_private.begin_work(true);
  select * into o from acme_private."order" where id = p_order and lease_token = p_lease for update;
  if not found then
    return '[]';
  end if;
  if p_certificate_url is null then
    update acme_private."order" set state = 'finalizing' where id = p_order;
    perform acme_private.wait_for_server('order', p_order, make_interval(secs => p_retry_after_ms / 1000.0),
                                         'The server is issuing the certificate.');
    return '[]';
  end if;
  update acme_private."order"
     set certificate_url = p_certificate_url, last_problem = null
   where id = p_order;
  if o.state <> 'downloading' then
    perform acme_private.note('order_finalized', o.tenant, o.csr_id, p_order, o.account_id, null, p_worker, null);
  end if;
  return acme_private.go_on(p_worker, p_order, 'downloading', p_take);
end
$$;
comment on function acme_private.order_finalized(bigint, bigint, uuid, text, bigint, int) is
  'Stores that the server took the CSR; returns a claim to download.';
