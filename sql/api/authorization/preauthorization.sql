-- Pre-authorization (RFC 8555 §7.4.1): control of a name is proved before there is an order. The row stands at
-- new until a worker has asked the server; from then on it goes the way of every authorization.

-- The name as identifiers have it; else a sentence. p_facts: of the account that is meant; null: there is none. With
-- the rights of the caller, for whom schema acme alone is there.
create or replace function acme_private.name_to_preauthorize(p_name text, p_account text, p_solver text, p_facts jsonb) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
declare
  v_name text := lower(regexp_replace(p_name, '\.$', ''));
begin
  if starts_with(v_name, '*.') then
    raise exception 'The wildcard % cannot be proved before its order (RFC 8555 §7.4.1).', quote_literal(left(p_name, 80))
      using errcode = 'invalid_parameter_value', hint = 'Insert its CSR: its names are proved then.';
  elsif v_name is null or length(v_name) > 253 or v_name !~ '^[a-z0-9-]+(\.[a-z0-9-]+)+$' then
    raise exception '% is no host name to prove.', coalesce(quote_literal(left(p_name, 80)), 'null')
      using errcode = 'invalid_parameter_value', hint = 'Give a name such as www.example.org, in ASCII (xn--…).';
  elsif p_solver is not null and not exists (select from acme.solver s where s.name = p_solver) then
    raise exception 'There is no solver %.', quote_literal(left(p_solver, 80))
      using errcode = 'no_data_found', hint = 'See acme.solver; without one the most specific for the name is used.';
  elsif p_facts is null then
    raise exception using errcode = 'no_data_found', hint = 'See acme.usable_account.',
      message = case when p_account is null then 'There is no default account.' else format('There is no account %L.', left(p_account, 80)) end;
  elsif p_account is null and p_facts ->> 'account_policy' = 'per_registered_domain' then
    raise exception 'The server % has an account for each registered domain: say which one is meant.', p_facts ->> 'server'
      using errcode = 'invalid_parameter_value', hint = 'Give its name as account; acme.usable_account has those that you may name.';
  elsif p_facts ->> 'state' in ('deactivating', 'deactivated', 'revoked') then
    raise exception 'The account % is %.', p_facts ->> 'name', p_facts ->> 'state'
      using errcode = 'object_not_in_prerequisite_state', hint = 'Name another account.';
  elsif exists (
    select from acme.server_feature f
     where f.server = p_facts ->> 'server' and f.feature = 'new_authz' and f.how = 'directory' and f.support = 'no')
  then
    raise exception 'The server % offers no pre-authorization: its directory has no newAuthz (RFC 8555 §7.4.1).', p_facts ->> 'server'
      using errcode = 'feature_not_supported', hint = 'Insert the CSR: its names are proved with its order.';
  end if;
  return v_name;
end
$$;

create or replace function acme.preauthorize(name text, account text default null, solver text default null) returns bigint
language sql volatile
begin atomic
  -- One that is under way, or still good, is the one. Bound here and now, since applications have no schema
  -- acme_private; row-level security keeps them among their own.
  with meant as materialized (
    select acme_private.usable_account(preauthorize.account, current_user) as facts
  ), wanted as (
    select acme_private.name_to_preauthorize(preauthorize.name, preauthorize.account, preauthorize.solver, m.facts) as identifier,
           (m.facts ->> 'id')::bigint as account_id
      from meant m
  ), known as (
    select a.id
      from wanted w
      join acme_private.authorization a on a.account_id = w.account_id and a.identifier = w.identifier
     where a.is_preauthorization and a.tenant = acme_private.current_tenant()
       and (a.state in ('new', 'pending') or a.state = 'valid' and (a.expires_at is null or a.expires_at > acme_private.clock()))
     order by a.id
     limit 1
  ), made as (
    insert into acme_private.authorization (account_id, tenant, identifier, solver, state, is_preauthorization)
    select w.account_id, acme_private.current_tenant(), w.identifier, preauthorize.solver, 'new', true
      from wanted w
     where not exists (select from known)
    returning id
  )
  select k.id from known k union all select m.id from made m;
end;
comment on function acme.preauthorize(text, text, text) is
  'Has control of a name proved before there is an order, where the server offers that (RFC 8555 §7.4.1). Returns the authorization''s id: acme.authorization tells how it goes.';

-- It ended without having been proved: it was one try, and acme.preauthorize asks anew. Its orders have tries of
-- their own, which are counted and told with them.
create or replace function acme_private.preauthorization_failed(p_worker bigint, a acme_private.authorization, p_class text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if not acme_private.is_ordered(a.id) then
    perform acme_private.unpublish(a.id);
    if p_class = 'validation' then
      perform acme_private.count_failure(a.account_id, a.identifier);
    end if;
  end if;
  perform acme_private.note_preauthorization('authorization_failed', a, p_worker,
                                             jsonb_build_object('reason', a.reason, 'problem', a.last_problem));
end
$$;

-- An account that is closed proves nothing more. Where orders need the same authorizations, they end first.
create or replace function acme_private.end_preauthorizations(p_worker bigint, p_account bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  a acme_private.authorization;
begin
  for a in
    update acme_private.authorization x
       set state = 'invalid', lease_token = null, lease_until = null, lease_worker = null, claims = 0, next_attempt_at = null,
           updated_at = v_now, reason_code = 'account_not_ready',
           reason = format('The account %s is %s; ask again with another one.', c.name,
                           case s.state when 'deactivating' then 'being deactivated' else s.state end)
      from acme_private.account_state s
      join acme.account c on c.id = s.account_id
     where s.account_id = p_account and s.state in ('deactivating', 'deactivated', 'revoked')
       and x.id in (
         select y.id from acme_private.authorization y
          where y.account_id = p_account and y.is_preauthorization and y.state in ('new', 'pending')
            and (y.lease_token is null or y.lease_until < v_now) and not acme_private.is_ordered(y.id)
          order by y.id
            for no key update skip locked)
    returning x.*
  loop
    update acme_private.challenge set state = 'invalid' where authorization_id = a.id and state in ('pending', 'processing');
    perform acme_private.preauthorization_failed(p_worker, a, 'person');
  end loop;
end
$$;

-- Does it go on when its account can be used again? What the server had is gone with an account that was lost.
create or replace function acme_private.waits_for_account(p_authorization bigint, p_class text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private.authorization x
     where x.id = p_authorization and x.is_preauthorization
       and (x.state = 'new' or p_class = 'account_held' and not acme_private.is_ordered(x.id)));
end
$$;

-- May a worker ask the server for it now? One that is known to the server may be worked on. Where its account
-- gets nothing new at the moment it waits; where it never will, this is its end.
create or replace function acme_private.may_begin(p_authorization bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  a record;
  v_code text;
  v_text text;
  v_until timestamptz;
  v_cooldown acme_private.closure;
begin
  if not exists (select from acme_private.authorization x where x.id = p_authorization and x.state = 'new') then
    return true;
  end if;
  select x.identifier, x.next_attempt_at, s.server_id, c.id as account_id, c.name as account, c.paused_at is not null as is_paused, c.pause_reason,
         s.state, v.name as server, v.paused_at is not null as is_server_paused, v.pause_reason as server_pause_reason
    into a
    from acme_private.authorization x
    join acme.account c on c.id = x.account_id
    join acme_private.account_state s on s.account_id = c.id
    join acme.server v on v.id = s.server_id
   where x.id = p_authorization and (x.lease_token is null or x.lease_until < v_now)
     and (x.next_attempt_at is null or x.next_attempt_at <= v_now)
     for no key update of x;
  if not found then
    return false;
  end if;
  if a.state in ('deactivating', 'deactivated', 'revoked') then
    perform acme_private.end_preauthorizations(null, a.account_id);
    return false;
  elsif a.is_server_paused then
    v_code := 'server_paused';
    v_text := format('The server %s is paused: %s', a.server, a.server_pause_reason);
  elsif a.is_paused then
    v_code := 'account_paused';
    v_text := format('The account %s is paused: %s', a.account, a.pause_reason);
  else
    v_until := acme_private.free_at(a.account_id, array[a.identifier]);
    if v_until > v_now then
      v_code := 'failure_limit';
      v_text := 'It failed validation five times within the hour; servers count that. It is tried again when one more try is free.';
    else
      v_cooldown := acme_private.cooldown_for(a.server_id, a.account_id, array[a.identifier], null, null, false);
      v_until := v_cooldown.until;
      v_text := v_cooldown.reason;
      if v_until is null and acme_private.is_open(a.account_id) then
        return true;
      elsif v_until is null then
        select l.until, l.reason into v_until, v_text
          from acme_private.closure l
         where l.server_id = a.server_id and l.scope in ('server', 'account')
           and (l.account_id is null or l.account_id = a.account_id) and l.until > v_now
         order by l.until desc
         limit 1;
      end if;
      v_code := case when v_text is null then 'account_not_ready' else 'limited' end;
      v_until := coalesce(v_until, v_now + interval '2 seconds');
      v_text := coalesce(v_text, format('The account %s is not ready: see acme.account_status.', a.account));
    end if;
  end if;
  perform acme_private.put_off('authorization', p_authorization, coalesce(v_until, v_now + interval '1 minute'), 0, v_code, v_text, null);
  return false;
end
$$;

-- Of one that is proved for its own sake: an event without an order.
create or replace function acme_private.note_preauthorization(
  p_event text, a acme_private.authorization, p_worker bigint, p_detail jsonb default '{}'
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if a.is_preauthorization then
    perform acme_private.note(p_event, a.tenant, null, null, a.account_id, null, p_worker,
                              jsonb_build_object('authorization_id', a.id, 'identifier', a.identifier) || p_detail);
  end if;
end
$$;

-- The same, and one of each order that needs it.
create or replace function acme_private.note_authorization(
  p_event text, a acme_private.authorization, p_worker bigint, p_detail jsonb default '{}'
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.note_preauthorization(p_event, a, p_worker, p_detail);
  perform acme_private.note(p_event, o.tenant, o.csr_id, o.id, a.account_id, null, p_worker,
                            jsonb_build_object('identifier', a.identifier) || p_detail)
     from acme_private."order" o
    where o.id = any (acme_private.orders_of(a.id)) and o.finished_at is null;
end
$$;

-- The server handed back one that is known by an order: that one stands for it.
create or replace function acme_private.handed_back(p_worker bigint, a acme_private.authorization, p_other bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_other acme_private.authorization;
begin
  -- Looked at again, whatever it was then.
  update acme_private.authorization x
     set is_preauthorization = true, tenant = a.tenant, solver = a.solver, reason_code = null, reason = null, next_attempt_at = null,
         attempts = 0, waiting_since = null, state = case x.state when 'deactivating' then 'deactivating' else 'pending' end
   where x.id = p_other
  returning * into v_other;
  update acme_private.authorization x
     set state = 'expired', lease_token = null, lease_until = null, lease_worker = null, claims = 0, updated_at = v_now,
         reason_code = 'handed_back', reason = format('The server handed back authorization %s, which stands for it.', p_other)
   where x.id = a.id;
  perform acme_private.note_authorization('authorization_created', v_other, p_worker, jsonb_build_object('url', v_other.url));
  perform acme_private.enqueue('authorization', p_other);
end
$$;

-- Before the server is asked: the tenant asks for the name, as with a csr. p_domain: its registered domain. Returns {refused: {code,
-- text}}, {}, or null: the lease is gone, or another tenant has its turn.
create or replace function acme_private.authorization_named(
  p_worker bigint, p_authorization bigint, p_lease uuid, p_domain text
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  a acme_private.authorization;
  v_obstacle record;
begin
  perform acme_private.begin_work(false);
  select * into a from acme_private.authorization x where x.id = p_authorization and x.lease_token = p_lease for update;
  if not found then
    return null;
  end if;
  if (acme_private.solver_for(a.solver, a.identifier)).id is null then
    return jsonb_build_object('refused', jsonb_build_object('code', 'no_solver', 'text',
      format('No solver serves %s. Insert one into acme.solver, or name another one.', a.identifier)));
  end if;
  perform from acme_private.lock where name = 'dispatch' for update;
  perform acme_private.ask_for_names(a.tenant, array[a.identifier], array[p_domain]);
  v_obstacle := acme_private.name_obstacle(a.tenant, a.account_id, array[a.identifier], array[p_domain], a.created_at);
  if v_obstacle.code = 'name_held' then
    return jsonb_build_object('refused', jsonb_build_object('code', 'name_held', 'text', v_obstacle.reason));
  elsif v_obstacle.code is not null then
    perform acme_private.put_off('authorization', p_authorization, v_obstacle.until, 0, v_obstacle.code, v_obstacle.reason, null);
    return null;
  end if;
  return '{}';
end
$$;
comment on function acme_private.authorization_named(bigint, bigint, uuid, text) is
  'Stores that a tenant asks for the name of a pre-authorization, before the server is asked.';

-- The server made it, or handed back one that it had; returns the claim to prove it.
create or replace function acme_private.authorization_created(
  p_worker bigint, p_authorization bigint, p_lease uuid, p_url text, p_take int
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  a acme_private.authorization;
  v_other bigint;
begin
  perform acme_private.begin_work(false);
  select * into a from acme_private.authorization x where x.id = p_authorization and x.lease_token = p_lease for update;
  if not found then
    return '[]';
  end if;
  select x.id into v_other from acme_private.authorization x where x.account_id = a.account_id and reverse(x.url) = reverse(p_url);
  if found then
    perform acme_private.handed_back(p_worker, a, v_other);
    return '[]';
  end if;
  update acme_private.authorization
     set state = 'pending', url = p_url, attempts = 0, claims = 1, next_attempt_at = null, reason_code = null, reason = null,
         last_problem = null, updated_at = v_now, lease_token = case when p_take > 0 then gen_random_uuid() end,
         lease_until = case when p_take > 0 then v_now + acme_private.lease_time() end,
         lease_worker = case when p_take > 0 then p_worker end
   where id = p_authorization
  returning * into a;
  perform acme_private.note_authorization('authorization_created', a, p_worker, jsonb_build_object('url', p_url));
  if p_take > 0 then
    return jsonb_build_array(acme_private.authorization_claim(p_authorization));
  end if;
  perform acme_private.enqueue('authorization', p_authorization);
  return '[]';
end
$$;
comment on function acme_private.authorization_created(bigint, bigint, uuid, text, int) is
  'Stores the URL of an authorization that was asked for before its order; returns the claim to prove it.';

-- Of those that wait for a person the answers hold the key that was: with another key they are others.
create or replace function acme_private.choose_anew(p_account bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[] := array(
    select x.id from acme_private.authorization x
     where x.account_id = p_account and x.is_preauthorization and x.state = 'pending' and acme_private.waits_for_publication(x.id)
     order by x.id);
begin
  update acme_private.challenge c
     set state = 'invalid'
   where c.authorization_id = any (v_ids) and c.state in ('pending', 'processing');
  perform acme_private.unpublish(i) from unnest(v_ids) i;
  perform acme_private.enqueue('authorization', i) from unnest(v_ids) i order by i;
end
$$;
