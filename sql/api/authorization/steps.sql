-- Commits of the step prove (RFC 8555 §7.5.1).

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
  on conflict (authorization_id, reverse(url)) do update
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
  if not acme_private.own_names(a.tenant, array[a.identifier], true) then
    -- An administrator gave the name to another tenant meanwhile.
    perform acme_private.give_up_orders(acme_private.orders_of(p_authorization));
  end if;
  for o in
    select x.id, x.tenant, count(*) over () > 1 as is_shared
      from acme_private."order" x
     where x.id = any (acme_private.orders_of(p_authorization)) and x.finished_at is null
     order by x.id
  loop
    if o.tenant <> a.tenant then
      -- What one tenant proved is no proof of another's.
      perform acme_private.give_up_orders(array[o.id]);
    elsif o.is_shared then
      v_claims := v_claims || acme_private.advance_or_leave(p_worker, o.id, a, p_take - jsonb_array_length(v_claims));
    else
      v_claims := v_claims || acme_private.advance(p_worker, o.id, a, p_take - jsonb_array_length(v_claims));
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
