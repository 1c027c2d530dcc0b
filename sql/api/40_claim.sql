-- Claims: a worker takes the lease of a row by compare-and-set and gets all that the step needs, in
-- one round trip. null: someone else has it, it is not due, or there is nothing to do.
--
-- What every step calls is plpgsql also where one statement would do: it keeps its plan, while a SQL
-- function is planned at each call (measured: 1.2 ms a call of order_claim on a busy machine).

create or replace function acme_private.lease_time() returns interval
language sql immutable
as $$ select interval '60 seconds' $$;

-- How often a row may be claimed without a commit before it is set aside: it may be what kills workers.
create or replace function acme_private.claims_allowed() returns int
language sql immutable
as $$ select 5 $$;

-- What a step on an order gets to know. step is null where nothing is to be done in this state.
create or replace function acme_private.order_claim(p_order bigint, p_fresh boolean) returns jsonb
language plpgsql volatile
as $$
begin
  return (
    select jsonb_build_object(
      'kind', 'order', 'id', o.id, 'lease', o.lease_token, 'lease_ms', extract(epoch from acme_private.lease_time()) * 1000,
      'step', case when (c.cancel_request is not null or o.is_unwanted) and o.state in ('creating', 'authorizing', 'ready')
                   then 'cancel' else m.step end,
      -- fresh: this worker has just moved it here, so there is no need to look at the server first
      'fresh', p_fresh and o.state in ('creating', 'ready'),
      -- has_waited: the server has been at work on it for more than a burst of polls
      'has_waited', o.waiting_since is not null,
      'account_id', o.account_id, 'account_version', ast.version || '.' || acc.version || '.' || srv.version,
      'csr_id', o.csr_id, 'pem', c.pem, 'identifiers', o.identifiers, 'profile', o.profile, 'state', o.state,
      'preferred_chain', c.preferred_chain, 'not_after', acme_private.clock() + c.validity,
      'not_before', acme_private.clock() + c.validity_start,
      -- What a renewal replaces (RFC 9773 §5), where the same account ordered it. Not after three tries that came to
      -- nothing: some servers stumble over it without saying so (Pebble in places, with a 500).
      'replaces_pem', case when o.state = 'creating' and o.attempts < 3 then (
        select k.leaf_pem
          from acme_private.certificate k
         where k.id = (select s.certificate_id from acme_private.csr_state s where s.csr_id = o.csr_id)
           and k.state = 'current' and k.not_after > acme_private.clock()
           and coalesce((select p.account_id from acme_private."order" p where p.id = k.order_id), k.account_id)
               = o.account_id) end,
      'url', o.url, 'finalize_url', o.finalize_url, 'certificate_url', o.certificate_url)
      from acme_private."order" o
      join acme.csr c on c.id = o.csr_id
      -- account_version(), without a call of its own
      join acme_private.account_state ast on ast.account_id = o.account_id
      join acme.account acc on acc.id = o.account_id
      join acme.server srv on srv.id = ast.server_id
      left join acme_private.step m on m.kind = 'order' and m.state = o.state
     where o.id = p_order);
end
$$;

-- The orders that ever needed an authorization. As an array, so that they are read by their key: a join
-- may begin with the orders instead, all of them or (by is_live rather than finished_at) all that were live
-- of late.
create or replace function acme_private.orders_of(p_authorization bigint) returns bigint[]
language plpgsql stable
as $$
begin
  return array(select oa.order_id from acme_private.order_authorization oa where oa.authorization_id = p_authorization);
end
$$;

-- Is an order under way that needs this authorization, besides p_order?
create or replace function acme_private.is_ordered(p_authorization bigint, p_order bigint default null) returns boolean
language plpgsql stable
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
language plpgsql stable
as $$
begin
  return acme_private.is_ordered(p_authorization, p_order) or exists (
    select from acme_private.authorization a
     where a.id = p_authorization and a.is_preauthorization and a.state in ('new', 'pending'));
end
$$;

create or replace function acme_private.authorization_claim(p_authorization bigint) returns jsonb
language plpgsql volatile
as $$
begin
  return (
    select jsonb_build_object(
      'kind', 'authorization', 'id', a.id, 'lease', a.lease_token,
      'lease_ms', extract(epoch from acme_private.lease_time()) * 1000, 'step', case a.state when 'new' then 'preauthorize' when 'deactivating' then 'deactivate' else 'prove' end,
      'account_id', a.account_id, 'account_version', ast.version || '.' || acc.version || '.' || srv.version,
      'url', a.url, 'identifier', a.identifier, 'has_waited', a.waiting_since is not null,
      -- which challenge types its orders' solvers can publish, by the name when it is known
      'solver', coalesce((select c.solver from acme_private."order" o
                            join acme.csr c on c.id = o.csr_id
                           where o.id = any (acme_private.orders_of(a.id)) and o.finished_at is null order by o.id limit 1),
                         a.solver),
      'challenge', (select jsonb_build_object('url', c.url, 'type', c.type, 'token', c.token, 'is_published', r.state = 'published')
                      from acme_private.challenge c
                      join acme_private.record r on r.challenge_id = c.id
                     where c.authorization_id = a.id and c.state in ('pending', 'processing') and r.state in ('intended', 'published')
                     order by c.id desc limit 1))
      from acme_private.authorization a
      join acme_private.account_state ast on ast.account_id = a.account_id
      join acme.account acc on acc.id = a.account_id
      join acme.server srv on srv.id = ast.server_id
     where a.id = p_authorization);
end
$$;

-- Changes whenever what a worker remembers of an account or its server no longer holds.
create or replace function acme_private.account_version(p_account bigint) returns text
language plpgsql stable
as $$
begin
  return (
    select a.version || '.' || c.version || '.' || s.version
      from acme_private.account_state a
      join acme.account c on c.id = a.account_id
      join acme.server s on s.id = a.server_id
     where a.account_id = p_account);
end
$$;

-- Server, URL and sealed key of an account, to be remembered under its version.
create or replace function acme_private.account_for_worker(p_account bigint) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'id', a.id, 'name', a.name, 'version', acme_private.account_version(a.id), 'url', s.url, 'jwe', k.jwe,
    'pending_jwe', p.jwe,
    -- those that the server was sent and did not take (account_roll_over_refused)
    'kept', (select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'jwe', r.jwe) order by r.id desc), '[]')
               from acme_private.account_key r
              where r.account_id = a.id and r.state = 'retired' and r.jwe is not null),
    'eab_kid', a.eab_kid, 'eab_jwe', e.jwe,
    'server', jsonb_build_object('id', v.id, 'name', v.name, 'directory_url', v.directory_url,
      'ca_bundle', v.ca_bundle, 'allowed_hosts', v.allowed_hosts, 'version', v.version))
    from acme.account a
    join acme_private.account_state s on s.account_id = a.id
    join acme.server v on v.id = s.server_id
    left join acme_private.account_key k on k.account_id = a.id and k.state = 'current'
    left join acme_private.account_key p on p.account_id = a.id and p.state = 'pending'
    left join acme_private.account_eab e on e.account_id = a.id
   where a.id = p_account
$$;
comment on function acme_private.account_for_worker(bigint) is 'What a worker needs to speak for an account.';

create or replace function acme_private.claim(p_worker bigint, p_kind text, p_id bigint) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_claims int;
  v_claim jsonb;
begin
  if acme_private.is_held(p_worker) then
    return null;
  end if;
  perform acme_private.begin_work(true);
  case p_kind
    when 'order' then
      update acme_private."order" o
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = o.claims + 1
       where o.id = p_id and o.is_live
         and (o.lease_token is null or o.lease_until < v_now)
         and (o.next_attempt_at is null or o.next_attempt_at <= v_now or o.is_unwanted
              or exists (select from acme.csr c where c.id = o.csr_id and c.cancel_request is not null))
         and (o.state <> 'authorizing' or o.is_unwanted
              or exists (select from acme.csr c where c.id = o.csr_id and c.cancel_request is not null))
      returning o.claims into v_claims;
      v_claim := case when found then acme_private.order_claim(p_id, false) end;
    when 'authorization' then
      perform acme_private.lock_orders(p_id);
      perform acme_private.heed_deactivation(p_worker, p_id);
      if not acme_private.may_begin(p_id) then
        return null;
      end if;
      update acme_private.authorization a
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = a.claims + 1
       where a.id = p_id
         and (a.lease_token is null or a.lease_until < v_now)
         and (a.next_attempt_at is null or a.next_attempt_at <= v_now)
         and (a.state in ('new', 'deactivating')
              or a.state = 'pending' and not acme_private.waits_for_publication(a.id) and acme_private.is_needed(a.id))
      returning a.claims into v_claims;
      v_claim := case when found then acme_private.authorization_claim(p_id) end;
      if v_claim is not null then
        perform acme_private.park(p_id);
      end if;
    when 'account' then
      -- While somebody holds it, what is asked for waits; while its server is paused, too.
      if exists (select from acme_private.account_state a
                   join acme.server v on v.id = a.server_id
                  where a.account_id = p_id and (v.paused_at is not null or a.lease_token is not null and a.lease_until >= v_now))
         or not acme_private.heed_account(p_worker, p_id) then
        return null;
      end if;
      -- (With what a person did it is due before its time, also for whoever takes it after this worker died.)
      update acme_private.account_state a
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = a.claims + 1, seen_version = c.version, next_attempt_at = null
        from acme.account c
       where a.account_id = p_id and c.id = a.account_id and acme_private.account_work(p_id) is not null
         and (a.lease_token is null or a.lease_until < v_now)
         and (a.next_attempt_at is null or a.next_attempt_at <= v_now or c.version > a.seen_version)
      returning a.claims into v_claims;
      v_claim := case when found then acme_private.account_claim(p_id) end;
    when 'certificate' then
      -- While somebody asks the server, what was asked for since waits: certificate_revoked comes back to it.
      if exists (select from acme_private.certificate k
                  where k.id = p_id and k.lease_token is not null and k.lease_until >= v_now) then
        return null;
      end if;
      perform acme_private.heed_revocation(p_id);
      update acme_private.certificate k
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = k.claims + 1
       where k.id = p_id and k.state = 'revoking'
         and (k.lease_token is null or k.lease_until < v_now)
         and (k.next_attempt_at is null or k.next_attempt_at <= v_now)
      returning k.claims into v_claims;
      v_claim := case when found then acme_private.certificate_claim(p_id) end;
  end case;
  if v_claims > acme_private.claims_allowed() then
    perform acme_private.set_aside(p_worker, p_kind, p_id);
    return null;
  end if;
  return v_claim;
end
$$;
comment on function acme_private.claim(bigint, text, bigint) is 'Takes the lease of a row; null if there is nothing to do.';

-- The live orders of an authorization, before it is locked itself (the lock order: csr states, orders,
-- authorizations, records).
create or replace function acme_private.lock_orders(p_authorization bigint) returns void
language plpgsql volatile
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
language plpgsql stable
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
language plpgsql stable
as $$
begin
  return exists (select from acme_private.record r where r.method = 'manual' and r.state in ('intended', 'removing'));
end
$$;

-- Orders of this authorization that wait for nothing but people hold no place among those in flight.
create or replace function acme_private.park(p_authorization bigint) returns void
language plpgsql volatile
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
   where o.id = p.order_id and o.is_live and o.is_parked <> p.is_parked;
end
$$;

-- A row whose claims never come to a commit may be what kills workers: leave it for an hour.
create or replace function acme_private.set_aside(p_worker bigint, p_kind text, p_id bigint) returns void
language plpgsql volatile
as $$
declare
  v_until timestamptz := acme_private.clock() + interval '1 hour';
  v_text text := format('%s workers in a row gave it up without a result; it is left alone for an hour. Look into the workers'' logs.',
                        acme_private.claims_allowed());
  v_tenant text;
  v_csr bigint;
  v_order bigint;
  v_account bigint;
  v_certificate bigint;
begin
  case p_kind
    when 'order' then
      update acme_private."order"
         set claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text
       where id = p_id
      returning tenant, csr_id, id, account_id into v_tenant, v_csr, v_order, v_account;
    when 'authorization' then
      update acme_private.authorization
         set claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text
       where id = p_id
      returning tenant, account_id into v_tenant, v_account;
    when 'csr' then
      update acme_private.csr_state
         set claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text
       where csr_id = p_id
      returning tenant, csr_id into v_tenant, v_csr;
    when 'account' then
      update acme_private.account_state
         set claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text
       where account_id = p_id
      returning account_id into v_account;
    when 'certificate' then
      update acme_private.certificate
         set claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text
       where id = p_id
      returning tenant, csr_id, id into v_tenant, v_csr, v_certificate;
  end case;
  perform acme_private.note('set_aside', v_tenant, v_csr, v_order, v_account, v_certificate, p_worker,
                            jsonb_build_object('kind', p_kind, 'id', p_id, 'reason', v_text));
end
$$;

-- On a bug or an outage of the database's own: give the lease back first, then let the error pass on.
-- The job that is tried again may have been another row's, so this one gets a wake-up of its own.
create or replace function acme_private.release(p_kind text, p_id bigint, p_lease uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  case p_kind
    when 'order' then
      update acme_private."order" set lease_token = null, lease_until = null, lease_worker = null
       where id = p_id and lease_token = p_lease;
    when 'authorization' then
      update acme_private.authorization set lease_token = null, lease_until = null, lease_worker = null
       where id = p_id and lease_token = p_lease;
    when 'account' then
      update acme_private.account_state set lease_token = null, lease_until = null, lease_worker = null
       where account_id = p_id and lease_token = p_lease;
    when 'certificate' then
      update acme_private.certificate set lease_token = null, lease_until = null, lease_worker = null
       where id = p_id and lease_token = p_lease;
    when 'csr' then
      update acme_private.csr_state set lease_token = null, lease_until = null, lease_worker = null
       where csr_id = p_id and lease_token = p_lease;
  end case;
  if found and p_kind <> 'csr' then
    perform acme_private.enqueue(p_kind, p_id, acme_private.clock() + interval '1 second');
  end if;
end
$$;
comment on function acme_private.release(text, bigint, uuid) is 'Gives a lease back without a result.';
