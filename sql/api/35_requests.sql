-- The functions that stand for a request. They run with the caller's rights; row-level security decides
-- what they reach, so that a foreign id looks like an unknown one.

create or replace function acme.request(
  pem text, ref text default null, account text default null, profile text default null,
  on_duplicate text default 'return'
) returns acme.csr
language plpgsql volatile
as $$
#variable_conflict use_variable
declare
  v_row acme.csr;
  v_id bigint;
  v_constraint text;
  v_detail text;
begin
  if on_duplicate is null or on_duplicate not in ('return', 'renew', 'refuse') then
    raise exception 'on_duplicate is %; it must be return, renew or refuse.', quote_nullable(on_duplicate)
      using errcode = 'invalid_parameter_value';
  end if;
  -- A bad CSR and an unknown account are refused by the INSERT, with the same sentence.
  begin
    insert into acme.csr (pem, ref, account, profile)
    values (request.pem, request.ref, request.account, request.profile)
    returning * into v_row;
    return v_row;
  exception when unique_violation then
    get stacked diagnostics v_constraint = constraint_name, v_detail = pg_exception_detail;
    if on_duplicate = 'refuse' or v_constraint is distinct from 'csr_is_one' then raise; end if;
  end;
  v_id := substring(v_detail from 'csr_id=([0-9]+)')::bigint;
  if on_duplicate = 'renew' then
    perform acme.renew(v_id, 'requested again');
  end if;
  select c.* into strict v_row from acme.csr c where c.id = v_id;
  return v_row;
end
$$;
comment on function acme.request(text, text, text, text, text) is
  'Inserts a CSR and returns its row. The same CSR again: return gives the existing row, renew also orders a new certificate, refuse raises.';

create or replace function acme.retry(csr bigint) returns void
language plpgsql volatile
as $$
declare
  v_state text := (select s.state from acme.csr_status s where s.id = retry.csr);
begin
  if v_state = 'cancelled' then
    raise exception 'csr % is cancelled and stays so.', csr using hint = 'Insert the certificate signing request anew.';
  end if;
  update acme.csr c set retry_request = c.version + 1 where c.id = retry.csr;
  if not found then
    raise exception 'There is no csr %.', csr using errcode = 'no_data_found', hint = 'See acme.csr_status.';
  end if;
end
$$;
comment on function acme.retry(bigint) is
  'Tries again now instead of at next_attempt_at; also for a csr that is rejected, failed or needs a person. Limits still hold.';

create or replace function acme.renew(csr bigint, reason text default null) returns void
language plpgsql volatile
as $$
declare
  v_state text := (select s.state from acme.csr_status s where s.id = renew.csr);
begin
  if v_state in ('cancelled', 'rejected') then
    raise exception 'csr % is % and has nothing to renew.', csr, v_state
      using hint = case v_state when 'cancelled' then 'Insert the certificate signing request anew.'
                                else 'See its reason in acme.csr_status, and insert a CSR that is right.' end;
  end if;
  update acme.csr c
     set renew_request = c.version + 1, renew_reason = renew.reason
   where c.id = renew.csr;
  if not found then
    raise exception 'There is no csr %.', csr using errcode = 'no_data_found', hint = 'See acme.csr_status.';
  end if;
end
$$;
comment on function acme.renew(bigint, text) is
  'Orders a new certificate for this csr now. The present one is served until the new one is there.';

create or replace function acme.cancel(csr bigint) returns void
language plpgsql volatile
as $$
begin
  update acme.csr c set cancel_request = c.version + 1 where c.id = cancel.csr;
  if not found then
    raise exception 'There is no csr %.', csr using errcode = 'no_data_found', hint = 'See acme.csr_status.';
  end if;
end
$$;
comment on function acme.cancel(bigint) is
  'Stops ordering and renewing for this csr. An order that is already finalized is still stored first. The certificate stays readable.';

-- Polls, since a function cannot listen. It could never see the end of work that begins when its
-- own transaction commits, nor anything new in a transaction with one snapshot: it says so at once.
create or replace function acme.wait(csr bigint, timeout interval default '60 s') returns acme.csr_status
language plpgsql volatile
as $$
#variable_conflict use_column
declare
  v_end timestamptz := clock_timestamp() + wait.timeout;
  v_pause double precision := 0.02;
  v_csr acme.csr;
  v_row acme.csr_status;
begin
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
    exit when clock_timestamp() >= v_end;
    perform pg_sleep(least(v_pause, greatest(extract(epoch from v_end - clock_timestamp()), 0)));
    v_pause := least(v_pause * 1.5, 0.5);
  end loop;
  return v_row;
end
$$;
comment on function acme.wait(bigint, interval) is
  'Waits until this csr is issued, its certificate revoked where that was asked for, or it cannot go on by itself, or the time is over; returns its row of csr_status as it then is.';

create or replace function acme.explain(csr bigint) returns text
language plpgsql stable
as $$
declare
  s acme.csr_status;
  v_text text;
  v_rows text;
begin
  select t.* into s from acme.csr_status t where t.id = explain.csr;
  if not found then
    raise exception 'There is no csr %.', csr using errcode = 'no_data_found', hint = 'See acme.csr_status.';
  end if;
  v_text := format('csr %s%s (%s) is %s.', s.id, coalesce(' ' || quote_literal(s.ref), ''),
                   coalesce(array_to_string(s.identifiers, ', '), 'names not read yet'), s.state);
  if s.reason is not null then
    v_text := v_text || E'\n' || s.reason || coalesce(' [' || s.reason_code || ']', '');
  end if;
  if s.next_attempt_at is not null then
    v_text := v_text || E'\n' || format('Next try: %s.', to_char(s.next_attempt_at, 'YYYY-MM-DD HH24:MI:SS TZ'));
  end if;
  if s.revoked_at is not null then
    v_text := v_text || E'\n' || format('Its certificate %s was revoked %s.', s.certificate_id,
      to_char(s.revoked_at, 'YYYY-MM-DD HH24:MI TZ'));
  elsif s.has_certificate then
    v_text := v_text || E'\n' || format('Its certificate %s is good until %s%s.', s.certificate_id,
      to_char(s.not_after, 'YYYY-MM-DD HH24:MI TZ'),
      coalesce('; renewal is due ' || to_char(s.renew_at, 'YYYY-MM-DD HH24:MI TZ'), '; it is not renewed'));
  end if;
  select string_agg(format('Certificate %s is to be revoked (%s)%s%s.', k.id, k.revocation_reason,
                           case when k.state = 'current' then ' once a new one is there' end,
                           coalesce('; next try: ' || to_char(k.next_attempt_at, 'YYYY-MM-DD HH24:MI:SS TZ'), '')),
                    E'\n' order by k.id) into v_rows
    from acme.certificate k
   where k.csr_id = s.id and (k.state = 'revoking' or k.state = 'current' and k.revoke_when_replaced);
  if v_rows is not null then
    v_text := v_text || E'\n' || v_rows;
  end if;
  if s.order_url is not null then
    v_text := v_text || E'\n' || format('Order at %s (account %s): %s', s.server, s.account, s.order_url);
  end if;
  select string_agg(format('  publish %s for %s: %s', t.type, t.identifier, t.location), E'\n' order by t.id) into v_rows
    from acme.challenge_todo t where t.csr_id = s.id and t.action = 'publish';
  if v_rows is not null then
    v_text := v_text || E'\nTo be done by hand (acme.challenge_todo):\n' || v_rows;
  end if;
  select string_agg(format('  %s %s%s', to_char(e.at, 'YYYY-MM-DD HH24:MI:SS'), e.event,
                           coalesce(': ' || (e.detail ->> 'reason'), '')), E'\n' order by e.id) into v_rows
    from (select * from acme.event x where x.csr_id = s.id order by x.id desc limit 12) e;
  if v_rows is not null then
    v_text := v_text || E'\nLast events:\n' || v_rows;
  end if;
  return v_text;
end
$$;
comment on function acme.explain(bigint) is
  'Tells in plain words where a csr stands, why, what happens next and when, and what was done so far.';

create or replace function acme.pause(scope text, name text, reason text) returns void
language plpgsql volatile
as $$
begin
  if coalesce(reason, '') = '' then
    raise exception 'Give a reason: whoever waits will read it.' using errcode = 'invalid_parameter_value';
  end if;
  case scope
    when 'server' then
      update acme.server s set paused_at = now(), pause_reason = pause.reason where s.name = pause.name;
    when 'account' then
      update acme.account a set paused_at = now(), pause_reason = pause.reason where a.name = pause.name;
    else
      raise exception 'The scope is %; it must be server or account.', quote_nullable(scope)
        using errcode = 'invalid_parameter_value';
  end case;
  if not found then
    raise exception 'There is no % %.', scope, name using errcode = 'no_data_found';
  end if;
end
$$;
comment on function acme.pause(text, text, text) is
  'Admits no new orders of a server or an account (scope, name) until resume; orders under way go on. Of a server, nothing is begun with its accounts either. The reason is shown to all who wait.';

create or replace function acme.resume(scope text, name text) returns void
language plpgsql volatile
as $$
begin
  case scope
    when 'server' then
      update acme.server s set paused_at = null, pause_reason = null where s.name = resume.name;
    when 'account' then
      update acme.account a set paused_at = null, pause_reason = null where a.name = resume.name;
    else
      raise exception 'The scope is %; it must be server or account.', quote_nullable(scope)
        using errcode = 'invalid_parameter_value';
  end case;
  if not found then
    raise exception 'There is no % %.', scope, name using errcode = 'no_data_found';
  end if;
end
$$;
comment on function acme.resume(text, text) is 'Ends a pause.';

create or replace function acme.http01_response(token text) returns text
language sql stable
as $$
  select r.value
    from acme.record r
   where r.token = http01_response.token
     and r.type = 'http-01'
     and r.state in ('published', 'removing')
     and length(http01_response.token) <= 512
   limit 1
$$;
comment on function acme.http01_response(text) is
  'The body to answer for /.well-known/acme-challenge/<token> (RFC 8555 §8.3); null: answer 404.';

create or replace function acme.challenge_published(id bigint) returns void
language plpgsql volatile
as $$
begin
  update acme.record r set state = 'published' where r.id = challenge_published.id and r.method = 'manual' and r.state = 'intended';
  if not found then
    raise exception 'There is nothing to publish with the id %.', id
      using errcode = 'no_data_found', hint = 'See acme.challenge_todo.';
  end if;
end
$$;
comment on function acme.challenge_published(bigint) is
  'Says that a row of challenge_todo has been published by hand; the server is then asked to look.';

create or replace function acme.challenge_removed(id bigint) returns void
language plpgsql volatile
as $$
begin
  update acme.record r set state = 'removed' where r.id = challenge_removed.id and r.method = 'manual' and r.state = 'removing';
  if not found then
    raise exception 'There is nothing to remove with the id %.', id
      using errcode = 'no_data_found', hint = 'See acme.challenge_todo.';
  end if;
end
$$;
comment on function acme.challenge_removed(bigint) is
  'Says that what a row of challenge_todo asked to remove is gone.';

create or replace function acme.certificate_for(name text, spki bytea default null) returns setof acme.current_certificate
language sql stable
as $$
  -- an exact name first, then the wildcard above it; of several the one that lasts longest
  select c.*
    from acme.certificate_name n
    join acme.current_certificate c on c.certificate_id = n.certificate_id
   where n.name in (lower(rtrim(certificate_for.name, '.')),
                    regexp_replace(lower(rtrim(certificate_for.name, '.')), '^[^.]+', '*'))
     and (spki is null or c.spki_sha256 = spki)
   order by (n.name like '*.%'), c.not_before desc, c.certificate_id desc
   limit 1
$$;
comment on function acme.certificate_for(text, bytea) is
  'The certificate to serve for a host name: exact before wildcard, the newest first; spki: only one whose public key has this SHA-256.';
