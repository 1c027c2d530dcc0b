-- acme.attention: what a person should act on, most urgent first. A view for each concept; each finds its rows
-- by an index, so that many requests that are well cost nothing. Rows of requests are subject to row-level
-- security; what belongs to no tenant is read by functions that run as the owner, for readers of all tenants only.

-- The codes, in the order of docs/monitoring.md. {csr}, {account} and {server} are filled in.
create or replace view acme.attention_code (position, code, severity, about, what_to_do) as values
  (1, 'database_copied', 'critical', 'Workers do nothing here: the database is a copy.',
   'If this database is to do the work, run pgacme adopt-database.'),
  (2, 'no_worker', 'critical', 'No worker runs.', 'Start one: pgacme worker. If one should run, see its log.'),
  (3, 'certificate_expired', 'critical', 'A certificate in use has expired.',
   'Fix the cause, then: select acme.retry({csr}); select acme.explain({csr}) tells more. If it is not needed any more: select acme.cancel({csr});'),
  (4, 'renewal_overdue', 'warning or critical', 'A renewal was to begin long ago, and has brought no certificate.',
   'Fix the cause, then: select acme.retry({csr}); select acme.explain({csr}) tells more.'),
  (5, 'certificate_ends', 'warning or critical', 'A certificate is about to expire, and its renewal is off.',
   'Replace it and cancel the request (select acme.cancel({csr});), or have it renewed: update acme.csr set renewal = ''reuse'' where id = {csr};'),
  (6, 'validation_failed', 'warning or critical', 'The server could not validate a name.',
   'Check the DNS of the name, and that port 80 reaches whoever answers http-01. Then: select acme.retry({csr});'),
  (7, 'needs_person', 'warning or critical', 'A request waits until a person has acted.',
   'Do what the sentence says, then: select acme.retry({csr}); Where it says to cancel, do not retry: select acme.cancel({csr});'),
  (8, 'needs_new_csr', 'warning or critical', 'The key of a request may not be used any more.',
   'Make a new key, then: select acme.cancel({csr}); and insert a request with the new key.'),
  (9, 'rejected', 'warning', 'A request was rejected: it cannot be ordered as it is.',
   'Insert a corrected request, then: select acme.cancel({csr});'),
  (10, 'failed', 'warning or critical', 'The server refused a request for good.',
   'Insert a corrected request, then: select acme.cancel({csr});'),
  (11, 'no_account', 'critical', 'Requests wait, and there is no ACME account.', 'Insert one into acme.account, or make one the default: update acme.account set is_default = true where name = ''NAME'';'),
  (12, 'account_closed', 'critical', 'An account that is needed is closed at its server.',
   'Insert another account at server {server}, then: select acme.replace_account(''{account}'', ''NEW'');'),
  (13, 'account_key_unknown', 'critical', 'The server does not accept the key of an account.',
   'Import a newer export of it (pgacme account import FILE --name NEW) or insert another account, then: select acme.replace_account(''{account}'', ''NEW''); To ask the server again: select acme.verify_account(''{account}'');'),
  (14, 'terms_not_agreed', 'critical', 'The server asks to agree to its terms of service.',
   'Read the terms (terms_url in acme.account_status). If you agree: select acme.agree_terms(''{account}'');'),
  (15, 'account_lost', 'critical', 'The server no longer knows an account, and it could not be registered again.',
   'See its row of acme.account_status. To try again at once: select acme.verify_account(''{account}'');'),
  (16, 'account_cannot_order', 'critical', 'The server does not let an account order.',
   'Do what the sentence says, then: select acme.verify_account(''{account}'');'),
  (17, 'server_unreachable', 'warning or critical', 'A server does not answer.',
   'Check the status page of the CA, and the network and firewall of the workers. pgacme doctor shows more. Requests are retried by themselves.'),
  (18, 'server_cooldown', 'warning', 'A server or an account takes no new orders for a long time.',
   'Check the limits of the CA. Orders go on by themselves at that time.'),
  (19, 'worker_key_wrong', 'critical', 'The sealing key of a worker opens no account key of this database.',
   'Restart it with the PGACME_SECRET_KEY of the others.'),
  (20, 'no_http01_responder', 'critical', 'A solver needs http-01, and no worker that runs answers it.',
   'Set PGACME_HTTP01_LISTEN for a worker, and let port 80 of the names lead there. If your own server answers by acme.http01_response(): update acme.attention_settings set has_own_responder = true;'),
  (21, 'clock_off', 'warning or critical', 'The clocks of a worker and of the database differ.', 'Keep time with NTP on both machines.'),
  (22, 'stuck', 'warning', 'Something should move and does not: a row of acme.stuck.', 'See acme.stuck and the logs of the workers.'),
  (23, 'changes_frozen', 'warning or critical', 'An open transaction of anyone holds back acme.changes.',
   'End the transaction that the sentence names.'),
  (24, 'notify_queue_filling', 'warning or critical', 'A session that listens keeps the queue of notifications from being emptied.',
   'End the session that the sentence names.');
comment on view acme.attention_code is
  'The codes of acme.attention: stable names, how severe each is, what it is about, and what to do.';
comment on column acme.attention_code.position is 'The order of codes within a severity.';
comment on column acme.attention_code.code is 'The code, stable.';
comment on column acme.attention_code.severity is 'warning, critical, or either.';
comment on column acme.attention_code.about is 'What it is about.';
comment on column acme.attention_code.what_to_do is 'What to do; names in braces are filled in.';

-- Requests that may need attention: their certificates should have been renewed, or their state says so. As its owner, since
-- the indexes are of all tenants' rows, and opaque to the planner.
-- (The clock is inlined: of a value that it does not know the planner believes that it is in the middle of all.)
create or replace function acme_private.attention_candidates(p_role name) returns setof bigint
language plpgsql stable security definer rows 20 set search_path = pg_catalog, pg_temp
as $$
declare
  v_tenant text collate "default" := acme_private.tenant_seen(p_role);
begin
  return query
  select k.csr_id
    from acme_private.certificate k
   where k.state = 'current' and k.planned_renewal_at <= acme_private.clock() and (v_tenant is null or k.tenant = v_tenant)
  union
  select s.csr_id
    from acme_private.csr_state s
   where s.state in ('rejected', 'needs_person', 'needs_new_csr', 'failed') and (v_tenant is null or s.tenant = v_tenant)
  union
  select s.csr_id
    from acme_private.csr_state s
   where s.state = 'retrying' and s.reason_code = 'validation_failed' and (v_tenant is null or s.tenant = v_tenant);
end
$$;
comment on function acme_private.attention_candidates(name) is
  'Requests that a role may see and that acme.attention looks at, found by index.';

-- One row for each request. (limit 1 has each looked up by its key, whatever the planner believes.)
create or replace view acme_private.attention_csr with (security_invoker = true) as
select coalesce(x.expiry, 'warning') as severity, w.code,
       case w.code when 'certificate_expired' then s.not_after
                   when 'renewal_overdue' then k.planned_renewal_at
                   when 'certificate_ends' then s.not_after - (s.not_after - s.not_before) * (select a.lifetime_warning from acme.attention_settings a)
                   else s.updated_at end as since,
       s.id as csr_id, s.ref, s.tenant, s.identifiers, s.account, s.server, null::bigint as worker,
       concat_ws(' ',
         case w.code when 'certificate_expired' then format('The certificate expired %s.', acme_private.time_text(s.not_after))
                     when 'renewal_overdue' then format('The renewal is overdue since %s.', acme_private.time_text(k.planned_renewal_at))
                     when 'certificate_ends' then 'The certificate is not renewed (renewal is off).' end,
         case when w.code <> 'certificate_ends' then acme_private.with_full_stop(w.cause) end,
         case when w.code <> 'certificate_expired' and x.expiry is not null
              then format('The certificate expires %s.', acme_private.time_text(s.not_after)) end) as sentence,
       -- What helps depends on why; null: what its code says.
       case s.reason_code when 'server_paused' then 'End the pause: select acme.resume(''server'', ''{server}'');'
                          when 'account_paused' then 'End the pause: select acme.resume(''account'', ''{account}'');'
                          else (select h.what_to_do from acme.attention_code h where w.code = 'certificate_expired' and h.code = w.obstacle)
       end as what_to_do
  from acme_private.attention_candidates(current_user) c (csr_id)
 cross join lateral (select t.* from acme.csr_status t where t.id = c.csr_id limit 1) s
 cross join lateral (select r.renewal from acme.csr r where r.id = c.csr_id limit 1) r
  left join lateral (
    select y.planned_renewal_at, y.state from acme_private.certificate y where y.id = s.certificate_id limit 1
  ) k on true
 cross join lateral (
    select case when k.state = 'current' and s.state <> 'cancelled' then acme_private.expiry_severity(
             r.renewal <> 'off' and s.state not in ('needs_person', 'needs_new_csr', 'failed'), k.planned_renewal_at,
             s.not_before, s.not_after) end as expiry
 ) x
 cross join lateral (
    select case when s.state in ('rejected', 'needs_person', 'needs_new_csr', 'failed') then s.state
                when s.state = 'retrying' and s.reason_code = 'validation_failed' then 'validation_failed'
                when x.expiry is not null and r.renewal = 'off' and s.state = 'issued' then 'certificate_ends' end as obstacle
 ) y
 cross join lateral (
    select y.obstacle,
           case when k.state = 'current' and s.is_expired then 'certificate_expired'
                when y.obstacle is not null then y.obstacle
                when x.expiry is not null and r.renewal = 'off' then 'certificate_ends'
                when x.expiry is not null then 'renewal_overdue' end as code,
           case when s.reason_code = 'remote_trouble' then format('The server %s does not answer as it should.', s.server)
                when s.reason_code = 'account_not_ready' then format('The account %s cannot order now.', s.account)
                when s.reason is not null then acme_private.without_address(s.reason, (
                  select v.directory_url from acme.server v where v.name = s.server))
                when y.obstacle = 'certificate_ends' then 'It is not renewed (renewal is off).'
                when s.state = 'issued' and s.renew_at <= acme_private.clock() then 'No worker has begun the renewal.' end as cause
 ) w
 where w.code is not null and s.state <> 'cancelled';
comment on view acme_private.attention_csr is 'The rows of acme.attention for requests.';

create or replace view acme_private.attention_stuck with (security_invoker = true) as
select 'warning' as severity, 'stuck' as code, t.since, t.csr_id, s.ref, t.tenant, s.identifiers,
       case when t.kind = 'account' then acme_private.account_name(t.id) end as account, null::text as server,
       null::bigint as worker, format('%s %s: %s', t.kind, t.id, t.reason) as sentence
  from acme.stuck t
  left join lateral (select x.ref, x.identifiers from acme_private.csr_state x where x.csr_id = t.csr_id limit 1) s on true;
comment on view acme_private.attention_stuck is 'The rows of acme.stuck, as acme.attention has them.';

-- As its owner: whoever may see these rows may not see the sessions of others.
create or replace function acme_private.attention_sessions()
returns table (severity text, code text, since timestamptz, sentence text, what_to_do text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query select s.severity, s.code, s.since, s.sentence, s.what_to_do from acme_private.attention_session s;
end
$$;
comment on function acme_private.attention_sessions() is 'The rows of acme.attention for sessions of others.';

-- With the rights of the reader, like a view; a function since its plan looks dear enough to be compiled, which takes 11 s
-- where PostgreSQL has JIT, and 2 ms are enough without.
create or replace function acme_private.attention_rows()
returns table (severity text, code text, since timestamptz, csr_id bigint, ref text, tenant text, identifiers text[], account text,
               server text, worker bigint, sentence text, what_to_do text)
language sql stable rows 20 set jit = off
begin atomic
select a.severity, a.code, a.since, a.csr_id, a.ref, a.tenant, a.identifiers, a.account, a.server, a.worker, a.sentence,
       replace(replace(replace(coalesce(a.what_to_do, c.what_to_do), '{csr}', coalesce(a.csr_id::text, '')),
         '{account}', coalesce(a.account, '')), '{server}', coalesce(a.server, '')) as what_to_do
  from (
    select x.* from acme_private.attention_csr x where (select acme_private.hold()) is null
    union all
    select x.*, null from acme_private.attention_stuck x
    union all
    select x.severity, x.code, x.since, null, null, null, null, x.account, x.server, null, x.sentence, null
      from acme_private.attention_account() x
     where (select acme_private.is_watcher()) and (select acme_private.hold()) is null
    union all
    select x.severity, x.code, x.since, null, null, null, null, x.account, x.server, null, x.sentence, null
      from acme_private.attention_server() x
     where (select acme_private.is_watcher()) and (select acme_private.hold()) is null
    union all
    select x.severity, x.code, x.since, null, null, null, null, null, null, x.worker, x.sentence, null
      from acme_private.attention_worker() x
     where (select acme_private.is_watcher()) and (select acme_private.hold()) is null
    union all
    select x.severity, x.code, x.since, null, null, null, null, null, null, null, x.sentence, x.what_to_do
      from acme_private.attention_sessions() x
     where (select acme_private.is_watcher())
    union all
    select 'critical', 'database_copied', null, null, null, null, null, null, null, null, h.reason, null
      from acme_private.hold() h (reason)
     where h.reason is not null and (select acme_private.is_watcher())
  ) a
  join acme.attention_code c on c.code = a.code
 order by a.severity <> 'critical', c.position, a.since, a.csr_id;
end;
comment on function acme_private.attention_rows() is 'The rows of acme.attention.';

create or replace view acme.attention with (security_invoker = true) as
select severity, code, since, csr_id, ref, tenant, identifiers, account, server, worker, sentence, what_to_do
  from acme_private.attention_rows();
comment on view acme.attention is
  'What a person should act on, a row each, most urgent first. Empty when all is well. docs/monitoring.md lists the codes.';
comment on column acme.attention.severity is 'warning or critical.';
comment on column acme.attention.code is 'What it is about, stable; acme.attention_code lists them.';
comment on column acme.attention.since is 'Since when; null: unknown.';
comment on column acme.attention.csr_id is 'The csr, by its id in acme.csr; null: of none.';
comment on column acme.attention.ref is 'The application''s own key (acme.csr.ref).';
comment on column acme.attention.tenant is 'The tenant that it belongs to; null: of the installation.';
comment on column acme.attention.identifiers is 'The names of the csr.';
comment on column acme.attention.account is 'The account, by name.';
comment on column acme.attention.server is 'The server, by name.';
comment on column acme.attention.worker is 'The worker, by its id in acme.worker_status.';
comment on column acme.attention.sentence is 'What is wrong, the cause first.';
comment on column acme.attention.what_to_do is 'What to do.';
