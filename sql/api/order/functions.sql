-- Orders: the claim, and the commits of the steps create and finalize (RFC 8555 §7.4). Each commit is fenced by the lease
-- and returns the claims that this worker goes on with, at most p_take; jobs wake workers for the rest. p_take = 0: the worker
-- stops. A lease that is gone gives '[]': another worker has the row, and looks at the server before it acts.

-- What a step on an order gets to know. step is null where nothing is to be done in this state.
create or replace function acme_private.order_claim(p_order bigint, p_fresh boolean) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_build_object(
      'kind', 'order', 'id', o.id, 'lease', o.lease_token, 'lease_ms', extract(epoch from acme_private.lease_time()) * 1000,
      'step', case when o.watched_until is not null then 'finalize'
                   when (c.cancel_request is not null or o.is_unwanted) and o.state in ('creating', 'authorizing', 'ready')
                   then 'cancel' else m.step end,
      -- fresh: this worker has just moved it here, so there is no need to look at the server first
      'fresh', p_fresh and o.state in ('creating', 'ready'),
      -- has_waited: the server has been at work on it for more than a burst of polls
      'has_waited', o.waiting_since is not null,
      -- is_late: for longer than a server may lag behind itself
      'is_late', coalesce(o.waiting_since < acme_private.clock() - acme_private.lag_time(), false),
      -- is_taken: the server has the CSR; is_expired: nothing more is to be expected of the order
      'is_taken', o.watched_until is not null or o.state in ('finalizing', 'downloading'),
      'is_expired', acme_private.expiry_of(o) < acme_private.clock(),
      'account_id', o.account_id, 'account_version', ast.version || '.' || acc.version || '.' || srv.version,
      'csr_id', o.csr_id, 'ref', c.ref, 'pem', c.pem, 'identifiers', o.identifiers, 'profile', o.profile, 'state', o.state,
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
      -- Due by the clock, and not asked for: a time that the server would rather have is waited for (renewal_window).
      'may_wait', o.state = 'creating' and (
        select s.renewal_reason = 'its lifetime is nearly over' from acme_private.csr_state s where s.csr_id = o.csr_id),
      'refused_csr_features', srv.refused_csr_features,
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

-- What applications asked for a csr by its row (retry, renew, cancel), and what workers do about it.

-- Is the csr of this order to go on with another account of the server (acme.replace_account)?
create or replace function acme_private.is_moved(p_order bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private."order" o
      join acme.csr c on c.id = o.csr_id
      join acme.account n on n.name = c.account
      join acme_private.account_state a on a.account_id = n.id
     where o.id = p_order and a.server_id = o.server_id and a.account_id <> o.account_id);
end
$$;

-- The server made no order of its own for this csr, but handed back that of a cancelled one: what comes of it is wanted
-- again, and this order stores it. A worker that polls for the cancelled one finds its lease gone.
create or replace function acme_private.take_over_watch(p_order bigint, p_lease uuid, p_url text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme_private."order" w
     set watched_until = null, lease_token = null, lease_until = null, lease_worker = null, claims = 0, next_attempt_at = null,
         reason = format('Its csr was cancelled while the server was issuing. The server gave the same order to csr %s, which gets the certificate.', o.csr_id)
    from acme_private."order" o
   where w.watched_until is not null and w.account_id = o.account_id and w.url = p_url
     and o.id = p_order and o.lease_token = p_lease;
end
$$;

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
          and reverse(a.url) = any (array(select reverse(u) from jsonb_array_elements_text(p_facts -> 'authorizations') u))))
     order by x.id
       for update;
  end if;
  if v_state <> 'authorizing' then
    perform acme_private.take_over_watch(p_order, p_lease, p_facts ->> 'url');
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
      on conflict (account_id, reverse(url)) do update
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
  if v_state <> 'authorizing' then
    perform acme_private.store_valid_authorizations(o, p_facts -> 'authorizations');
    -- (False: an administrator gave a name to another tenant meanwhile, and the order is cancelled.)
    if not acme_private.own_names(o.tenant, o.identifiers, true) then
      o.unwanted_for := coalesce(o.unwanted_for, 'name_in_use');
    end if;
  end if;
  update acme_private."order"
     set state = v_state, unwanted_for = o.unwanted_for, url = p_facts ->> 'url', finalize_url = p_facts ->> 'finalize_url',
         made_at = coalesce(made_at, v_now), certificate_url = p_facts ->> 'certificate_url', expires_at = (p_facts ->> 'expires_at')::timestamptz,
         next_attempt_at = null, attempts = 0, reason_code = null, reason = null, last_problem = null, claims = 0,
         lease_token = case when v_state = 'authorizing' then null else lease_token end,
         lease_worker = case when v_state = 'authorizing' then null else lease_worker end,
         lease_until = case when v_state = 'authorizing' then null else v_now + acme_private.lease_time() end
   where id = p_order;
  perform acme_private.note('order_created', o.tenant, o.csr_id, p_order, o.account_id, null, p_worker,
                            jsonb_strip_nulls(jsonb_build_object(
                              'url', p_facts ->> 'url', 'status', p_facts ->> 'status', 'replaces', p_facts ->> 'replaces',
                              'replaces_refused', p_facts -> 'replaces_refused')));
  if v_state <> 'authorizing' or o.unwanted_for is not null or (select c.cancel_request is not null from acme.csr c where c.id = o.csr_id) then
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
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

-- One of the authorizations of an order is valid; the last one makes it ready.
create or replace function acme_private.advance(
  p_worker bigint, p_order bigint, a acme_private.authorization, p_take int
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  o acme_private."order";
begin
  select * into o from acme_private."order" x where x.id = p_order;
  perform acme_private.note('authorization_valid', o.tenant, o.csr_id, o.id, a.account_id, null, p_worker,
                            jsonb_build_object('identifier', a.identifier));
  if o.state = 'authorizing' and o.lease_token is null and not exists (
    select from acme_private.order_authorization oa
      join acme_private.authorization x on x.id = oa.authorization_id
     where oa.order_id = o.id and x.state = 'pending'
  ) then
    return acme_private.go_on(p_worker, o.id, 'ready', p_take);
  end if;
  return '[]';
end
$$;
comment on function acme_private.advance(bigint, bigint, acme_private.authorization, int) is
  'Tells an order that an authorization is valid; returns the claim to finalize it, if that was the last one.';

-- The same, where other orders share the authorization. One that raises an error is left to a job, whose claim sets it aside:
-- its csr would have to be locked before the orders.
create or replace function acme_private.advance_or_leave(
  p_worker bigint, p_order bigint, a acme_private.authorization, p_take int
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return acme_private.advance(p_worker, p_order, a, p_take);
exception when others then
  if not acme_private.is_fault_of_row(sqlstate) then
    raise;
  end if;
  raise warning 'pgacme sets order % aside: %', p_order, sqlerrm;
  update acme_private."order" o
     set state = 'ready', is_parked = false, claims = acme_private.claims_allowed()
   where o.id = p_order and o.state = 'authorizing';
  perform acme_private.enqueue('order', p_order);
  return '[]';
end
$$;
comment on function acme_private.advance_or_leave(bigint, bigint, acme_private.authorization, int) is
  'Tells an order that an authorization is valid; one that raises an error is left to be set aside.';

-- The server has the CSR. A certificate URL: download it (a worker that has the URL downloads without this commit,
-- certificate_stored tells what came of both). null: the server still works on it; p_was_sent: since just now.
create or replace function acme_private.order_finalized(
  p_worker bigint, p_order bigint, p_lease uuid, p_certificate_url text, p_was_sent boolean, p_retry_after_ms bigint, p_take int
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
    update acme_private."order"
       set state = case when o.watched_until is null then 'finalizing' else state end,
           waiting_since = case when not p_was_sent then waiting_since end
     where id = p_order;
    perform acme_private.wait_for_server('order', p_order, make_interval(secs => p_retry_after_ms / 1000.0),
                                         'The server is issuing the certificate.', null);
    -- Cancelled since: the csr does not wait for the server any more.
    if o.watched_until is null and (select c.cancel_request is not null from acme.csr c where c.id = o.csr_id) then
      perform acme_private.enqueue('csr', o.csr_id);
    end if;
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
comment on function acme_private.order_finalized(bigint, bigint, uuid, text, boolean, bigint, int) is
  'Stores that the server took the CSR; returns a claim to download.';
