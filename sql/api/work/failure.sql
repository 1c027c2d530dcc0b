-- What happens when a step does not succeed. The worker says which class the outcome is of (it knows
-- the protocol); what follows from it is decided here, in one place, by the table in docs/design.md.

-- The same step again later; nothing is lost and nothing ends.
create or replace function acme_private.put_off(
  p_kind text, p_id bigint, p_due timestamptz, p_attempts int, p_code text, p_text text, p_problem jsonb
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  case p_kind
    when 'order' then
      update acme_private."order"
         set lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = p_attempts,
             next_attempt_at = p_due, reason_code = p_code, reason = p_text, last_problem = p_problem
       where id = p_id;
      -- Not wanted any more since: to end it no server is asked.
      if exists (select from acme_private."order" o
                   join acme.csr c on c.id = o.csr_id
                  where o.id = p_id and o.state = 'creating' and (o.is_unwanted or c.cancel_request is not null)) then
        p_due := acme_private.clock();
      end if;
    when 'authorization' then
      update acme_private.authorization
         set lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = p_attempts,
             next_attempt_at = p_due, reason_code = p_code, reason = p_text, last_problem = p_problem,
             updated_at = acme_private.clock()
       where id = p_id;
      -- To be given up since.
      if exists (select from acme.deactivation_request q where q.authorization_id = p_id) then
        p_due := acme_private.clock();
      end if;
    when 'certificate' then
      update acme_private.certificate
         set lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = p_attempts,
             next_attempt_at = p_due, reason_code = p_code, reason = p_text, last_problem = p_problem
       where id = p_id;
      -- Asked for anew while the server was asked: that one is not told to wait.
      if exists (select from acme.revocation_request q where q.certificate_id = p_id) then
        p_due := acme_private.clock();
      end if;
    when 'account' then
      update acme_private.account_state
         set lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = p_attempts,
             next_attempt_at = p_due, reason_code = p_code, reason = p_text, last_problem = p_problem,
             updated_at = acme_private.clock()
       where account_id = p_id;
      -- A person may have acted while we asked.
      if exists (select from acme.account c
                   join acme_private.account_state a on a.account_id = c.id
                  where c.id = p_id and c.version > a.seen_version) then
        p_due := acme_private.clock();
      end if;
  end case;
  if p_due < 'infinity' then
    perform acme_private.enqueue(p_kind, p_id, p_due);
  end if;
end
$$;

-- The server is still at work on what it was given, and is looked at again: after 3 s, later after a tenth of the time
-- that it has taken, up to 5 minutes, since a validation may be tried for days (RFC 8555 §8.2). Never sooner than it
-- asked to be (p_after; null: it asked nothing, 0: nor is anything to be waited for, since this worker stops).
-- p_problem: what it says of it so far, such as a validation that it tries again.
create or replace function acme_private.wait_for_server(
  p_kind text, p_id bigint, p_after interval, p_text text, p_problem jsonb
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_first timestamptz := case when p_after = interval '0' then null else v_now end;
  v_since timestamptz;
  v_text text := p_text;
begin
  if p_kind = 'order' then
    update acme_private."order" set waiting_since = coalesce(waiting_since, v_first)
     where id = p_id
    returning waiting_since into v_since;
  else
    update acme_private.authorization set waiting_since = coalesce(waiting_since, v_first)
     where id = p_id
    returning waiting_since into v_since;
  end if;
  if v_since < v_now then
    v_text := format('%s It has been at it since %s, and is asked less and less often.', p_text,
                     to_char(v_since, 'YYYY-MM-DD HH24:MI:SS TZ'));
  end if;
  perform acme_private.put_off(p_kind, p_id,
    v_now + greatest(least(coalesce(p_after, interval '3 seconds'), interval '1 day'),
                     least((v_now - coalesce(v_since, v_now)) / 10, interval '5 minutes')),
    0, 'waiting_for_server', v_text, p_problem);
end
$$;

-- Has the csr had a certificate before that was not what it asked for, and for the same reason, since it got a good one?
create or replace function acme_private.came_out_the_same(o acme_private."order", p_problem jsonb) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_problem ->> 'type' = 'certificate_mismatch' and exists (
    select from acme_private."order" x
     where x.csr_id = o.csr_id and x.id < o.id and x.state = 'failed' and x.reason_code = 'certificate_mismatch'
       and x.last_problem ->> 'detail' = p_problem ->> 'detail'
       and x.id > coalesce((select max(g.id) from acme_private."order" g
                             where g.csr_id = o.csr_id and g.state = 'issued'), 0));
end
$$;

-- Was the csr of this order refused in the same way before, and its account found valid since? Then it is not the
-- account's fault.
create or replace function acme_private.is_refused_again(p_order bigint, p_type text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private."order" o
      join acme_private.account_state a on a.account_id = o.account_id
     where o.id = p_order and o.state = 'creating' and a.verified_at > (
       select p.finished_at from acme_private."order" p
        where p.csr_id = o.csr_id and p.id < o.id and p.account_id = o.account_id and p.last_problem ->> 'type' = p_type
        order by p.id desc
        limit 1));
end
$$;
comment on function acme_private.is_refused_again(bigint, text) is
  'Whether a server refused to make an order of a csr in the same way before and after its account was found valid.';

-- The server refused to make something, as it would also where the account is closed or its key was replaced. Returns
-- what the outcome is then: account_held where the account is asked for first.
create or replace function acme_private.class_of_refusal(
  p_kind text, p_id bigint, p_account bigint, p_class text, p_outcome jsonb
) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if p_kind = 'order' and acme_private.is_refused_again(p_id, p_outcome #>> '{problem,type}') then
    return case when p_class = 'refused' and (p_outcome ->> 'is_of_request')::boolean then 'permanent' else p_class end;
  end if;
  if acme_private.doubt_account(p_account) and p_outcome ->> 'of_account' = 'likely' then
    return 'account_held';
  end if;
  return p_class;
end
$$;
comment on function acme_private.class_of_refusal(text, bigint, bigint, text, jsonb) is
  'The class of a refusal that may be the account''s: whether the account is in doubt, or the request will be refused again.';

-- How long to wait after orders that the server itself broke: 1, 2, 4 … 60 minutes, by how many there were within the day.
create or replace function acme_private.server_error_delay(p_csr bigint) returns interval
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select interval '1 minute' * least(power(2, greatest(count(*) - 1, 0)), 60)
      from acme_private."order" o
     where o.csr_id = p_csr and o.state = 'failed' and o.reason_code = 'remote_trouble'
       and o.finished_at > acme_private.clock() - interval '1 day');
end
$$;

-- Until when a URL that the server does not find (404) is asked for again, since one of its replicas may not know it yet: for
-- minutes where it is new, and an order that has its CSR until it expires.
create or replace function acme_private.missing_until(p_kind text, p_id bigint) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if p_kind = 'authorization' then
    return (select a.created_at + acme_private.lag_time() from acme_private.authorization a where a.id = p_id);
  end if;
  return (
    select case when o.watched_until is not null or o.state in ('finalizing', 'downloading') then acme_private.expiry_of(o)
                else coalesce(o.made_at, o.created_at) + acme_private.lag_time() end
      from acme_private."order" o
     where o.id = p_id);
end
$$;

-- Does the server have the CSR of this order? Then it may issue, whatever it answers meanwhile.
create or replace function acme_private.is_taken(p_order bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private."order" o
     where o.id = p_order and (o.watched_until is not null or o.state in ('finalizing', 'downloading')));
end
$$;

-- Nothing more is expected of an order whose csr was cancelled.
create or replace function acme_private.end_watch(p_order bigint, p_text text, p_problem jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme_private."order"
     set watched_until = null, lease_token = null, lease_until = null, lease_worker = null, claims = 0, next_attempt_at = null,
         reason_code = 'cancelled', reason = format('Its csr was cancelled while the server was issuing. No certificate came: %s', p_text),
         last_problem = p_problem
   where id = p_order;
end
$$;

-- The server has made an order whose answers do not tell what is needed: have they been asked for long enough?
create or replace function acme_private.has_had_its_time(p_order bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select o.made_at < acme_private.clock() - acme_private.lag_time() from acme_private."order" o where o.id = p_order);
end
$$;

-- outcome: {class, code, text, problem, retry_after_ms, limits, words, shared_words, page_url, identifier,
-- authorization_state, account_version, is_missing, is_of_request, of_account, order_url}
--   class: waiting, trouble, limited, or one of end_order's
--   of_account: likely or possible, where the server may have said it of the account;
--   is_missing: a 404 for what the server had; order_url: of an order that it made, and did not tell enough of;
--   is_unusable: nor did it when it was asked again
create or replace function acme_private.step_failed(
  p_worker bigint, p_kind text, p_id bigint, p_lease uuid, p_outcome jsonb, p_take int
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_class text := p_outcome ->> 'class';
  v_code text := p_outcome ->> 'code';
  v_text text := p_outcome ->> 'text';
  v_problem jsonb := nullif(p_outcome -> 'problem', 'null');
  v_after interval := make_interval(secs => (p_outcome ->> 'retry_after_ms')::numeric / 1000);
  v_ends_order boolean;
  v_is_mute boolean;
  v_is_unusable boolean := coalesce((p_outcome ->> 'is_unusable')::boolean, false);
  v_orders bigint[];
  v_server bigint;
  v_account bigint;
  v_attempts int;
  v_identifier text;
  v_due timestamptz;
  v_is_deactivation boolean := false;
  v_authorization acme_private.authorization;
  v_claims jsonb := '[]';
begin
  perform acme_private.begin_work(false);
  if p_kind = 'certificate' then
    perform acme_private.revocation_failed(p_worker, p_id, p_lease, p_outcome);
    return v_claims;
  end if;
  -- A limit met before there is anything at the server gives the place back.
  v_ends_order := p_kind <> 'account' and (v_class not in ('waiting', 'trouble') or v_is_unusable)
    and (v_class <> 'limited' or p_kind = 'order' and exists (
      select from acme_private."order" y where y.id = p_id and y.url is null));
  -- Nobody can speak for its account here.
  v_is_mute := p_kind = 'order' and v_code in ('secret_key_wrong', 'account_not_ready');
  -- The lock order: csr states, orders, then the row itself.
  if v_ends_order or v_is_mute then
    v_orders := case p_kind when 'order' then array[p_id] else acme_private.orders_of(p_id) end;
    perform acme_private.lock_with_csrs(v_orders);
  end if;
  case p_kind
    when 'order' then
      select x.server_id, x.account_id, x.attempts into v_server, v_account, v_attempts
        from acme_private."order" x where x.id = p_id and x.lease_token = p_lease for update;
    when 'authorization' then
      select s.server_id, x.account_id, x.attempts, x.identifier, x.state = 'deactivating'
        into v_server, v_account, v_attempts, v_identifier, v_is_deactivation
        from acme_private.authorization x
        join acme_private.account_state s on s.account_id = x.account_id
       where x.id = p_id and x.lease_token = p_lease for update of x;
    when 'account' then
      select x.server_id, x.account_id, x.attempts into v_server, v_account, v_attempts
        from acme_private.account_state x where x.account_id = p_id and x.lease_token = p_lease for update;
  end case;
  if not found then
    return v_claims;
  end if;
  if p_kind = 'authorization' and v_ends_order and exists (
    select from acme_private."order" y
     where y.id = any (acme_private.orders_of(p_id)) and y.finished_at is null and y.id <> all (v_orders))
  then
    -- An order came to need it since its orders were locked: once more, with that one.
    perform acme_private.put_off('authorization', p_id, v_now, v_attempts, v_code, v_text, v_problem);
    return v_claims;
  end if;

  if p_outcome ? 'order_url' then
    -- The one thing that cannot be asked for again.
    update acme_private."order"
       set url = p_outcome ->> 'order_url', made_at = coalesce(made_at, v_now)
     where id = p_id and state = 'creating';
  end if;

  -- It spoke for the account as that is no more (its key was rolled over, it was registered anew): what the
  -- server said of it says nothing. The next claim reads the account again.
  if p_kind <> 'account' and v_class in ('refused', 'person', 'permanent', 'account_lost', 'account_held')
     and p_outcome ? 'of_account'
     and p_outcome ->> 'account_version' <> acme_private.account_version(v_account) then
    v_class := 'trouble';
    v_code := 'account_changed';
    v_text := 'Its account has changed meanwhile; it is read again.';
    v_after := interval '0';
  end if;

  if v_class = 'gone' and (p_outcome ->> 'is_missing')::boolean and v_now < acme_private.missing_until(p_kind, p_id) then
    v_class := 'trouble';
    v_code := 'remote_trouble';
    v_text := format('%s The server may not know it everywhere yet: it is asked again until %s.', v_text,
                     to_char(acme_private.missing_until(p_kind, p_id), 'YYYY-MM-DD HH24:MI:SS TZ'));
  elsif v_class = 'trouble' and v_is_unusable and acme_private.has_had_its_time(p_id) then
    v_class := 'refused';
    v_code := 'server_refused';
  end if;
  if p_kind = 'order' and exists (
    select from acme_private."order" y
     where y.id = p_id and y.watched_until is not null
       and (v_class not in ('waiting', 'trouble', 'limited', 'account_held') or y.watched_until < v_now))
  then
    perform acme_private.end_watch(p_id, v_text, v_problem);
    return v_claims;
  elsif v_class = 'account_held' and p_kind = 'order' and acme_private.is_taken(p_id) then
    -- The certificate may be made all the same, and is fetched when a person did what the account needs.
    perform acme_private.hold_account(p_worker, v_account, p_outcome);
    perform acme_private.put_off(p_kind, p_id, v_now + interval '1 minute', v_attempts, v_code, v_text, v_problem);
    return v_claims;
  end if;

  if v_is_mute and acme_private.is_given_up(p_id) then
    return acme_private.end_orders(p_worker, v_orders, 'account_lost', v_code,
      v_text || ' It was given up after an hour: without the key a certificate that the server may have made for it cannot be fetched.',
      v_problem, null, p_take);
  end if;

  if v_class = 'waiting' then
    if p_kind = 'account' then
      perform acme_private.put_off(p_kind, p_id, v_now + v_after, 0, v_code, v_text, null);
    else
      perform acme_private.wait_for_server(p_kind, p_id, v_after, v_text, v_problem);
    end if;
    return v_claims;
  elsif v_class = 'trouble' then
    if p_kind = 'account' then
      -- A server that cannot say so for an hour is asked by orders again.
      update acme_private.account_state set doubted_at = null where account_id = p_id and doubted_at < v_now - interval '1 hour';
    end if;
    perform acme_private.put_off(p_kind, p_id, v_now + least(coalesce(v_after, acme_private.backoff(v_attempts)), interval '1 day'),
                                 v_attempts + 1, v_code, v_text, v_problem);
    return v_claims;
  elsif v_class = 'limited' then
    v_due := v_now + least(coalesce(v_after, interval '10 minutes'), interval '8 days');
    perform acme_private.limit_scopes(p_worker, p_kind, p_id, v_server, v_account, v_due, p_outcome);
    if not v_ends_order then
      -- Not all at the very moment it opens.
      perform acme_private.put_off(p_kind, p_id, v_due + random() * interval '2 seconds', v_attempts, 'limited', v_text, v_problem);
      return v_claims;
    end if;
  end if;

  -- Known by a key that was replaced since the backup, it would be registered a second time with the old one.
  if v_class = 'account_lost' and exists (
    select from acme_private.account_state a where a.account_id = v_account and a.reread_since is not null)
  then
    if p_kind = 'account' then
      v_class := 'person';
      v_code := 'account_key_unknown';
      v_text := 'The server knows no account with this key. The database was restored from a backup: the key was replaced since, or the account was lost. Import a newer export of it under another name (pgacme account import), or insert another account; then acme.replace_account(old, new). acme.verify_account looks again.';
    end if;
  elsif v_class = 'account_lost' then
    -- Whoever has its lease speaks for it as it is, also where a key was stored since the claim.
    perform acme_private.lose_account(p_worker, v_account,
      case p_kind when 'account' then acme_private.account_version(v_account) else p_outcome ->> 'account_version' end, v_problem);
  elsif v_class = 'account_held' and p_kind <> 'account' then
    perform acme_private.hold_account(p_worker, v_account, p_outcome);
  end if;
  -- Nothing was made, and it may not be the request that was refused.
  if v_class in ('refused', 'person') and p_outcome ? 'of_account'
     and exists (select from acme_private."order" y where p_kind = 'order' and y.id = p_id and y.state = 'creating'
                 union all
                 select from acme_private.authorization y where p_kind = 'authorization' and y.id = p_id and y.state = 'new') then
    v_class := acme_private.class_of_refusal(p_kind, p_id, v_account, v_class, p_outcome);
    if v_class = 'permanent' then
      v_code := 'refused_for_good';
      v_text := v_text || ' The account is valid, so that the same request will be refused again. Cancel this csr, and insert a CSR that the server takes, or name another profile.';
    end if;
  end if;
  if p_kind = 'order' and p_outcome ? 'page_url' then
    insert into acme_private.paused_csr (csr_id, page_url, since)
    select o.csr_id, p_outcome ->> 'page_url', v_now from acme_private."order" o where o.id = p_id
    on conflict (csr_id) do update set page_url = excluded.page_url, since = excluded.since;
  end if;
  if p_kind = 'account' then
    if v_class = 'account_lost' then
      update acme_private.account_state
         set lease_token = null, lease_until = null, lease_worker = null, claims = 0
       where account_id = p_id;
      -- An order may have found it out before: what that woke met this lease.
      perform acme_private.enqueue('account', p_id, (
        select a.next_attempt_at from acme_private.account_state a where a.account_id = p_id));
      return v_claims;
    elsif v_class in ('person', 'account_held') then
      v_due := 'infinity';
      if v_class = 'account_held' then
        -- As hold_account does.
        update acme_private.account_state
           set state = 'registering', version = version + 1
         where account_id = p_id and state = 'valid';
      end if;
    else
      v_due := v_now + acme_private.ladder(v_attempts + 1);
    end if;
    -- An answer; while the key opens no account it orders nothing.
    update acme_private.account_state set doubted_at = null where account_id = p_id and v_code <> 'account_key_unknown';
    if p_outcome ->> 'terms_url' is not null then
      update acme_private.account_state set terms_url = p_outcome ->> 'terms_url' where account_id = p_id;
    end if;
    perform acme_private.put_off('account', p_id, v_due, v_attempts + 1, v_code, v_text, v_problem);
    perform acme_private.note('account_needs_attention', null, null, null, p_id, null, p_worker,
                              jsonb_build_object('reason', v_text, 'problem', v_problem));
    return v_claims;
  end if;

  if v_is_deactivation then
    perform acme_private.put_off('authorization', p_id, v_now + acme_private.ladder(v_attempts + 1), v_attempts + 1,
                                 v_code, v_text, v_problem);
    return v_claims;
  end if;

  if p_kind = 'authorization' then
    if v_class in ('account_lost', 'account_held') and acme_private.waits_for_account(p_id, v_class) then
      perform acme_private.put_off('authorization', p_id, v_now + interval '1 minute', v_attempts, v_code, v_text, v_problem);
      return v_claims;
    end if;
    update acme_private.authorization
       set state = coalesce(p_outcome ->> 'authorization_state', case state when 'new' then 'invalid' else 'expired' end),
           identifier = coalesce(p_outcome ->> 'identifier', identifier),
           -- Ended by the server, or only here: then it may be valid there still, for who knows how long
           -- (acme_private.authorizations_left_behind).
           expires_at = case when p_outcome ? 'authorization_state' then least(coalesce(expires_at, v_now), v_now) end,
           lease_token = null, lease_until = null, lease_worker = null, claims = 0, next_attempt_at = null,
           reason_code = v_code, reason = v_text, last_problem = v_problem, updated_at = v_now
     where id = p_id
    returning * into v_authorization;
    v_identifier := v_authorization.identifier;
    update acme_private.challenge
       set state = 'invalid', error = v_problem
     where authorization_id = p_id and state in ('pending', 'processing');
    if v_authorization.is_preauthorization then
      perform acme_private.preauthorization_failed(p_worker, v_authorization, v_class);
    end if;
    -- Of one that went further the server says what becomes of it.
    v_orders := array(select y.id from acme_private."order" y
                       where y.id = any (v_orders) and y.state = 'authorizing' and y.lease_token is null);
  end if;
  return acme_private.end_orders(p_worker, v_orders, v_class, v_code, v_text, v_problem,
                                 case when v_class = 'validation' then coalesce(v_identifier, p_outcome ->> 'identifier') end, p_take);
end
$$;
comment on function acme_private.step_failed(bigint, text, bigint, uuid, jsonb, int) is
  'Stores that a step did not succeed, by the class of its outcome; returns claims on what is next in line.';
