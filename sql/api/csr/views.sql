-- Where each csr stands.

-- The csr that is being ordered for the same names. The key of a set of names is the names to who guesses them: it is granted
-- to nobody, and another tenant's csr is not told.
create or replace function acme_private.csr_with_same_names(p_csr bigint) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select o.csr_id
      from acme_private.csr_state s
      join acme_private."order" o on o.is_live and o.account_id = s.account_id and o.identifiers_key = s.identifiers_key
                                 and coalesce(o.profile, '') = coalesce(s.profile, '')
     where s.csr_id = p_csr and o.tenant = s.tenant);
end
$$;
comment on function acme_private.csr_with_same_names(bigint) is
  'The csr of the same tenant whose order for the same names is under way; null: there is none.';

-- Where each csr stands. Three states are read off what it waits for, so that closing a server for
-- 30,000 queued csrs writes one row: paused, limited, and retrying while a remote is in trouble.
create or replace view acme.csr_status with (security_invoker = true) as
select s.csr_id as id,
       s.ref,
       s.tenant,
       s.identifiers,
       case
         when w.code = 'limited' then 'limited'
         when w.code in ('server_paused', 'account_paused') then 'paused'
         when w.code = 'database_copied' and s.state in ('received', 'queued', 'ordering', 'renewing', 'retrying') then 'paused'
         when s.state = 'ordering' and w.code in ('remote_trouble', 'secret_key_wrong', 'account_not_ready') then 'retrying'
         else s.state
       end as state,
       w.code as reason_code,
       w.text as reason,
       case when s.state in ('issued', 'cancelled', 'rejected', 'failed', 'needs_person', 'needs_new_csr') or w.code = 'database_copied' then null
            else coalesce(w.next_attempt_at, o.next_attempt_at, s.next_attempt_at) end as next_attempt_at,
       s.attempts,
       coalesce(case when o.finished_at is null then coalesce(o.last_problem, a.last_problem) end, s.last_problem) as last_problem,
       s.certificate_id,
       s.certificate_id is not null as has_certificate,
       k.not_before,
       k.not_after,
       s.renew_at,
       s.renewal_reason,
       -- what was received and is not looked at yet has the one that it names
       coalesce(acme_private.account_name(s.account_id), c.account) as account,
       srv.name as server,
       s.profile,
       o.url as order_url,
       c.version > s.seen_version as has_pending_request,
       c.created_at,
       s.updated_at,
       k.revoked_at,
       k.not_after - acme_private.clock() as expires_in,
       k.not_after <= acme_private.clock() as is_expired
  from acme.csr c
  join acme_private.csr_state s on s.csr_id = c.id
  left join acme_private."order" o on o.id = s.order_id
  left join acme_private.certificate k on k.id = s.certificate_id
  left join acme.server srv on srv.id = s.server_id
  -- (Most csrs wait for nothing; offset 0 keeps the condition before the call.)
  left join lateral (
    select x.* from acme_private.account_shown(s.account_id) x
     where s.state <> 'issued' or k.reason_code is not null
    offset 0
  ) acc on true
  left join lateral (
    select x.reason_code, x.reason, x.next_attempt_at, x.last_problem
      from acme_private.order_authorization oa
      join acme_private.authorization x on x.id = oa.authorization_id
     where oa.order_id = s.order_id and o.state = 'authorizing' and x.state = 'pending' and x.reason_code is not null
     order by x.id
     limit 1
  ) a on true
  left join lateral (
    select l.until, l.reason
      from acme_private.closure l
     where l.server_id = s.server_id and l.scope in ('server', 'account', 'orders')
       and (l.account_id is null or l.account_id = s.account_id)
       -- (renewals go on)
       and (l.scope <> 'orders' or s.state = 'queued' and not s.is_renewal)
       and l.until > acme_private.clock()
     order by l.until desc
     limit 1
  ) l on s.state in ('queued', 'renewing') and s.order_id is null
 -- once for each query
 cross join acme_private.hold() h (reason)
 cross join lateral (
    select case
             when h.reason is not null
                  and (s.state in ('received', 'queued', 'ordering', 'renewing', 'retrying')
                       or c.version > s.seen_version and s.state not in ('cancelled', 'rejected')) then 'database_copied'
             when c.cancel_request is not null and s.state <> 'cancelled' then 'cancel_requested'
             when s.state = 'received' and c.account is null and not (select acme_private.has_default_account()) then 'no_account'
             when s.state = 'received' then coalesce(s.reason_code, 'waiting_for_worker')
             when s.state in ('queued', 'renewing') and s.order_id is null then
               case
                 when srv.paused_at is not null then 'server_paused'
                 when acc.is_paused then 'account_paused'
                 when acc.is_ready is not true then 'account_not_ready'
                 when l.until is not null then 'limited'
                 else coalesce(s.reason_code, 'waiting_for_room')
               end
             when s.state in ('ordering', 'renewing') then
               coalesce(o.reason_code, a.reason_code, case when o.is_parked then 'waiting_for_publication' end)
             -- How the revocation of its certificate goes, or why it was refused.
             when s.state in ('issued', 'cancelled') and (k.state = 'revoking' or k.reason_code is not null) then
               coalesce(k.reason_code, 'revoking')
             when s.state in ('issued', 'cancelled') and k.revoked_at is null
                  and k.id in (select q.certificate_id from acme.revocation_request q where not q.after_replacement) then 'revoking'
             -- It ends with that, whatever else it waits for.
             when s.state in ('retrying', 'needs_person', 'failed')
                  and (k.ends_csr and k.state = 'revoking'
                       or k.id in (select q.certificate_id from acme.revocation_request q where q.ends_csr)) then
               coalesce(case when k.ends_csr then k.reason_code end, 'revoking')
             when s.state = 'issued' then
               case when s.reason_code = 'renewal_window' and s.renew_at > acme_private.clock() then s.reason_code end
             else s.reason_code
           end as code
 ) r
 cross join lateral (
    select r.code,
           case r.code
             when 'database_copied' then h.reason
             when 'cancel_requested' then 'Cancelling was asked for and is under way.'
             when 'no_account' then 'There is no ACME account to order with. Insert one into acme.account; the first one serves every csr that names none.'
             when 'waiting_for_worker' then 'No worker has looked at it yet. If this lasts, look at acme.worker_status: is one running?'
             when 'server_paused' then format('The server %s is paused: %s', srv.name, srv.pause_reason)
             when 'account_paused' then format('The account %s is paused: %s', acc.name, acc.pause_reason)
             when 'account_not_ready' then format('The account %s %s%s', acc.name,
               case when acc.next_attempt_at = 'infinity' then 'waits for a person'
                    when acc.state = 'valid' then 'is looked at first' else 'is ' || acc.state end,
               -- (What a worker met on its way to the server names hosts and ports, and is for who may read acme.account_status.)
               coalesce(case when acc.reason_code = 'waiting_for_orders' then ': its orders under way come to their end first.'
                             when acc.reason_code in ('remote_trouble', 'limited') and not (select acme_private.is_watcher())
                             then '; acme.account_status tells administrators why.'
                             else ': ' || acc.reason end, case acc.state when 'new' then ' and not registered yet.' when 'registering' then ' and not registered yet.' else '.' end))
             when 'waiting_for_room' then coalesce(
               'It waits for csr ' || acme_private.csr_with_same_names(s.csr_id)
                 || ', which has the same names and is being ordered by the same account.',
               format('It waits its turn among the orders in flight (at most %s for server %s).', srv.max_orders_in_flight, srv.name))
             when 'waiting_for_publication' then 'Something is to be published by hand; see acme.challenge_todo.'
             when 'limited' then coalesce(l.reason, o.reason, a.reason, k.reason, s.reason)
             when 'revoking' then 'Its certificate is being revoked.'
             else coalesce(case when s.state in ('issued', 'cancelled') or k.ends_csr then k.reason end, case when s.order_id is not null then coalesce(o.reason, a.reason) end, s.reason)
           end as text,
           case when r.code in ('server_paused', 'account_paused') then null
                else coalesce(l.until, a.next_attempt_at) end as next_attempt_at
 ) w;
comment on view acme.csr_status is
  'Where each csr stands: its state, why, and when it is tried next. docs/sql.md lists the states and reason codes.';
comment on column acme.csr_status.id is 'As in acme.csr.';
comment on column acme.csr_status.ref is 'The application''s own key (acme.csr.ref).';
comment on column acme.csr_status.tenant is 'The tenant that it belongs to.';
comment on column acme.csr_status.identifiers is 'Its names, sorted; null: no worker has read the CSR yet.';
comment on column acme.csr_status.state is 'received, queued, ordering, issued, renewing, retrying, needs_person, needs_new_csr, rejected, failed, cancelled; paused and limited while it waits for that.';
comment on column acme.csr_status.reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme.csr_status.reason is 'The same as a sentence.';
comment on column acme.csr_status.next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme.csr_status.attempts is 'How many attempts in a row met a transient error.';
comment on column acme.csr_status.last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme.csr_status.certificate_id is 'The current certificate, by its id in acme.certificate.';
comment on column acme.csr_status.has_certificate is 'True: it has a current certificate.';
comment on column acme.csr_status.not_before is 'From when the current certificate is valid.';
comment on column acme.csr_status.not_after is 'Until when the current certificate is valid.';
comment on column acme.csr_status.renew_at is 'When its renewal is due.';
comment on column acme.csr_status.renewal_reason is 'Why it is being renewed.';
comment on column acme.csr_status.account is 'The account that orders it, by name.';
comment on column acme.csr_status.server is 'The server, by name.';
comment on column acme.csr_status.profile is 'The profile that is asked for; null: the server''s default.';
comment on column acme.csr_status.order_url is 'The URL of its last order at the server.';
comment on column acme.csr_status.has_pending_request is 'True: a retry, renewal, cancellation or change has not been applied yet.';
comment on column acme.csr_status.created_at is 'When it was inserted.';
comment on column acme.csr_status.updated_at is 'When its state changed last.';
comment on column acme.csr_status.revoked_at is 'When its current certificate was revoked; null: it was not.';
comment on column acme.csr_status.expires_in is 'How long its certificate is still valid; negative: it has expired. Null: there is none.';
comment on column acme.csr_status.is_expired is 'Whether its certificate has expired. Null: there is none.';

-- Polls, since a function cannot listen. It could never see the end of work that begins when its
-- own transaction commits, nor anything new in a transaction with one snapshot: it says so at once.
create or replace function acme.wait(csr bigint, timeout interval default '60 s') returns acme.csr_status
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_end timestamptz;
  v_pause double precision := 0.02;
  v_csr acme.csr;
  v_row acme.csr_status;
begin
  if (wait.timeout between interval '-1 day' and interval '1 day') is not true then
    raise exception 'acme.wait waits for at most a day.' using errcode = 'invalid_parameter_value';
  end if;
  v_end := clock_timestamp() + make_interval(secs => extract(epoch from wait.timeout)::double precision);
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'acme.wait cannot see other transactions'' work under %.', current_setting('transaction_isolation')
      using errcode = 'invalid_transaction_state', hint = 'Call it in a transaction of READ COMMITTED, or outside one.';
  end if;
  loop
    select c.* into v_csr from acme.csr c where c.id = wait.csr;
    if not found then
      raise exception 'There is no csr %.', csr using errcode = 'no_data_found', hint = 'See acme.csr_status.';
    end if;
    if pg_current_xact_id_if_assigned() in (v_csr.inserted_xid, v_csr.touched_xid) then
      raise exception 'csr % was written in this transaction, and workers see it only after its COMMIT.', csr
        using errcode = 'invalid_transaction_state', hint = 'Commit first, then call acme.wait.';
    end if;
    select s.* into v_row from acme.csr_status s where s.id = wait.csr;
    exit when not v_row.has_pending_request
          and v_row.state in ('issued', 'rejected', 'failed', 'cancelled', 'needs_person', 'needs_new_csr')
          and v_row.reason_code is distinct from 'revoking';
    -- Nobody can order for it before an administrator has acted.
    exit when v_row.reason_code = 'no_account';
    exit when clock_timestamp() >= v_end;
    perform pg_sleep(least(v_pause, greatest(extract(epoch from v_end - clock_timestamp()), 0)));
    v_pause := least(v_pause * 1.5, 0.5);
  end loop;
  return v_row;
end
$$;
comment on function acme.wait(bigint, interval) is
  'Waits until this csr is issued, its certificate revoked where that was asked for, or it cannot go on by itself (also where there is no account to order with), or the time is over, a day at most; returns its row of csr_status as it then is.';
