-- How rows wake workers. A job is a wake-up and holds no fact: a kind and an id, or nothing.
-- (worker_schema stands for the schema of graphile-worker.)

-- For the workers' own short commits: one job for each row, by key. add_job answers NULL when it
-- collides with a worker that locks the job at that moment; the wake-up would be lost (measured:
-- 2 to 26 % of collisions without a second call, none with up to four).
create or replace function acme_private.enqueue(p_kind text, p_id bigint, p_due timestamptz default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_step text;
  v_run_at timestamptz;
  v_job bigint;
begin
  -- Far-off work is a row with a time; reconcile finds it.
  if p_due > acme_private.clock() + interval '5 minutes' then
    return;
  end if;
  v_step := case p_kind
    when 'csr' then 'attend'
    when 'order' then coalesce((select m.step from acme_private."order" o
      join acme_private.step m on m.kind = 'order' and m.state = o.state where o.id = p_id), 'cancel')
    when 'authorization' then 'prove'
    when 'certificate' then 'revoke'
    when 'account' then 'register'
  end;
  -- The queue runs on the database's clock, the schedule on ours (a test may move it).
  v_run_at := now() + greatest(p_due - acme_private.clock(), interval '0');
  for i in 1..4 loop
    select j.id into v_job
      from worker_schema.add_job(
        identifier := v_step,
        payload := json_build_object('kind', p_kind, 'id', p_id),
        run_at := v_run_at,
        job_key := 'pgacme:' || p_kind || ':' || p_id) j;
    exit when v_job is not null;
  end loop;
end
$$;
comment on function acme_private.enqueue(text, bigint, timestamptz) is
  'Wakes a worker for this row, at once or when it is due. Only for short transactions of workers.';

-- For whatever runs in an application's transaction: without a key, since a keyed job is a lock
-- that lasts as long as that transaction; and never a reason for it to fail (reconcile looks anyway).
create or replace function acme_private.wake_dispatch() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform worker_schema.add_job(identifier := 'dispatch', payload := '{}'::json);
exception when others then
  raise warning 'pgacme could not wake a worker (%); the work is picked up within a minute', sqlerrm;
end
$$;

create or replace function acme_private.wake_rows(p_step text, p_kind text, p_ids bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform worker_schema.add_jobs(array(
    select row(p_step, json_build_object('kind', p_kind, 'id', id), null, null, null, null, null, null)::worker_schema.job_spec
      from unnest(p_ids) id));
exception when others then
  raise warning 'pgacme could not wake a worker (%); the work is picked up within a minute', sqlerrm;
end
$$;

-- An application that inserts row by row adds a dispatch for each row, and all other jobs would wait behind them. The dispatch
-- that runs does their work: it reads after it has deleted them, and so sees all that was committed with them. Only the next 200
-- jobs are read, by an index, however long the queue is.
create or replace function acme_private.forget_waiting_dispatches() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  delete from worker_schema._private_jobs j
   where j.id in (
     select x.id
       from worker_schema._private_jobs x
      where x.id = any (array(
              select y.id from worker_schema._private_jobs y where y.is_available order by y.priority, y.run_at limit 200))
        and x.task_id = (select t.id from worker_schema._private_tasks t where t.identifier = 'dispatch')
        and x.is_available and x.key is null and x.run_at <= now()
        for update of x skip locked);
end
$$;
comment on function acme_private.forget_waiting_dispatches() is 'Takes dispatches out of the queue that the one which runs does the work of.';

-- A dispatch at a time, once for each occasion: workers only, and last of all in a transaction, since a
-- job's key is a lock until the commit.
create or replace function acme_private.dispatch_at(p_due timestamptz, p_occasion text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := 'pgacme:dispatch:' || p_occasion;
  v_run_at timestamptz := now() + greatest(p_due - acme_private.clock(), interval '0');
  v_job bigint;
begin
  for i in 1..4 loop
    select j.id into v_job
      from worker_schema.add_job(identifier := 'dispatch', payload := '{}'::json, run_at := v_run_at, job_key := v_key) j;
    exit when v_job is not null;
  end loop;
end
$$;

-- The first line of every function that workers call and that changes states: what follows is woken
-- by the function itself. is_async: lost by a crash of PostgreSQL, all of it is found and done again.
-- Workers wait for each other only, and shortly; what lasts longer is tried again as a job. (Set here
-- and not by the connection, since a pooler does not pass such settings on.) Every statement of theirs
-- finds its rows by a key or in an index's order, and is planned like that whatever the statistics say:
-- they are of another time for tables that a burst fills, and a plan that was made for ten rows reads and
-- sorts ten thousand until autovacuum comes by.
create or replace function acme_private.begin_work(is_async boolean) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('acme_private.quiet', 'on', true), set_config('lock_timeout', '10s', true),
          set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
          set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
          -- What cannot be done otherwise counts as very dear up to PostgreSQL 17, and would be compiled.
          set_config('jit', 'off', true),
          -- A statement that ends holds its locks until the message that ends its transaction, which a network that
          -- freezes may keep. (Before PostgreSQL 17 nothing bounds that but the end of the connection.)
          case when current_setting('server_version_num')::int >= 170000 then set_config('transaction_timeout', '60s', true) end;
  if is_async then
    perform set_config('synchronous_commit', 'off', true);
  end if;
end
$$;
