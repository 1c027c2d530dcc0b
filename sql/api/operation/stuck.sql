-- acme.stuck: what should move and does not. Whatever has a visible reason to wait (acme.csr_status,
-- acme.account_status) is not in it.
--
-- The view acme_private.stuck_row lists the rows that are under way, by partial indexes; functions say of one row after
-- the other whether it is neglected, since that needs leases, which are granted to nobody. They tell nothing else
-- about a lease. acme_private.stuck_rows has them for one tenant or for readers of all.

-- What was due before it and is held by nobody has been missed: reconcile looks every minute.
create or replace function acme_private.late() returns timestamptz
language sql stable
return acme_private.clock() - interval '2 minutes';
comment on function acme_private.late() is 'What has been due since before this time, somebody should have taken.';

-- No row for one that is well. csr_id: the csr that it is for.
create or replace function acme_private.neglect(p_kind text, p_id bigint)
returns table (csr_id bigint, since timestamptz, reason_code text, reason text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_late timestamptz := acme_private.late();
  v_due timestamptz;
  v_next timestamptz;
  v_until timestamptz;
  v_code text;
begin
  -- The last event of a csr tells when its order moved: it may have come to be due long after it was made.
  -- In authorizing it is the authorizations that are worked on, as long as one is to be proved.
  case p_kind
    when 'order' then
      select o.csr_id, o.next_attempt_at, o.lease_until, o.reason_code,
             case when o.watched_until is not null then coalesce(o.next_attempt_at, o.finished_at)
                  when o.state <> 'authorizing' or o.expires_at < v_late
                       or not exists (
                         select from acme_private.order_authorization oa
                           join acme_private.authorization a on a.id = oa.authorization_id
                          where oa.order_id = o.id and a.state = 'pending')
                  then coalesce(o.next_attempt_at, greatest(o.created_at, acme_private.last_event_at(o.csr_id))) end
        into csr_id, v_next, v_until, v_code, v_due
        from acme_private."order" o
       where o.id = p_id;
    when 'authorization' then
      select o.csr_id, a.next_attempt_at, a.lease_until, a.reason_code,
             case when a.state = 'deactivating' then coalesce(a.next_attempt_at, a.updated_at)
                  when (o.id is not null or a.is_preauthorization) and not acme_private.waits_for_publication(a.id) then
               coalesce(a.next_attempt_at, greatest(a.updated_at, o.created_at, acme_private.last_event_at(o.csr_id))) end
        into csr_id, v_next, v_until, v_code, v_due
        from acme_private.authorization a
        left join (acme_private.order_authorization oa
                   join acme_private."order" o on o.id = oa.order_id and o.is_live) on oa.authorization_id = a.id
       where a.id = p_id
       order by o.id
       limit 1;
    when 'csr' then
      select s.csr_id, s.next_attempt_at, s.lease_until, s.reason_code, coalesce(s.next_attempt_at, s.updated_at)
        into csr_id, v_next, v_until, v_code, v_due
        from acme_private.csr_state s
       where s.csr_id = p_id;
    when 'certificate' then
      select k.csr_id, k.next_attempt_at, k.lease_until, k.reason_code, coalesce(k.next_attempt_at, k.revoking_since)
        into csr_id, v_next, v_until, v_code, v_due
        from acme_private.certificate k
       where k.id = p_id;
    when 'account' then
      select null, a.next_attempt_at, a.lease_until, a.reason_code, coalesce(a.next_attempt_at, a.updated_at)
        into csr_id, v_next, v_until, v_code, v_due
        from acme_private.account_state a
       where a.account_id = p_id;
  end case;
  if v_code = 'set_aside' and v_next > acme_private.clock() then
    since := v_next - interval '1 hour';
    reason_code := 'set_aside';
    reason := format('It ended several workers in a row, or PostgreSQL raised an error for it. It is taken again at %s. Look into the workers'' logs, and PostgreSQL''s.',
                     to_char(v_next, 'YYYY-MM-DD HH24:MI:SS TZ'));
    return next;
  elsif v_due < v_late and coalesce(v_until < v_late, true) then
    since := greatest(v_due, v_until);
    if v_until is not null then
      reason_code := 'lease_ran_out';
      reason := 'The worker that had it is gone, and no other has taken it. If none runs (acme.worker_status), start one; else look into their logs.';
    else
      reason_code := 'not_taken';
      reason := 'It is due, and no worker has taken it. If none runs (acme.worker_status), start one; else look into their logs.';
    end if;
    return next;
  end if;
end
$$;
comment on function acme_private.neglect(text, bigint) is
  'Whether a row under way is neglected: set aside, or due and held by nobody; since when, and what to do.';

-- Received csrs are judged oldest first, batch after batch: while somebody holds one, the others wait their turn.
create or replace function acme_private.is_judging() returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private.csr_state s
     where s.state = 'received' and s.claims > 0 and s.lease_until > acme_private.clock());
end
$$;
comment on function acme_private.is_judging() is 'Is a worker judging received csrs at this moment?';

-- Places are counted over all tenants. Whoever has just taken an order comes back for more.
create or replace function acme_private.has_idle_places(p_server bigint) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select count(*) filter (where not o.is_parked) < (select s.max_orders_in_flight from acme.server s where s.id = p_server)
           and coalesce(max(o.created_at) < acme_private.late(), true)
      from acme_private."order" o
     where o.server_id = p_server and o.is_live);
end
$$;
comment on function acme_private.has_idle_places(bigint) is
  'Has a server free places, and has no order been admitted for too long?';

-- While an order is under way only a cancellation and another account are acted on; the rest waits for its end, and
-- so do these where its reason says that nobody has its account's key. limit 1 keeps the look-ups one by one, whatever
-- the planner believes of a table that is empty most of the time.
create or replace function acme_private.unseen_requests() returns table (id bigint, csr_id bigint, created_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_late timestamptz := acme_private.late();
begin
  return query
  select q.id, q.csr_id, q.created_at
    from acme_private.request q
   cross join lateral (
     select s.order_id, s.lease_until from acme_private.csr_state s where s.csr_id = q.csr_id limit 1
   ) s
   where q.created_at < v_late
     and case when s.order_id is null then coalesce(s.lease_until < v_late, true)
              else exists (
                select from acme_private."order" o
                  join acme.csr c on c.id = o.csr_id
                 where o.id = s.order_id and coalesce(o.lease_until < v_late, true)
                   and (o.state in ('creating', 'authorizing') and (c.cancel_request is not null or acme_private.is_moved(o.id))
                        or o.state in ('finalizing', 'downloading') and c.cancel_request is not null
                        or o.state = 'ready' and c.cancel_request is not null
                           and (o.reason_code in ('secret_key_wrong', 'account_not_ready')) is not true)) end;
end
$$;
comment on function acme_private.unseen_requests() is 'Requests of applications that no worker has seen for too long.';

-- reconcile, tidy and features come again by themselves: theirs count only while the last run is the one that failed.
create or replace function acme_private.failed_jobs() returns table (id bigint, task text, kind text, row_id bigint, failed_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select j.id::bigint, acme_private.plain_text(t.identifier, 40), acme_private.plain_text(p.payload ->> 'kind', 40),
         case when p.payload ->> 'id' ~ '^[0-9]{1,18}$' then (p.payload ->> 'id')::bigint end, j.updated_at
    from worker_schema._private_jobs j
    join worker_schema._private_tasks t on t.id = j.task_id
    -- A worker's login writes what it likes: json takes escapes that no text can have, and no payload of ours has one.
   cross join lateral (select case when strpos(j.payload::text, chr(92)) = 0 then j.payload end as payload) p
   where j.attempts >= j.max_attempts
     and j.locked_at is null
     and (t.identifier not in ('reconcile', 'tidy', 'features') or j.updated_at > now() - interval '2 minutes');
end
$$;
comment on function acme_private.failed_jobs() is 'The jobs that the queue will not try again.';
