-- What applications asked for a csr by its row (retry, renew, cancel), and what workers do about it.

-- A csr that is cancelled does not wait for a server that has its CSR: the order is left to itself, gives its slot and its
-- names back, and is watched until it expires. Both are locked.
create or replace function acme_private.detach_order(p_order bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme_private."order" o
     set state = 'cancelled', finished_at = acme_private.clock(), watched_until = acme_private.expiry_of(o),
         reason_code = 'cancelled',
         reason = 'Its csr was cancelled while the server was issuing. It is watched until it expires, and a certificate that comes is stored as unwanted.'
   where o.id = p_order and o.state in ('finalizing', 'downloading');
  if not found then
    return false;
  end if;
  update acme_private.csr_state
     set order_id = null, state = case when state = 'ordering' then 'queued' else state end
   where order_id = p_order;
  perform acme_private.clean_up(p_order);
  perform acme_private.wake_waiters_for_names((select o.identifiers from acme_private."order" o where o.id = p_order));
  perform acme_private.wake_dispatch();
  return true;
end
$$;

-- A rejected csr can be retried for as long as somebody likes: it is told once until something else comes of it.
create or replace function acme_private.note_retry(s acme_private.csr_state) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if s.state <> 'rejected' or acme_private.last_event(s.csr_id) is distinct from 'retry_asked' then
    perform acme_private.note('retry_asked', s.tenant, s.csr_id);
  end if;
end
$$;
comment on function acme_private.note_retry(acme_private.csr_state) is
  'Writes the event that a csr is tried again, of a rejected one once.';

-- Acts on the requests (retry, renew, cancel, changed columns) that this csr's row has and we have not
-- seen. The caller holds the lock on csr_state; acme.csr is read in a later statement, so that nothing
-- committed before is missed. While an order is under way only a cancellation is acted on (at once where the server has the CSR), and that another
-- account is to take its place: the rest waits for the order's end, which calls this again.
create or replace function acme_private.heed(p_csr bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  s acme_private.csr_state;
  c record;
  v_now timestamptz := acme_private.clock();
  v_lock_timeout text := current_setting('lock_timeout');
  v_certificate bigint;
  v_is_ended boolean;
  v_account bigint;
begin
  -- Nearly always there is nothing to heed, which one look tells.
  if not exists (
    select from acme_private.csr_state x
      join acme.csr r on r.id = x.csr_id
     where x.csr_id = p_csr and x.lease_token is null
       and (r.version <> x.seen_version
            or r.cancel_request is not null and x.state <> 'cancelled'
            or x.certificate_id is not null and x.state <> 'cancelled' and (
              exists (select from acme_private.certificate k where k.csr_id = x.csr_id and k.ends_csr)
              or exists (select from acme.revocation_request q where q.certificate_id = x.certificate_id and q.ends_csr))
            or x.state <> 'needs_new_csr' and exists (
              select from acme_private.blocked_key b where b.spki_sha256 = x.spki_sha256))
  ) then
    return;
  end if;
  select * into s from acme_private.csr_state where csr_id = p_csr;
  select r.cancel_request into c from acme.csr r where r.id = p_csr;
  if c.cancel_request is not null and acme_private.detach_order(s.order_id) then
    select * into s from acme_private.csr_state where csr_id = p_csr;
  end if;
  if s.order_id is not null then
    -- (Given to another account, its names are proved anew anyway; what is ready or further may bring its certificate.)
    update acme_private."order" o
       set unwanted_for = 'account_replaced'
     where o.id = s.order_id and c.cancel_request is null and o.state in ('creating', 'authorizing')
       and not o.is_unwanted and acme_private.is_moved(o.id);
    if found or c.cancel_request is not null then
      perform acme_private.enqueue('order', s.order_id);
    end if;
    return;
  end if;
  -- First the reminders, then the row they are of: one that comes between them stays.
  delete from acme_private.request where csr_id = p_csr;
  select r.version, r.retry_request, r.renew_request, r.renew_reason, r.cancel_request, r.cancel_reason, r.renewal, r.priority, r.account
    into c from acme.csr r where r.id = p_csr;
  update acme_private.csr_state
     set seen_version = c.version, priority = c.priority,
         renew_at = case when c.renewal = 'off' then null
                         when renew_at is null and certificate_id is not null then
                           (select acme_private.renewal_time(k.not_before, k.not_after)
                              from acme_private.certificate k where k.id = certificate_id)
                         else renew_at end
   where csr_id = p_csr;
  -- Moved to another account, by acme.replace_account(). It stays at its server.
  update acme_private.csr_state x
     set account_id = a.account_id
    from acme.account n
    join acme_private.account_state a on a.account_id = n.id
   where x.csr_id = p_csr and x.state <> 'received' and n.name = c.account and a.server_id = x.server_id
     and a.account_id <> x.account_id
  returning x.account_id into v_account;
  if found then
    perform acme_private.note('account_replaced', s.tenant, p_csr, null, v_account, null, null,
                              jsonb_build_object('account', c.account));
    -- What its server had against the other account is no matter for this one; a limit of its names is met again.
    update acme_private.csr_state
       set state = case when certificate_id is null then 'queued' else 'renewing' end, queued_at = v_now,
           next_attempt_at = null, reason_code = null, reason = null, cooldown_id = null, updated_at = v_now
     where csr_id = p_csr and (state = 'retrying' and reason_code = 'limited'
                               or state = 'needs_person' and reason_code in ('account_refused', 'name_paused'));
  end if;
  -- What acme.revoke() was to end, and is not being revoked any more: it is revoked, or over.
  v_is_ended := exists (
    select from acme_private.certificate k where k.csr_id = p_csr and k.ends_csr and k.state <> 'revoking');
  if c.cancel_request is not null or v_is_ended then
    if s.state <> 'cancelled' then
      -- What was to be revoked after its replacement is not replaced any more.
      update acme_private.certificate k
         set state = 'revoking', revoke_when_replaced = false, revoking_since = v_now
       where k.id = s.certificate_id and k.state = 'current' and k.revoke_when_replaced
      returning k.id into v_certificate;
      update acme_private.csr_state
         set state = 'cancelled', reason_code = 'cancelled', reason = coalesce(c.cancel_reason, 'It was cancelled on request.'),
             next_attempt_at = null, renew_at = null, queued_at = null, updated_at = v_now
       where csr_id = p_csr;
      -- Nobody is to be told that it is not renewed (acme.attention).
      update acme_private.certificate k set planned_renewal_at = null where k.id = s.certificate_id;
      if exists (
        select from acme_private.certificate k where k.id = s.certificate_id and k.state in ('revoking', 'revoked')
        union all
        select from acme.revocation_request q where q.certificate_id = s.certificate_id)
      then
        update acme_private.csr_state
           set reason_code = 'revoked',
               reason = coalesce(c.cancel_reason,
                 'Its certificate was revoked on request, and it is not ordered any more. Insert the CSR again for a new one.')
         where csr_id = p_csr;
      end if;
      perform acme_private.note('cancelled', s.tenant, p_csr);
      if v_certificate is not null then
        perform acme_private.wake_rows('revoke', 'certificate', array[v_certificate]);
      end if;
    end if;
    return;
  end if;
  if acme_private.is_blocked(s.spki_sha256) then
    if s.state in ('queued', 'issued', 'renewing', 'retrying', 'needs_person') then
      update acme_private.csr_state
         set state = 'needs_new_csr', next_attempt_at = null, renew_at = null, queued_at = null, attempts = 0, updated_at = v_now,
             reason_code = 'key_blocked',
             reason = format('Its key is blocked, since it was said to be compromised. Make a new key, cancel this csr (acme.cancel(%s)), and insert a CSR with the new key.', p_csr)
       where csr_id = p_csr;
      perform acme_private.note('needs_new_csr', s.tenant, p_csr, null, s.account_id, s.certificate_id, null,
                                '{"reason": "its key is blocked"}');
    end if;
    return;
  end if;
  if c.renew_request > s.seen_version and s.state = 'issued' then
    update acme_private.csr_state
       set state = 'renewing', queued_at = v_now, renewal_reason = coalesce(c.renew_reason, 'asked for'),
           attempts = 0, reason_code = null, reason = null, next_attempt_at = null, updated_at = v_now
     where csr_id = p_csr;
    perform acme_private.note('renewal_due', s.tenant, p_csr, null, s.account_id, s.certificate_id, null,
                              jsonb_build_object('reason', coalesce(c.renew_reason, 'asked for')));
  elsif greatest(c.retry_request, c.renew_request) > s.seen_version
        and s.state in ('retrying', 'failed', 'needs_person', 'needs_new_csr', 'rejected') then
    begin
      -- An application may hold the same request in a transaction that it leaves open.
      perform set_config('lock_timeout', '200ms', true);
      update acme_private.csr_state
         set state = case when state = 'rejected' then 'received'
                          when certificate_id is null then 'queued' else 'renewing' end,
             queued_at = case when state <> 'rejected' then v_now end,
             attempts = 0, claims = 0, reason_code = null, reason = null, next_attempt_at = null, updated_at = v_now
       where csr_id = p_csr;
      perform set_config('lock_timeout', v_lock_timeout, true);
      perform acme_private.note_retry(s);
    exception when lock_not_available then
      -- Not seen, then: reconcile comes back to it, each minute, so that it is no event yet.
      update acme_private.csr_state set seen_version = s.seen_version where csr_id = p_csr;
      insert into acme_private.request (csr_id) values (p_csr);
    when unique_violation then
      perform acme_private.note_retry(s);
      -- Brought back to life it would be the second live csr of its kind.
      update acme_private.csr_state
         set reason_code = 'replaced', updated_at = v_now,
             reason = 'It cannot be tried again: another live csr has the same request or ref by now.'
       where csr_id = p_csr;
    end;
  end if;
  -- Its certificate is being revoked, and it may end with it: nothing is ordered meanwhile. That a renewal waits shows
  -- in its renewal_reason; revocation_failed lets it go on.
  update acme_private.csr_state x
     set state = 'issued', queued_at = null, updated_at = v_now, renewal_reason = coalesce(x.renewal_reason, 'asked for')
   where x.csr_id = p_csr and x.state in ('queued', 'renewing') and x.certificate_id is not null
     and acme_private.ending_reason(x.certificate_id) is not null;
end
$$;

-- A csr has a request that nobody has seen, or its next try is due.
create or replace function acme_private.attend(p_worker bigint, p_csr bigint, p_take int) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  s acme_private.csr_state;
  v_claims jsonb;
begin
  if acme_private.is_held(p_worker) then
    return '[]';
  end if;
  perform acme_private.begin_work(true);
  select * into s from acme_private.csr_state where csr_id = p_csr for no key update;
  if not found or s.lease_token is not null and s.lease_until > acme_private.clock() then
    return '[]';
  end if;
  -- Reminders of what is seen already go too; heed reads the row after this, so that none that comes now is lost.
  if s.lease_token is null and s.order_id is null then
    delete from acme_private.request where csr_id = p_csr;
  end if;
  perform acme_private.heed(p_csr);
  update acme_private.csr_state
     set state = case when certificate_id is null then 'queued' else 'renewing' end,
         queued_at = acme_private.clock(), next_attempt_at = null, reason_code = null, reason = null
   where csr_id = p_csr and state = 'retrying' and next_attempt_at <= acme_private.clock();
  select * into s from acme_private.csr_state where csr_id = p_csr;
  if s.state in ('queued', 'renewing') and s.order_id is null then
    v_claims := acme_private.admit(p_worker, s.server_id, p_take);
    perform acme_private.come_back(array[s.server_id], array[p_csr]);
    return v_claims;
  elsif s.state = 'received' then
    perform acme_private.wake_dispatch();
  elsif s.state = 'retrying' then
    -- Woken before its time, maybe by the very job that was to wake it then.
    perform acme_private.enqueue('csr', p_csr, s.next_attempt_at);
  end if;
  return '[]';
end
$$;
comment on function acme_private.attend(bigint, bigint, int) is
  'Acts on an application''s requests for a csr, or on its next try being due. Returns claims.';
