-- Revocation (RFC 8555 §7.6): what a request (64_revocation_requests.sql) leads to, and what the server's answer does.

create or replace function acme_private.is_blocked(p_spki bytea) returns boolean
language plpgsql stable
as $$
begin
  return exists (select from acme_private.blocked_key b where b.spki_sha256 = p_spki);
end
$$;

-- No certificate is asked for with this key again. What has it goes on without: csrs wait for a new CSR, orders
-- end before they are finalized (what was sent already comes, and is revoked), certificates of the tenant who
-- says so are revoked. The csrs are locked (lock_for_revocation).
create or replace function acme_private.block_key(p_certificate bigint, p_reason text) returns void
language plpgsql volatile
as $$
declare
  v_now timestamptz := acme_private.clock();
  k record;
  s record;
  v_ids bigint[];
begin
  select c.csr_id, c.tenant, c.spki_sha256 into k from acme_private.certificate c where c.id = p_certificate;
  insert into acme_private.blocked_key (spki_sha256, tenant, certificate_id, reason)
  values (k.spki_sha256, k.tenant, p_certificate, p_reason)
  on conflict do nothing;
  if not found then
    return;
  end if;
  perform acme_private.note('key_blocked', k.tenant, k.csr_id, null, null, p_certificate, null,
                            jsonb_build_object('spki_sha256', encode(k.spki_sha256, 'hex'), 'reason', p_reason));
  -- Nothing finds a csr or a certificate by its key: it is lost too seldom for an index in the way of each commit.
  perform set_config('enable_seqscan', 'on', true);
  for s in
    select x.csr_id, x.order_id
      from acme_private.csr_state x
     where x.spki_sha256 = k.spki_sha256 and x.is_live
     order by x.csr_id
       for no key update
  loop
    if s.order_id is null then
      perform acme_private.heed(s.csr_id);
    else
      -- Its steps look at it when they are due (order_claim); reconcile wakes what waits for a person.
      update acme_private."order" o
         set is_unwanted = true
       where o.id = s.order_id and o.state in ('creating', 'authorizing', 'ready');
    end if;
  end loop;
  with revoking as (
    update acme_private.certificate c
       set state = 'revoking', revocation_reason = p_reason, revoke_when_replaced = false, revoking_since = v_now,
           next_attempt_at = null, attempts = 0, reason_code = null, reason = null, last_problem = null
     where c.spki_sha256 = k.spki_sha256 and c.tenant = k.tenant and c.state in ('current', 'superseded')
       and c.not_after > v_now and c.id <> p_certificate
    returning c.id
  )
  select array_agg(r.id) into v_ids from revoking r;
  perform set_config('enable_seqscan', 'off', true);
  -- Without keys: theirs would be locks, and others are still to be taken.
  if v_ids is not null then
    perform acme_private.wake_rows('revoke', 'certificate', v_ids);
  end if;
end
$$;

-- The csr of a certificate and, where its key is about to be blocked, all that have the same one.
create or replace function acme_private.lock_for_revocation(p_certificate bigint, p_blocks boolean) returns void
language plpgsql volatile
as $$
declare
  v_csr bigint;
  v_spki bytea;
begin
  select c.csr_id, c.spki_sha256 into v_csr, v_spki from acme_private.certificate c where c.id = p_certificate;
  if not p_blocks or acme_private.is_blocked(v_spki) then
    perform from acme_private.csr_state s where s.csr_id = v_csr for no key update;
    return;
  end if;
  -- Nothing finds a csr or a certificate by its key: it is lost too seldom for an index in the way of each commit.
  perform set_config('enable_seqscan', 'on', true);
  perform from acme_private.csr_state s
   where s.csr_id = v_csr or s.is_live and s.spki_sha256 = v_spki
   order by s.csr_id
     for no key update;
  perform set_config('enable_seqscan', 'off', true);
end
$$;

-- The csr of a certificate that is about to be revoked, both locked, is to end with it. An order that has not sent
-- the CSR yet ends now; heed() holds the csr back, and ends it when the certificate is no longer being revoked.
create or replace function acme_private.end_csr_with(p_certificate bigint) returns void
language plpgsql volatile
as $$
declare
  k record;
  v_orders bigint[];
begin
  with unwanted as (
    update acme_private."order" o
       set is_unwanted = true
      from acme_private.csr_state s
     where s.certificate_id = p_certificate and o.id = s.order_id
       and s.csr_id = (select c.csr_id from acme_private.certificate c where c.id = p_certificate)
       and o.state in ('creating', 'authorizing', 'ready')
    returning o.id
  )
  select array_agg(u.id) into v_orders from unwanted u;
  update acme_private.certificate c
     set ends_csr = true
   where c.id = p_certificate
  returning c.csr_id, c.state in ('revoked', 'expired') or c.not_after <= acme_private.clock() as is_over into k;
  -- Without keys: theirs would be locks, and others are still to be taken.
  if v_orders is not null then
    perform acme_private.wake_rows('cancel', 'order', v_orders);
  end if;
  if k.is_over then
    perform acme_private.remind(array[k.csr_id]);
  end if;
end
$$;

-- Has these csrs heeded by a worker. reconcile comes back to a reminder whose wake-up is lost.
create or replace function acme_private.remind(p_csrs bigint[]) returns void
language plpgsql volatile
as $$
begin
  insert into acme_private.request (csr_id) select unnest(p_csrs);
  perform acme_private.wake_rows('attend', 'csr', p_csrs);
end
$$;

-- The reason for which a csr's certificate is or was revoked, or is asked to be, so that the csr ends with it; null: none.
create or replace function acme_private.ending_reason(p_certificate bigint) returns text
language plpgsql stable
as $$
begin
  return coalesce(
    (select c.revocation_reason from acme_private.certificate c where c.id = p_certificate and c.ends_csr),
    (select q.reason from acme.revocation_request q
      where q.certificate_id = p_certificate and q.ends_csr order by q.id desc limit 1));
end
$$;

-- Brings a certificate, whose csr is locked, to its revocation. Locks orders, then the certificate.
create or replace function acme_private.begin_revocation(
  p_certificate bigint, p_reason text, p_after_replacement boolean, p_by text
) returns void
language plpgsql volatile
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_csr bigint;
  v_tenant text;
begin
  select c.csr_id, c.tenant into v_csr, v_tenant from acme_private.certificate c where c.id = p_certificate;
  perform acme_private.note('revocation_requested', v_tenant, v_csr, null, null, p_certificate, null,
    jsonb_strip_nulls(jsonb_build_object('reason', p_reason, 'after_replacement', p_after_replacement, 'by', p_by)));
  if p_reason = 'keyCompromise' then
    perform acme_private.block_key(p_certificate, p_reason);
  end if;
  -- Only what is still to be replaced can wait for that.
  if p_after_replacement and exists (
    select from acme_private.csr_state s
     where s.csr_id = v_csr and s.certificate_id = p_certificate and s.state not in ('cancelled', 'needs_new_csr'))
  then
    update acme_private.certificate c
       set revoke_when_replaced = true, revocation_reason = p_reason
     where c.id = p_certificate and c.state = 'current';
    return;
  end if;
  update acme_private.certificate c
     set state = 'revoking', revocation_reason = p_reason, revoke_when_replaced = false, revoking_since = v_now,
         next_attempt_at = null, attempts = 0, reason_code = null, reason = null, last_problem = null
   where c.id = p_certificate and c.state in ('current', 'superseded') and c.not_after > v_now;
  if not found then
    -- Asked for once more: tried now, for the reason that was given last.
    update acme_private.certificate c
       set revocation_reason = p_reason, next_attempt_at = null, attempts = 0
     where c.id = p_certificate and c.state = 'revoking' and c.lease_token is null;
  end if;
end
$$;

-- Acts on the requests that this certificate has and nobody has seen.
create or replace function acme_private.heed_revocation(p_certificate bigint) returns void
language plpgsql volatile
as $$
declare
  v_ids bigint[] := array(select q.id from acme.revocation_request q where q.certificate_id = p_certificate order by q.id);
  r record;
begin
  if v_ids = '{}' then
    return;
  end if;
  perform acme_private.lock_for_revocation(p_certificate, exists (
    select from acme.revocation_request q where q.id = any (v_ids) and q.reason = 'keyCompromise'));
  -- One that comes between the look and this is woken for by itself, and locks what it needs.
  for r in
    delete from acme.revocation_request q
     where q.id = any (v_ids)
    returning q.id, q.reason, q.after_replacement, q.requested_by, q.ends_csr
  loop
    -- Of a csr that was deleted with its certificates.
    continue when not exists (select from acme_private.certificate c where c.id = p_certificate);
    if r.ends_csr then
      perform acme_private.end_csr_with(p_certificate);
    end if;
    perform acme_private.begin_revocation(p_certificate, r.reason, r.after_replacement, r.requested_by);
  end loop;
end
$$;

create or replace function acme_private.certificate_claim(p_certificate bigint) returns jsonb
language plpgsql volatile
as $$
begin
  return (
    select jsonb_build_object(
      'kind', 'certificate', 'id', c.id, 'lease', c.lease_token,
      'lease_ms', extract(epoch from acme_private.lease_time()) * 1000, 'step', 'revoke',
      -- who ordered it, else who would
      'account_id', a.account_id, 'account_version', acme_private.account_version(a.account_id),
      'csr_id', c.csr_id, 'leaf_pem', c.leaf_pem, 'reason', c.revocation_reason)
      from acme_private.certificate c
     cross join lateral (
       select coalesce((select o.account_id from acme_private."order" o where o.id = c.order_id),
                       (select i.account_id from acme_private.account_state i where i.account_id = c.account_id),
                       (select s.account_id from acme_private.csr_state s where s.csr_id = c.csr_id)) as account_id
     ) a
     where c.id = p_certificate);
end
$$;

-- Those that may revoke besides who ordered it (RFC 8555 §7.6): accounts of the same server that hold valid
-- authorizations for all names of the certificate.
create or replace function acme_private.accounts_for_revocation(p_certificate bigint, p_account bigint) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object('account_id', f.account_id, 'account_version', f.version) order by f.account_id), '[]')
      from (
        select a.account_id, acme_private.account_version(a.account_id) as version
          from acme_private.certificate c
          join acme_private.account_state mine on mine.account_id = p_account
          join acme_private.account_state a on a.server_id = mine.server_id and a.account_id <> mine.account_id
         where c.id = p_certificate and a.state = 'valid'
           and not exists (
             select from unnest(c.identifiers) n
              where not exists (
                select from acme_private.authorization z
                 where z.account_id = a.account_id and z.state = 'valid'
                   and z.identifier = regexp_replace(n, '^\*\.', '') and z.is_wildcard = (n like '*.%')
                   and (z.expires_at is null or z.expires_at > acme_private.clock())))
         order by a.account_id
         limit 5) f);
end
$$;
comment on function acme_private.accounts_for_revocation(bigint, bigint) is
  'The other accounts of the server that hold valid authorizations for all names of a certificate.';

-- What follows when a certificate is revoked; its csr is locked.
create or replace function acme_private.end_revocation(
  p_worker bigint, p_certificate bigint, p_account bigint, p_detail jsonb
) returns void
language plpgsql volatile
as $$
declare
  v_now timestamptz := acme_private.clock();
  k record;
  s acme_private.csr_state;
begin
  update acme_private.certificate c
     set state = 'revoked', revoked_at = v_now, lease_token = null, lease_until = null, lease_worker = null, claims = 0,
         attempts = 0, next_attempt_at = null, reason_code = null, reason = null, last_problem = null
   where c.id = p_certificate
  returning c.csr_id, c.tenant, c.revocation_reason into k;
  -- It is none to serve any more: certificate_for() passes it over.
  delete from acme_private.certificate_name n where n.certificate_id = p_certificate;
  perform acme_private.note('certificate_revoked', k.tenant, k.csr_id, null, p_account, p_certificate, p_worker,
                            jsonb_build_object('reason', k.revocation_reason) || p_detail);
  -- A cancellation that came with it comes first.
  perform acme_private.heed(k.csr_id);
  select * into s from acme_private.csr_state where csr_id = k.csr_id;
  if s.certificate_id = p_certificate and s.state = 'issued'
     and (select c.renewal from acme.csr c where c.id = k.csr_id) <> 'off' then
    update acme_private.csr_state
       set state = 'renewing', queued_at = v_now, updated_at = v_now, renewal_reason = 'its certificate was revoked'
     where csr_id = k.csr_id;
    perform acme_private.note('renewal_due', k.tenant, k.csr_id, null, s.account_id, p_certificate, p_worker,
                              jsonb_build_object('reason', 'its certificate was revoked'));
    perform acme_private.dispatch_at(v_now, 'now');
  end if;
end
$$;

-- p_was_revoked: the server knew it already, by a worker that died after it sent, or by somebody else.
create or replace function acme_private.certificate_revoked(
  p_worker bigint, p_certificate bigint, p_lease uuid, p_account bigint, p_was_revoked boolean
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  perform from acme_private.csr_state s
   where s.csr_id = (select c.csr_id from acme_private.certificate c where c.id = p_certificate)
     for no key update;
  perform from acme_private.certificate c where c.id = p_certificate and c.lease_token = p_lease for no key update;
  if found then
    perform acme_private.end_revocation(p_worker, p_certificate, p_account,
      case when p_was_revoked then '{"was_revoked": true}'::jsonb else '{}' end);
    -- Asked for while the server was asked: a compromised key has to be blocked all the same.
    if exists (select from acme.revocation_request q where q.certificate_id = p_certificate) then
      perform acme_private.enqueue('certificate', p_certificate);
    end if;
  end if;
end
$$;
comment on function acme_private.certificate_revoked(bigint, bigint, uuid, bigint, boolean) is
  'Stores that a certificate is revoked; a csr that goes on is renewed.';

-- A step on a certificate did not succeed (step_failed). The sentence of a refusal says what a person can do.
create or replace function acme_private.revocation_failed(
  p_worker bigint, p_certificate bigint, p_lease uuid, p_outcome jsonb
) returns void
language plpgsql volatile
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_class text := p_outcome ->> 'class';
  v_code text := p_outcome ->> 'code';
  v_text text := p_outcome ->> 'text';
  v_problem jsonb := nullif(p_outcome -> 'problem', 'null');
  v_after interval := make_interval(secs => (p_outcome ->> 'retry_after_ms')::numeric / 1000);
  k acme_private.certificate;
  v_is_current boolean;
begin
  select c.csr_id into k.csr_id from acme_private.certificate c where c.id = p_certificate;
  perform from acme_private.csr_state s where s.csr_id = k.csr_id for no key update;
  select c.* into k from acme_private.certificate c where c.id = p_certificate and c.lease_token = p_lease for no key update;
  if not found then
    return;
  end if;
  -- It spoke for the account as that is no more; the next claim reads it again.
  if v_class = 'refused' and v_problem ->> 'type' ~ '(unauthorized|malformed)$'
     and p_outcome ->> 'account_version' <> acme_private.account_version((p_outcome ->> 'account_id')::bigint) then
    v_class := 'trouble';
    v_code := 'account_changed';
    v_text := 'Its account has changed meanwhile; it is read again.';
    v_after := interval '0';
  end if;
  case v_class
    when 'waiting', 'trouble', 'limited', 'account_lost' then
      if v_class = 'account_lost' then
        perform acme_private.lose_account(p_worker, (p_outcome ->> 'account_id')::bigint, p_outcome ->> 'account_version', v_problem);
      end if;
      perform acme_private.put_off('certificate', p_certificate,
        v_now + least(coalesce(v_after, case v_class when 'limited' then interval '10 minutes' else acme_private.backoff(k.attempts) end),
                      interval '1 day'),
        k.attempts + 1, v_code, v_text, v_problem);
      return;
    when 'reason_refused' then
      -- Nothing was revoked, and it is as good as before, as is its csr: a renewal that was held back goes on.
      v_is_current := exists (select from acme_private.csr_state s where s.csr_id = k.csr_id and s.certificate_id = k.id);
      update acme_private.certificate c
         set state = case when v_is_current then 'current' else 'superseded' end, ends_csr = false,
             lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = 0, next_attempt_at = null,
             reason_code = v_code, reason = v_text, last_problem = v_problem
       where c.id = k.id;
      if acme_private.ending_reason(k.id) is null then
        update acme_private.csr_state s
           set state = 'renewing', queued_at = v_now, updated_at = v_now
         where s.csr_id = k.csr_id and s.certificate_id = k.id and s.state = 'issued' and s.renewal_reason is not null;
        if found then
          perform acme_private.dispatch_at(v_now, 'now');
        end if;
      end if;
      -- As put_off does: what was asked for meanwhile may have a reason that is taken.
      if exists (select from acme.revocation_request q where q.certificate_id = k.id) then
        perform acme_private.enqueue('certificate', k.id);
      end if;
    else
      perform acme_private.put_off('certificate', p_certificate, v_now + acme_private.ladder(k.attempts + 1), k.attempts + 1,
                                   v_code, v_text, v_problem);
  end case;
  perform acme_private.note('revocation_refused', k.tenant, k.csr_id, null, null, k.id, p_worker,
                            jsonb_build_object('reason', v_text, 'problem', v_problem));
end
$$;

-- The server was asked by somebody else than a worker, and has revoked it: `pgacme revoke --key-file`.
create or replace function acme_private.certificate_was_revoked(p_certificate bigint, p_reason text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text := acme_private.revocation_reason(p_reason);
begin
  if not exists (select from acme_private.certificate c where c.id = p_certificate) then
    raise exception 'There is no certificate %.', p_certificate
      using errcode = 'no_data_found', hint = 'See acme.certificate.';
  end if;
  perform acme_private.begin_work(false);
  -- What was asked for is done with; that a key is compromised is not forgotten with it.
  if exists (select from acme.revocation_request q where q.certificate_id = p_certificate and q.reason = 'keyCompromise') then
    v_reason := 'keyCompromise';
  end if;
  perform acme_private.lock_for_revocation(p_certificate, v_reason = 'keyCompromise');
  if exists (select from acme.revocation_request q where q.certificate_id = p_certificate and q.ends_csr) then
    perform acme_private.end_csr_with(p_certificate);
  end if;
  delete from acme.revocation_request q where q.certificate_id = p_certificate;
  perform acme_private.begin_revocation(p_certificate, v_reason, false, session_user);
  if exists (select from acme_private.certificate c where c.id = p_certificate and c.state = 'revoking') then
    perform acme_private.end_revocation(null, p_certificate, null, '{"elsewhere": true}');
  end if;
end
$$;
comment on function acme_private.certificate_was_revoked(bigint, text) is
  'Stores that a certificate was revoked by other means than a worker.';

create or replace function acme.certificate_was_revoked(certificate bigint, reason text) returns void
language sql volatile
begin atomic
  select acme_private.certificate_was_revoked(certificate_was_revoked.certificate, certificate_was_revoked.reason);
end;
comment on function acme.certificate_was_revoked(bigint, text) is
  'Says that the server has revoked this certificate, asked by others than pgacme''s workers; pgacme revoke --key-file calls it. What follows is the same as with acme.revoke_certificate.';
