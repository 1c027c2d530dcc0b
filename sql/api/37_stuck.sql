-- acme.stuck: what should move and does not.

-- Since when nobody holds a row: null while somebody does, -infinity if nobody ever did since its last
-- commit, else when the lease ran out. All that a reader gets to know of leases, for rows that it may see.
create or replace function acme_private.unheld_since(p_kind text, p_id bigint) returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_until timestamptz;
begin
  case p_kind
    when 'order' then
      select coalesce(o.lease_until, '-infinity') into v_until from acme_private."order" o where o.id = p_id;
    when 'authorization' then
      select coalesce(a.lease_until, '-infinity') into v_until from acme_private.authorization a where a.id = p_id;
    when 'csr' then
      select coalesce(s.lease_until, '-infinity') into v_until from acme_private.csr_state s where s.csr_id = p_id;
    when 'account' then
      select coalesce(a.lease_until, '-infinity') into v_until from acme_private.account_state a where a.account_id = p_id;
  end case;
  return case when v_until < acme_private.clock() then v_until end;
end
$$;
comment on function acme_private.unheld_since(text, bigint) is
  'Since when nobody has the lease of a row: null while somebody has, -infinity for a row that waits to be taken.';

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

-- Jobs that the queue gave up. reconcile and tidy come again by themselves: theirs count only while the
-- last run is the one that failed.
create or replace function acme_private.failed_jobs() returns table (id bigint, task text, kind text, row_id bigint, failed_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select j.id::bigint, t.identifier::text, j.payload ->> 'kind',
         case when j.payload ->> 'id' ~ '^[0-9]{1,18}$' then (j.payload ->> 'id')::bigint end, j.updated_at
    from worker_schema._private_jobs j
    join worker_schema._private_tasks t on t.id = j.task_id
   where j.attempts >= j.max_attempts
     and j.locked_at is null
     and (t.identifier not in ('reconcile', 'tidy') or j.updated_at > now() - interval '2 minutes');
end
$$;
comment on function acme_private.failed_jobs() is 'The jobs that the queue will not try again.';

-- A row each. Whatever has a visible reason to wait (acme.csr_status, acme.account_status) is not here.
-- late: what was due before it and is held by nobody has been missed; reconcile looks every minute.
-- The last event of a csr tells when its order moved: it may have become due long after it was made.
create or replace view acme.stuck with (security_invoker = true) as
with clock as (
  select acme_private.clock() as now, acme_private.clock() - interval '2 minutes' as late
), watcher as (
  -- Accounts and jobs belong to no tenant.
  select pg_has_role(current_user, 'acme_reader', 'usage') or pg_has_role(current_user, 'acme_admin', 'usage') as is_watcher
), work as (
  select 'order' as kind, o.id, o.csr_id, o.tenant, o.reason_code, o.next_attempt_at,
         coalesce(o.next_attempt_at, m.moved_at) as due, acme_private.unheld_since('order', o.id) as unheld
    from acme_private."order" o
   cross join lateral (
     select greatest(o.created_at, (select e.at from acme_private.event e where e.csr_id = o.csr_id order by e.id desc limit 1)) as moved_at
   ) m
   where o.is_live
     -- In authorizing it is the authorizations that are worked on, as long as one is to be proved.
     and (o.state <> 'authorizing'
          or o.expires_at < (select k.late from clock k)
          or not exists (
            select from acme_private.order_authorization oa
              join acme_private.authorization a on a.id = oa.authorization_id
             where oa.order_id = o.id and a.state = 'pending'))
  union all
  select 'authorization', a.id, o.csr_id, a.tenant, a.reason_code, a.next_attempt_at,
         coalesce(a.next_attempt_at, greatest(a.updated_at, o.moved_at)), acme_private.unheld_since('authorization', a.id)
    from acme_private.authorization a
   cross join lateral (
     select x.csr_id,
            greatest(x.created_at, (select e.at from acme_private.event e where e.csr_id = x.csr_id order by e.id desc limit 1)) as moved_at
       from acme_private.order_authorization oa
       join acme_private."order" x on x.id = oa.order_id
      where oa.authorization_id = a.id and x.is_live
      order by x.id
      limit 1
   ) o
   where a.state = 'pending'
     and not exists (
       select from acme_private.challenge c
         join acme_private.record r on r.challenge_id = c.id
        where c.authorization_id = a.id and c.state in ('pending', 'processing')
          and r.method = 'manual' and r.state = 'intended')
  union all
  select 'csr', s.csr_id, s.csr_id, s.tenant, s.reason_code, s.next_attempt_at,
         coalesce(s.next_attempt_at, s.updated_at), acme_private.unheld_since('csr', s.csr_id)
    from acme_private.csr_state s
    join acme.csr c on c.id = s.csr_id
    left join acme.account d on d.is_default
   where s.state = 'received'
     and coalesce(c.account, d.name) is not null
     and (s.reason_code = 'set_aside'
          or coalesce(s.next_attempt_at, s.updated_at) < (select k.late from clock k) and not (select acme_private.is_judging()))
  union all
  select 'account', a.account_id, null, null, a.reason_code, a.next_attempt_at,
         coalesce(a.next_attempt_at, a.updated_at), acme_private.unheld_since('account', a.account_id)
    from acme_private.account_state a
   where a.state in ('new', 'registering')
     and (select w.is_watcher from watcher w)
)
select w.kind, w.id, w.csr_id, w.tenant,
       case when v.code = 'set_aside' then w.next_attempt_at - interval '1 hour' else greatest(w.due, w.unheld) end as since,
       v.code as reason_code,
       case v.code
         when 'set_aside' then format('Several workers in a row gave it up without a result. It is taken again at %s. Look into the workers'' logs for what ends them.', to_char(w.next_attempt_at, 'YYYY-MM-DD HH24:MI:SS TZ'))
         when 'lease_ran_out' then 'The worker that had it is gone, and no other has taken it. If none runs (acme.worker_status), start one; else look into their logs.'
         else 'It is due, and no worker has taken it. If none runs (acme.worker_status), start one; else look into their logs.'
       end as reason
  from work w
 cross join clock k
 cross join lateral (
   select case
     when w.reason_code = 'set_aside' and w.next_attempt_at > k.now then 'set_aside'
     when w.unheld < k.late and w.due < k.late then case when w.unheld > '-infinity' then 'lease_ran_out' else 'not_taken' end
   end as code
 ) v
 where v.code is not null
union all
-- Renewals and new tries that nobody has begun.
select 'csr', s.csr_id, s.csr_id, s.tenant, s.renew_at, 'renewal_not_begun' as reason_code,
       'Its renewal is due and no worker has begun it. If none runs (acme.worker_status), start one; else look into their logs.'
  from acme_private.csr_state s
 where s.state = 'issued' and s.renew_at < (select k.late from clock k)
union all
select 'csr', s.csr_id, s.csr_id, s.tenant, s.next_attempt_at, 'not_taken',
       'Its next try is due and no worker has begun it. If none runs (acme.worker_status), start one; else look into their logs.'
  from acme_private.csr_state s
 where s.state = 'retrying' and s.next_attempt_at < (select k.late from clock k)
union all
-- Queued although its server and account are open, there is room, and nothing was admitted lately.
select 'csr', s.csr_id, s.csr_id, s.tenant, greatest(s.queued_at, s.next_attempt_at), 'not_taken',
       'It is its turn, and no worker has made its order. If none runs (acme.worker_status), start one; else look into their logs.'
  from acme.server v
  join acme_private.account_state t on t.server_id = v.id and t.state = 'valid'
  join acme.account a on a.id = t.account_id and a.paused_at is null
 cross join lateral (
   select count(*) filter (where not o.is_parked) as in_flight, max(o.created_at) as last_at
     from acme_private."order" o
    where o.server_id = v.id and o.is_live
 ) f
  join acme_private.csr_state s on s.server_id = v.id and s.account_id = a.id
 where v.paused_at is null
   and s.state in ('queued', 'renewing') and s.order_id is null
   and s.queued_at < (select k.late from clock k)
   and f.in_flight < v.max_orders_in_flight
   and coalesce(f.last_at < (select k.late from clock k), true)
   and not exists (
     select from acme_private.closure l
      where l.server_id = v.id and (l.account_id is null or l.account_id = a.id)
        and l.until > (select k.late from clock k))
   and not exists (
     select from acme_private."order" o
      where o.is_live and o.account_id = a.id and o.identifiers = s.identifiers
        and coalesce(o.profile, '') = coalesce(s.profile, ''))
union all
-- Requests that nobody has seen. While an order is under way only a cancellation is acted on.
select 'request', q.id, q.csr_id, s.tenant, q.created_at, 'request_not_seen' as reason_code,
       'A retry, renewal or cancellation was asked for, and no worker has seen that. If none runs (acme.worker_status), start one; else look into their logs.'
  from acme_private.request q
  join acme_private.csr_state s on s.csr_id = q.csr_id
  left join acme_private."order" o on o.id = s.order_id
 where q.created_at < (select k.late from clock k)
   and case when s.order_id is null then acme_private.unheld_since('csr', s.csr_id) < (select k.late from clock k)
            else o.state in ('creating', 'authorizing', 'ready')
                 and exists (select from acme.csr c where c.id = s.csr_id and c.cancel_request is not null)
                 and acme_private.unheld_since('order', o.id) < (select k.late from clock k)
       end
union all
select 'record', r.id, x.csr_id, r.tenant, r.updated_at, 'not_published' as reason_code,
       format('It waits to be %s by hand (acme.challenge_todo, id %s). Do that, then call acme.%s(%s).',
              case r.state when 'intended' then 'published' else 'removed' end, r.id,
              case r.state when 'intended' then 'challenge_published' else 'challenge_removed' end, r.id)
  from acme_private.record r
  left join acme_private.challenge c on c.id = r.challenge_id
  left join lateral (
    select o.csr_id
      from acme_private.order_authorization oa
      join acme_private."order" o on o.id = oa.order_id
     where oa.authorization_id = c.authorization_id
     order by o.id desc
     limit 1
  ) x on true
 where r.method = 'manual' and r.state in ('intended', 'removing')
   and r.updated_at < (select k.now from clock k) - interval '1 day'
union all
select 'job', j.id, case when j.kind = 'csr' then j.row_id end, null, j.failed_at, 'job_failed' as reason_code,
       format('The queue gave up a job of step %s%s. Its row is woken again by reconcile; the workers'' logs say what failed.',
              j.task, coalesce(format(' (%s %s)', j.kind, j.row_id), ''))
  from acme_private.failed_jobs() j
 where (select w.is_watcher from watcher w);
comment on view acme.stuck is
  'What should move and does not, a row each: since when, why, and what to do. Empty when all is well.';
