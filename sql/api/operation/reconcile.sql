-- Jobs that the queue gave up: a row that needs something was woken by the same key, which gives a job new
-- tries. What is left of them wakes nobody that is needed.
create or replace function acme_private.forget_failed_jobs() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  delete from worker_schema._private_jobs j
   where j.id in (
     select x.id from worker_schema._private_jobs x
       join worker_schema._private_tasks t on t.id = x.task_id
      where x.attempts >= x.max_attempts and x.locked_at is null
        and (t.identifier not in ('reconcile', 'tidy', 'features') or x.updated_at < now() - interval '2 minutes')
        for update of x skip locked);
end
$$;
comment on function acme_private.forget_failed_jobs() is 'Removes the jobs that the queue gave up.';

-- Each minute: whatever should be moving and is not. Nothing here is needed while all goes well, except
-- that renewals and far-off retries become due.

create or replace function acme_private.reconcile() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  -- Jobs that were just added have this long to be found before they count as lost.
  v_late timestamptz := acme_private.clock() - interval '10 seconds';
  v_open bigint[];
  v_ready bigint[] := '{}';
  v_csrs bigint[];
  r record;
begin
  -- A copy stays as it is until it is adopted.
  if acme_private.is_held(null) then
    return;
  end if;
  -- One at a time; a second one finds nothing to do.
  perform from acme_private.lock where name = 'reconcile' for update skip locked;
  if not found then
    return;
  end if;
  perform acme_private.begin_work(false);

  -- Orders whose authorizations are all decided and that nobody took further, and those that the server
  -- has let expire meanwhile.
  v_open := array(
    select o.id from acme_private."order" o
     where o.is_live and o.lease_token is null and o.state = 'authorizing'
       and (o.expires_at < v_now or not exists (
         select from acme_private.order_authorization oa
           join acme_private.authorization a on a.id = oa.authorization_id
          where oa.order_id = o.id and a.state = 'pending')));
  perform acme_private.lock_with_csrs(v_open);
  for r in
    select o.id,
           o.expires_at >= v_now is not false and not exists (
             select from acme_private.order_authorization oa
               join acme_private.authorization a on a.id = oa.authorization_id
              where oa.order_id = o.id and a.state <> 'valid') as is_proved,
           o.expires_at < v_now is true or not exists (
             select from acme_private.order_authorization oa
               join acme_private.authorization a on a.id = oa.authorization_id
              where oa.order_id = o.id and a.state = 'pending') as is_decided
      from acme_private."order" o
     where o.id = any (v_open) and o.is_live and o.lease_token is null and o.state = 'authorizing'
     order by o.csr_id
  loop
    continue when not r.is_decided;
    if r.is_proved then
      update acme_private."order" set state = 'ready', is_parked = false
       where id = r.id and state = 'authorizing' and lease_token is null;
      v_ready := v_ready || r.id;
    else
      perform acme_private.end_order_anyhow(null, o, 'gone', 'order_gone', 'The order ended at the server before its names were proved.', null, null)
         from acme_private."order" o
        where o.id = r.id;
    end if;
  end loop;

  -- Authorizations that no order came to need, or that were still to be given up: servers forget them, and so do we.
  with ended as (
    update acme_private.authorization a
       set state = 'expired', lease_token = null, lease_until = null, lease_worker = null, next_attempt_at = null, updated_at = v_now,
           expires_at = case when a.state = 'deactivating' then coalesce(a.expires_at, v_now) else a.expires_at end,
           reason_code = case when a.is_preauthorization then 'authorization_expired' end,
           reason = case when a.is_preauthorization then 'It expired at the server before it was proved.' end
     where a.state in ('pending', 'deactivating') and (a.lease_token is null or a.lease_until < v_now)
       and coalesce(a.expires_at, a.created_at + case a.state when 'deactivating' then interval '400 days' else interval '30 days' end) < v_now
       and (a.state = 'deactivating' or not acme_private.is_ordered(a.id))
    returning a.*
  )
  insert into acme_private.event (event, tenant, account_id, detail)
  select 'authorization_failed', e.tenant, e.account_id,
         jsonb_build_object('authorization_id', e.id, 'identifier', e.identifier, 'reason', e.reason)
    from ended e
   where e.is_preauthorization;

  -- Records by hand that no order needs any more, passed over because someone held them.
  perform acme_private.unpublish(c.authorization_id)
     from acme_private.record x
     join acme_private.challenge c on c.id = x.challenge_id
    where x.state in ('intended', 'published') and x.updated_at < v_late
      and not acme_private.is_needed(c.authorization_id);

  -- Nothing is left to revoke.
  with expired as (
    update acme_private.certificate k
       set state = 'expired', lease_token = null, lease_until = null, lease_worker = null, next_attempt_at = null
     where k.state = 'revoking' and k.not_after <= v_now and (k.lease_token is null or k.lease_until < v_now)
    returning k.csr_id, k.ends_csr
  )
  select array_agg(e.csr_id) into v_csrs from expired e where e.ends_csr;
  if v_csrs is not null then
    perform acme_private.remind(v_csrs);
  end if;

  -- Due retries and renewals, up to 10,000 a minute.
  with due as (
    select s.csr_id from acme_private.csr_state s
     where s.state = 'retrying' and s.next_attempt_at <= v_now
     order by s.next_attempt_at limit 10000
       for no key update skip locked
  )
  update acme_private.csr_state s
     set state = case when s.certificate_id is null then 'queued' else 'renewing' end,
         queued_at = v_now, next_attempt_at = null, reason_code = null, reason = null
    from due where s.csr_id = due.csr_id;
  with due as (
    select s.csr_id from acme_private.csr_state s
     where s.state = 'issued' and s.renew_at <= v_now
       -- heed() would hold it back
       and not exists (select from acme_private.certificate k
                        where k.id = s.certificate_id and k.ends_csr and k.state = 'revoking')
     order by s.renew_at limit 10000
       for no key update skip locked
  ), moved as (
    update acme_private.csr_state s
       set state = 'renewing', queued_at = v_now, updated_at = v_now, renewal_reason = 'its lifetime is nearly over'
      from due where s.csr_id = due.csr_id
    returning s.csr_id, s.tenant, s.account_id, s.certificate_id
  )
  insert into acme_private.event (event, tenant, csr_id, account_id, certificate_id, detail)
  select 'renewal_due', m.tenant, m.csr_id, m.account_id, m.certificate_id,
         jsonb_build_object('reason', 'its lifetime is nearly over')
    from moved m;

  perform acme_private.apply_resumes();
  perform acme_private.release_limited();
  delete from acme_private.closure c
   where c.until <= v_now
     and not exists (select from acme_private.csr_state s
                      where s.cooldown_id = c.id and s.state = 'retrying' and s.reason_code = 'limited');
  delete from acme_private.paused_csr p
   where not exists (select from acme_private.csr_state s
                      where s.csr_id = p.csr_id and s.state = 'needs_person' and s.reason_code = 'name_paused');
  -- Reminders of csrs that are gone.
  delete from acme_private.request q
   where not exists (select from acme_private.csr_state s where s.csr_id = q.csr_id);
  perform acme_private.forget_dropped_roles();
  delete from acme_private.worker where coalesce(stopped_at, lost_at, heartbeat_at) < now() - interval '1 day';

  -- Leases that ran out: their holders are gone, or too slow to be believed.
  for r in
    select 'order' as kind, o.id from acme_private."order" o where o.is_live and o.lease_until < v_now
    union all
    select 'order', o.id from acme_private."order" o
     where o.watched_until is not null
       and (o.lease_until < v_now or o.lease_token is null and coalesce(o.next_attempt_at, o.finished_at) < v_late)
    union all
    select 'authorization', a.id from acme_private.authorization a
     where a.state in ('new', 'pending', 'deactivating') and a.lease_until < v_now
       and (a.state = 'deactivating' or acme_private.is_needed(a.id))
    union all
    select 'account', a.account_id from acme_private.account_state a where a.lease_until < v_now
    union all
    select 'certificate', k.id from acme_private.certificate k where k.state = 'revoking' and k.lease_until < v_now
    -- Wake-ups that got lost: due, held by nobody.
    union all
    select 'order', o.id from acme_private."order" o
      join acme.csr c on c.id = o.csr_id
     where o.is_live and o.lease_token is null
       and (o.state <> 'authorizing' and coalesce(o.next_attempt_at, o.created_at) < v_late
            or o.state in ('creating', 'authorizing', 'ready') and (o.is_unwanted or c.cancel_request is not null))
    union all
    select 'order', i from unnest(v_ready) i
    union all
    select 'authorization', a.id from acme_private.authorization a
     where a.state in ('new', 'pending', 'deactivating') and a.lease_token is null
       and coalesce(a.next_attempt_at, a.updated_at) < v_late
       and (a.state = 'deactivating' or not acme_private.waits_for_publication(a.id) and acme_private.is_needed(a.id))
    union all
    -- (With one for each registered domain there may be tens of thousands: up to 1,000 a minute, the longest wait first.)
    (select 'account', a.account_id from acme_private.account_state a
       join acme.account c on c.id = a.account_id
       join acme.server v on v.id = a.server_id and v.paused_at is null
      where a.lease_token is null
        and (c.version > a.seen_version and a.state not in ('deactivated', 'revoked')
             or coalesce(a.next_attempt_at, a.updated_at) < v_late and acme_private.account_work(a.account_id) is not null)
      order by case when c.version > a.seen_version then a.updated_at else coalesce(a.next_attempt_at, a.updated_at) end
      limit 1000)
    union all
    select 'certificate', k.id from acme_private.certificate k
     where k.state = 'revoking' and k.lease_token is null and coalesce(k.next_attempt_at, k.revoking_since) < v_late
    union
    select 'certificate', q.certificate_id from acme.revocation_request q where q.created_at < v_late
    union
    select 'authorization', q.authorization_id from acme.deactivation_request q where q.created_at < v_late
     order by kind, id
  loop
    perform acme_private.enqueue(r.kind, r.id);
  end loop;
  -- Requests that nobody has seen, also that another account takes the place of an order's. Whoever has the csr
  -- locked sees to them, and may have its job locked.
  for r in
    select s.csr_id
      from acme_private.csr_state s
     where s.csr_id in (select q.csr_id from acme_private.request q)
       and s.lease_token is null
       and (s.order_id is null or exists (
         select from acme_private."order" o
          where o.id = s.order_id
            and (o.state in ('creating', 'authorizing') and not o.is_unwanted and acme_private.is_moved(o.id)
                 or o.state in ('finalizing', 'downloading') and (
                   select c.cancel_request is not null from acme.csr c where c.id = o.csr_id))))
     order by s.csr_id
       for no key update skip locked
  loop
    perform acme_private.enqueue('csr', r.csr_id);
  end loop;
  perform acme_private.forget_failed_jobs();

  if exists (select from acme_private.csr_state where state = 'received')
     or exists (select from acme_private.csr_state where state in ('queued', 'renewing') and order_id is null) then
    perform acme_private.wake_dispatch();
  end if;
  perform acme_private.lapse_names();
end
$$;
comment on function acme_private.reconcile() is
  'Wakes what should be moving and is not: expired leases, lost wake-ups, due retries and renewals.';
