-- Workers, and rows that should move and do not.

create or replace view acme.worker_status with (security_invoker = true) as
select w.id, w.host, w.pid, w.version, w.concurrency, w.started_at, w.heartbeat_at,
       case when w.stopped_at is not null then 'stopped'
            when w.lost_at is not null then 'lost'
            -- Found dead by whoever looks: with no other worker nobody has written that down.
            when w.heartbeat_at < now() - interval '10 seconds' and not acme_private.is_session_of(w) then 'lost'
            when w.heartbeat_at < now() - interval '30 seconds' then 'silent'
            when w.opens_keys is false then 'wrong_key'
            else 'running' end as state,
       w.http01, w.clock_ahead
  from acme_private.worker w;
comment on view acme.worker_status is
  'The workers: running, stopped in good order, lost (its process or its connection is gone; what it held is freed), silent (no sign of life for 30 s), or wrong_key (it runs, and its sealing key opens no account key).';
comment on column acme.worker_status.id is 'Given by the database.';
comment on column acme.worker_status.host is 'The machine that it runs on.';
comment on column acme.worker_status.pid is 'Its process id there.';
comment on column acme.worker_status.version is 'Its version of pgacme.';
comment on column acme.worker_status.concurrency is 'How many jobs it does at once.';
comment on column acme.worker_status.started_at is 'When it signed in.';
comment on column acme.worker_status.heartbeat_at is 'When it was heard of last.';
comment on column acme.worker_status.state is 'running, stopped, lost, silent or wrong_key.';
comment on column acme.worker_status.http01 is 'Where it answers http-01; null: it does not.';
comment on column acme.worker_status.clock_ahead is 'How far its clock is ahead of the database''s; negative: behind.';

-- With its owner's rights, for the function below alone. While the database is held as a copy nothing should move.
create or replace view acme_private.stuck_row as
select s.kind, s.id, s.csr_id, s.tenant, s.since, s.reason_code, s.reason
  from (
  select 'order' as kind, o.id, n.csr_id, o.tenant, n.since, n.reason_code, n.reason
    from acme_private."order" o
   cross join lateral acme_private.neglect('order', o.id) n
   where o.is_live or o.watched_until is not null
  union all
  select 'authorization', a.id, n.csr_id, a.tenant, n.since, n.reason_code, n.reason
    from acme_private.authorization a
   cross join lateral acme_private.neglect('authorization', a.id) n
   where a.state in ('new', 'pending', 'deactivating')
  union all
  select 'authorization', q.authorization_id, null, q.tenant, q.created_at, 'request_not_seen' as reason_code,
         'Its deactivation was asked for, and no worker has seen that. If none runs (acme.worker_status), start one; else look into their logs.'
    from acme.deactivation_request q
   where q.created_at < (select acme_private.late())
  union all
  select 'csr', s.csr_id, s.csr_id, s.tenant, n.since, n.reason_code, n.reason
    from acme_private.csr_state s
    join acme.csr c on c.id = s.csr_id
   cross join lateral acme_private.neglect('csr', s.csr_id) n
   where s.state = 'received'
     and (c.account is not null or (select acme_private.has_default_account()))
     and (s.reason_code = 'set_aside'
          or coalesce(s.next_attempt_at, s.updated_at) < (select acme_private.late()) and not (select acme_private.is_judging()))
  union all
  select 'certificate', k.id, n.csr_id, k.tenant, n.since, n.reason_code, n.reason
    from acme_private.certificate k
   cross join lateral acme_private.neglect('certificate', k.id) n
   where k.state = 'revoking'
  union all
  select 'certificate', q.certificate_id, (select k.csr_id from acme_private.certificate k where k.id = q.certificate_id), q.tenant,
         q.created_at, 'request_not_seen' as reason_code,
         'Its revocation was asked for, and no worker has seen that. If none runs (acme.worker_status), start one; else look into their logs.'
    from acme.revocation_request q
   where q.created_at < (select acme_private.late())
  union all
  select 'account', t.account_id, null, null, n.since, n.reason_code, n.reason
    from acme_private.account_state t
    join acme.server v on v.id = t.server_id and v.paused_at is null
   cross join lateral acme_private.neglect('account', t.account_id) n
   where (t.state in ('new', 'registering', 'rolling_over', 'deactivating') or t.state = 'valid' and t.reread_since is not null)
  union all
  select 'csr', s.csr_id, s.csr_id, s.tenant, s.renew_at, 'renewal_not_begun' as reason_code,
         'Its renewal is due, and no worker has begun it. If none runs (acme.worker_status), start one; else look into their logs.'
    from acme_private.csr_state s
   where s.state = 'issued' and s.renew_at < (select acme_private.late())
     and not exists (select from acme_private.certificate k
                      where k.id = s.certificate_id and k.ends_csr and k.state = 'revoking')
  union all
  select 'csr', s.csr_id, s.csr_id, s.tenant, s.next_attempt_at, 'not_taken' as reason_code,
         'Its next try is due, and no worker has begun it. If none runs (acme.worker_status), start one; else look into their logs.'
    from acme_private.csr_state s
   where s.state = 'retrying' and s.next_attempt_at < (select acme_private.late())
  union all
  select 'csr', s.csr_id, s.csr_id, s.tenant, n.since, n.reason_code, n.reason
    from acme_private.csr_state s
   cross join lateral acme_private.neglect('csr', s.csr_id) n
   where s.state = 'retrying' and s.reason_code = 'set_aside'
     and s.next_attempt_at between (select acme_private.clock()) and (select acme_private.clock()) + interval '1 hour'
  union all
  -- Queued although its server and account are open, there is room, and the server has taken no order lately.
  select 'csr', s.csr_id, s.csr_id, s.tenant, s.queued_at, 'not_taken' as reason_code,
         'It is its turn, and no worker has made its order. If none runs (acme.worker_status), start one; else look into their logs.'
    from acme.server v
    join acme_private.account_state t on t.server_id = v.id
    join acme.account a on a.id = t.account_id
    join acme_private.csr_state s on s.server_id = v.id and s.account_id = a.id
   where v.paused_at is null and a.paused_at is null and t.state = 'valid' and t.reread_since is null and t.doubted_at is null
     and s.state in ('queued', 'renewing') and s.order_id is null
     and s.queued_at < (select acme_private.late())
     and acme_private.has_idle_places(v.id)
     and not exists (
       select from acme_private.closure l
        where l.server_id = v.id and l.scope in ('server', 'account', 'orders') and (l.account_id is null or l.account_id = a.id)
          and (l.scope <> 'orders' or s.state = 'queued' and not s.is_renewal)
          and l.until > (select acme_private.late()))
     -- Orders for the same names go one after the other.
     and not exists (
       select from acme_private."order" o
        where o.is_live and o.account_id = a.id and o.identifiers = s.identifiers
          and coalesce(o.profile, '') = coalesce(s.profile, ''))
  union all
  select 'request', q.id, q.csr_id, s.tenant, q.created_at, 'request_not_seen' as reason_code,
         'A retry, renewal or cancellation was asked for, and no worker has seen that. If none runs (acme.worker_status), start one; else look into their logs.'
    from acme_private.unseen_requests() q
   cross join lateral (
     select x.tenant from acme_private.csr_state x where x.csr_id = q.csr_id limit 1
   ) s
  union all
  select 'record', t.id, t.csr_id, t.tenant, t.updated_at, 'not_published' as reason_code,
         format('It waits to be %s by hand: see acme.challenge_todo, and when it is done call acme.%s(%s).',
                case t.state when 'intended' then 'published' else 'removed' end,
                case t.state when 'intended' then 'challenge_published' else 'challenge_removed' end, t.id)
    from (
      select r.id, r.tenant, r.state, r.updated_at,
             (select d.csr_id from acme.challenge_todo d where d.id = r.id) as csr_id
        from acme_private.record r
       where r.method = 'manual' and r.state in ('intended', 'removing')
         and r.updated_at < (select acme_private.clock()) - interval '1 day'
    ) t
  union all
  select 'job', j.id, case when j.kind = 'csr' then j.row_id end, null, j.failed_at, 'job_failed' as reason_code,
         format('The queue gave up a job of step %s%s; its row is woken again within a minute. The workers'' logs say what failed.',
                j.task, coalesce(format(' (%s %s)', j.kind, j.row_id), ''))
    from acme_private.failed_jobs() j
  ) s
 where (select acme_private.hold()) is null;
comment on view acme_private.stuck_row is 'The rows of acme.stuck, of all tenants.';

-- Opaque to the planner: what a tenant's query compares by a function of its own is called for the tenant's rows only. Accounts
-- and jobs belong to no tenant: they are for readers of all. (jit: acme_private.attention_rows)
create or replace function acme_private.stuck_rows(p_role name) returns setof acme_private.stuck_row
language plpgsql stable security definer rows 20 set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
  v_tenant text collate "default" := acme_private.tenant_seen(p_role);
begin
  return query select s.* from acme_private.stuck_row s where v_tenant is null or s.tenant = v_tenant;
end
$$;
comment on function acme_private.stuck_rows(name) is 'The rows of acme.stuck that a role may see.';

create or replace view acme.stuck with (security_invoker = true) as
select s.kind, s.id, s.csr_id, s.tenant, s.since, s.reason_code, s.reason
  from acme_private.stuck_rows(current_user) s;
comment on view acme.stuck is
  'What should move and does not, a row each: since when, why, and what to do. Empty when all is well.';
comment on column acme.stuck.kind is 'order, authorization, csr, certificate, account, request, record or job.';
comment on column acme.stuck.id is 'Its id in the table of that kind.';
comment on column acme.stuck.csr_id is 'The csr that it is for; null: none.';
comment on column acme.stuck.tenant is 'The tenant; null: of the installation.';
comment on column acme.stuck.since is 'Since when it should have moved.';
comment on column acme.stuck.reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme.stuck.reason is 'The same as a sentence.';

create or replace view acme_private.attention_session as
select case when f.since < acme_private.clock() - x.changes_critical then 'critical' else 'warning' end as severity,
       'changes_frozen' as code, f.since,
       case when o.prepared is not null
            then format('The prepared transaction %L of %s in database %s has not ended, and acme.changes has held back all events since %s.',
                        o.prepared, o.login, o.database, acme_private.time_text(f.since))
            when o.pid is not null
            then format('A transaction of process %s (login %s, database %s) is still open, and acme.changes has held back all events since %s.',
                        o.pid, coalesce(o.login, 'unknown'), coalesce(o.database, 'unknown'), acme_private.time_text(f.since))
            else format('An older transaction is still open, and acme.changes has held back all events since %s.', acme_private.time_text(f.since)) end as sentence,
       case when o.prepared is not null then format('In database %s: rollback prepared %L;', o.database, o.prepared)
            when o.pid is not null
            then format('As a superuser: select pg_terminate_backend(%s);%s', o.pid,
                        ' To have such transactions end by themselves: alter role ' || quote_ident(o.login) || ' set idle_in_transaction_session_timeout = ''5min'';')
            else 'Find it: select * from pg_stat_activity where backend_xid is not null order by xact_start;' end as what_to_do
  from (select acme_private.changes_frozen_since() as since) f
  join acme.attention_settings x on f.since < acme_private.clock() - x.changes_warning
  left join lateral acme_private.oldest_writer() o on true
union all
select case when q.usage > x.notify_queue_critical then 'critical' else 'warning' end, 'notify_queue_filling', t.since,
       format('The server''s queue of notifications is %s %% full; when it is full, whatever notifies fails.%s', round((q.usage * 100)::numeric),
              case when t.pid is not null
                   then format(' Process %s (login %s) has had a transaction open since %s.', t.pid, t.login, to_char(t.since, 'YYYY-MM-DD HH24:MI:SS TZ'))
                   else '' end),
       case when t.pid is not null then format('As a superuser: select pg_terminate_backend(%s);', t.pid)
            else 'Find the session that listens and has a transaction open: select pid, state, xact_start, query from pg_stat_activity order by xact_start; and end it.' end
  from (select pg_notification_queue_usage() as usage) q
  join acme.attention_settings x on q.usage > x.notify_queue_warning
  left join lateral acme_private.oldest_transaction() t on true;
comment on view acme_private.attention_session is
  'Sessions of anyone that hold pgacme up: a transaction that freezes acme.changes, one that keeps the queue of notifications from being emptied.';
comment on column acme_private.attention_session.severity is 'warning or critical.';
comment on column acme_private.attention_session.code is 'changes_frozen or notify_queue_filling.';
comment on column acme_private.attention_session.since is 'Since when; null: not for acme_owner to see (pg_read_all_stats).';
comment on column acme_private.attention_session.sentence is 'What is wrong, with the number of the process.';
comment on column acme_private.attention_session.what_to_do is 'What an administrator runs.';
