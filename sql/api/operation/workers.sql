-- Workers: signing in, signs of life, and what becomes of the work of one that died.
--
-- A worker is dead when it has given no sign of life for a while and the session that signed it in is gone.
-- PostgreSQL ends a session within milliseconds of the end of its process, and keeps it while the process is
-- merely stopped or slow; then only the leases' own end counts. The proof is pg_stat_activity, which nobody can
-- forge: anyone can take an advisory lock, and so keep a worker from starting or a dead one alive.

-- Whether the session that signed this worker in is still there. When it began is seen by members of
-- pg_read_all_stats only; process and login, which everyone sees, are enough for all but a process of the same
-- login that got the same number, and then the leases run out by themselves.
create or replace function acme_private.is_session_of(w acme_private.worker) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_stat_activity a
     where a.pid = w.backend_pid
       and a.usesysid = w.backend_user
       and a.datname = current_database()
       and (a.backend_start = w.backend_start) is not false)
$$;
comment on function acme_private.is_session_of(acme_private.worker) is
  'Whether the session that signed a worker in is still there.';

-- What a worker's login says of itself is shown to administrators, by psql as it is: bounded, and without characters that act
-- on a terminal. One trigger, whichever function stores it.
create or replace function acme_private.tg_worker__plain() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  new.host := acme_private.plain_text(new.host, 255);
  new.version := acme_private.plain_text(new.version, 50);
  new.environment := acme_private.plain_text(new.environment, 200);
  new.pool_id := acme_private.plain_text(new.pool_id, 200);
  new.http01 := acme_private.plain_text(new.http01, 300);
  new.pid := greatest(new.pid, 0);
  new.concurrency := least(greatest(new.concurrency, 0), 100000);
  return new;
end
$$;
comment on function acme_private.tg_worker__plain() is 'Bounds and cleans what a worker says of itself.';

create or replace trigger _100_plain
  before insert or update of host, pid, version, environment, pool_id, concurrency, http01 on acme_private.worker
  for each row execute function acme_private.tg_worker__plain();

-- Called on the connection that gives the signs of life. replaces: the id under which the same process worked
-- before it lost its session; what that one held is freed at once.
create or replace function acme_private.worker_begin(
  p_host text, p_pid int, p_version text, p_concurrency int, p_replaces bigint
) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_worker bigint;
begin
  perform acme_private.begin_work(false);
  insert into acme_private.worker (host, pid, version, concurrency, backend_pid, backend_user, backend_start)
  select p_host, p_pid, p_version, p_concurrency, a.pid, a.usesysid, a.backend_start
    from pg_stat_activity a
   where a.pid = pg_backend_pid()
  returning id into v_worker;
  -- A standby that was promoted may not know of that row, and have given its id to somebody else, or now.
  perform acme_private.bury(v_worker, w.id, true)
     from acme_private.worker w
    where w.id = p_replaces and w.id <> v_worker and w.host = acme_private.plain_text(p_host, 255) and w.pid = p_pid;
  return v_worker;
end
$$;
comment on function acme_private.worker_begin(text, int, text, int, bigint) is
  'Signs a worker in for as long as this session lasts.';

-- A sign of life; and a look at the others. is_known false: this worker counts as dead, and must start
-- anew before it goes on.
create or replace function acme_private.worker_beat(
  p_worker bigint, p_pool text, p_dead_after interval, p_clock timestamptz
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_dead bigint;
  v_freed int := 0;
begin
  perform acme_private.begin_work(true);
  update acme_private.worker
     set heartbeat_at = clock_timestamp(), pool_id = p_pool, clock_ahead = p_clock - clock_timestamp()
   where id = p_worker and stopped_at is null and lost_at is null;
  if not found then
    return jsonb_build_object('is_known', false, 'contract', acme.version(), 'freed', 0);
  end if;
  -- One at a time: what is enqueued for it are locks that come last (docs/design.md). Another one is the
  -- next beat's.
  select w.id into v_dead
    from acme_private.worker w
   where w.stopped_at is null and w.lost_at is null and w.backend_pid is not null and w.id <> p_worker
     and w.heartbeat_at < clock_timestamp() - p_dead_after
     and not acme_private.is_session_of(w)
   order by w.id
   limit 1
     for update of w skip locked;
  if found then
    -- What it held must not be lost with a commit of ours that nobody waited for.
    perform set_config('synchronous_commit', 'on', true);
    perform set_config('lock_timeout', '2s', true);
    begin
      v_freed := acme_private.bury(p_worker, v_dead);
    exception when lock_not_available or deadlock_detected then
      -- A commit of the dead one lasts, or is met from the other side: the next beat comes back to it.
      null;
    end;
  end if;
  return jsonb_build_object('is_known', true, 'contract', acme.version(), 'freed', v_freed);
end
$$;
comment on function acme_private.worker_beat(bigint, text, interval, timestamptz) is
  'A worker''s sign of life, with the time by its own clock. Frees what dead workers held. Returns {is_known, contract, freed}.';

-- Frees what a dead worker held, its leases and its jobs, and has it worked on at once. Returns how
-- many rows that were. A commit of the dead one that is still under way holds its rows' locks and is
-- waited for; one that comes later meets no lease of its own any more. p_goes_on: its process does, so that
-- nothing that it held killed it, and these claims do not count (acme_private.set_aside).
create or replace function acme_private.bury(p_worker bigint, p_dead bigint, p_goes_on boolean default false) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  w acme_private.worker;
  v_csrs bigint[];
  v_orders bigint[];
  v_authorizations bigint[];
  v_accounts bigint[];
  v_certificates bigint[];
  v_uncounted int := case when p_goes_on then 1 else 0 end;
  v_freed int;
  v_id bigint;
begin
  select * into w from acme_private.worker where id = p_dead and lost_at is null for update;
  if not found then
    return 0;
  end if;
  with held as (
    select s.csr_id from acme_private.csr_state s
     where s.state = 'received' and s.lease_worker = p_dead
     order by s.csr_id
       for update
  ), freed as (
    update acme_private.csr_state s
       set lease_token = null, lease_until = null, lease_worker = null, claims = greatest(s.claims - v_uncounted, 0)
      from held
     where s.csr_id = held.csr_id
    returning s.csr_id
  )
  select coalesce(array_agg(freed.csr_id), '{}') into v_csrs from freed;
  with held as (
    select o.id from acme_private."order" o
     where (o.is_live or o.watched_until is not null) and o.lease_worker = p_dead
     order by o.id
       for update
  ), freed as (
    update acme_private."order" o
       set lease_token = null, lease_until = null, lease_worker = null, claims = greatest(o.claims - v_uncounted, 0)
      from held
     where o.id = held.id
    returning o.id
  )
  select coalesce(array_agg(freed.id), '{}') into v_orders from freed;
  with held as (
    select a.id from acme_private.authorization a
     where a.state in ('new', 'pending', 'deactivating') and a.lease_worker = p_dead
     order by a.id
       for update
  ), freed as (
    update acme_private.authorization a
       set lease_token = null, lease_until = null, lease_worker = null, claims = greatest(a.claims - v_uncounted, 0)
      from held
     where a.id = held.id
    returning a.id
  )
  select coalesce(array_agg(freed.id), '{}') into v_authorizations from freed;
  with held as (
    select a.account_id from acme_private.account_state a
     where a.lease_worker = p_dead
     order by a.account_id
       for update
  ), freed as (
    update acme_private.account_state a
       set lease_token = null, lease_until = null, lease_worker = null, claims = greatest(a.claims - v_uncounted, 0)
      from held
     where a.account_id = held.account_id
    returning a.account_id
  )
  select coalesce(array_agg(freed.account_id), '{}') into v_accounts from freed;

  with held as (
    select k.id from acme_private.certificate k
     where k.state = 'revoking' and k.lease_worker = p_dead
     order by k.id
       for no key update
  ), freed as (
    update acme_private.certificate k
       set lease_token = null, lease_until = null, lease_worker = null, claims = greatest(k.claims - v_uncounted, 0)
      from held
     where k.id = held.id
    returning k.id
  )
  select coalesce(array_agg(freed.id), '{}') into v_certificates from freed;

  v_freed := cardinality(v_csrs) + cardinality(v_orders) + cardinality(v_authorizations) + cardinality(v_accounts)
    + cardinality(v_certificates);
  update acme_private.worker set lost_at = clock_timestamp() where id = p_dead;
  perform acme_private.note('worker_lost', null, p_worker => p_dead, p_detail => jsonb_build_object(
    'host', w.host, 'pid', w.pid, 'heartbeat_at', w.heartbeat_at, 'found_by', p_worker, 'freed', v_freed));

  if w.pool_id is not null then
    -- Its jobs first: what is enqueued below then takes the same job again rather than a second one.
    perform worker_schema.force_unlock_workers(array[w.pool_id]);
  end if;
  -- In the order of reconcile: a job's key is a lock.
  foreach v_id in array v_accounts loop
    perform acme_private.enqueue('account', v_id);
  end loop;
  foreach v_id in array v_authorizations loop
    perform acme_private.enqueue('authorization', v_id);
  end loop;
  foreach v_id in array v_certificates loop
    perform acme_private.enqueue('certificate', v_id);
  end loop;
  foreach v_id in array v_orders loop
    perform acme_private.enqueue('order', v_id);
  end loop;
  perform acme_private.wake_dispatch();
  -- Unlocking tells nobody; this is how graphile-worker's workers hear of jobs.
  perform pg_notify('jobs:insert', jsonb_build_object('r', random(), 'count', 10 + v_freed)::text);
  return v_freed;
end
$$;

-- What a worker found out about itself as it started. opens_keys: null where there was no key to open.
create or replace function acme_private.worker_started_with(p_worker bigint, p_http01 text, p_opens_keys boolean) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$ update acme_private.worker set http01 = p_http01, opens_keys = p_opens_keys where id = p_worker $$;
comment on function acme_private.worker_started_with(bigint, text, boolean) is
  'Stores where a worker answers http-01, and whether its sealing key opens the account keys.';

-- A few keys are enough to tell: a worker with the wrong one opens none.
create or replace function acme_private.keys_to_open() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(jsonb_build_object('account', x.name, 'directory_url', x.directory_url, 'stored', x.jwe)), '[]')
    from (
      select a.name, v.directory_url, k.jwe
        from acme_private.account_key k
        join acme.account a on a.id = k.account_id
        join acme.server v on v.name = a.server
       where k.state = 'current' and k.jwe is not null
       order by k.id desc
       limit 20
    ) x
$$;
comment on function acme_private.keys_to_open() is 'Account keys that a worker tries its sealing key on.';

-- What this worker holds and does not know of, since the answer of the commit that handed it over was lost:
-- leases that are older than p_age and none of p_known. Received csrs are given back here, and the dispatcher
-- woken; the others are returned, for acme_private.release.
create or replace function acme_private.unknown_leases(p_worker bigint, p_known uuid[], p_age interval)
returns table (kind text, id bigint, lease uuid)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_given timestamptz := acme_private.clock() - p_age + acme_private.lease_time();
begin
  perform acme_private.begin_work(false);
  with unknown as (
    select s.csr_id from acme_private.csr_state s
     where s.state = 'received' and s.lease_worker = p_worker and s.lease_until < v_given
       and s.lease_token <> all (p_known)
     order by s.csr_id
       for no key update
  )
  update acme_private.csr_state s
     set lease_token = null, lease_until = null, lease_worker = null
    from unknown
   where s.csr_id = unknown.csr_id;
  if found then
    perform acme_private.wake_dispatch();
  end if;
  return query
  select 'order', o.id, o.lease_token from acme_private."order" o
   where o.is_live and o.lease_worker = p_worker and o.lease_until < v_given and o.lease_token <> all (p_known)
  union all
  select 'authorization', a.id, a.lease_token from acme_private.authorization a
   where a.state in ('new', 'pending', 'deactivating') and a.lease_worker = p_worker and a.lease_until < v_given
     and a.lease_token <> all (p_known)
  union all
  select 'account', a.account_id, a.lease_token from acme_private.account_state a
   where a.lease_worker = p_worker and a.lease_until < v_given and a.lease_token <> all (p_known)
  union all
  select 'certificate', k.id, k.lease_token from acme_private.certificate k
   where k.state = 'revoking' and k.lease_worker = p_worker and k.lease_until < v_given
     and k.lease_token <> all (p_known);
end
$$;
comment on function acme_private.unknown_leases(bigint, uuid[], interval) is
  'What a worker holds without knowing, because an answer was lost. Gives received csrs back; returns the other leases.';

-- The good-bye, on whichever connection: nothing is held any more.
create or replace function acme_private.worker_end(p_worker bigint) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  update acme_private.worker
     set heartbeat_at = clock_timestamp(), stopped_at = clock_timestamp()
   where id = p_worker and lost_at is null
$$;
comment on function acme_private.worker_end(bigint) is 'Signs a worker out.';

create or replace function acme_private.worker_schema() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select i.worker_schema from acme_private.installation i $$;
comment on function acme_private.worker_schema() is 'The schema of the queue.';
