-- Revocation (RFC 8555 §7.6). Applications insert into acme.revocation_request, by acme.revoke() and
-- acme.revoke_certificate(); a worker takes the requests of a certificate away when it claims it, moves the
-- certificate to revoking, and asks the server.

-- The names of RFC 5280 §5.3.1 that a certificate's owner may give, or their numbers; else a sentence.
create or replace function acme_private.revocation_reason(p_reason text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text;
begin
  select r.name into v_reason
    from (values (0, 'unspecified'), (1, 'keyCompromise'), (3, 'affiliationChanged'), (4, 'superseded'),
                 (5, 'cessationOfOperation'), (9, 'privilegeWithdrawn')) r (number, name)
   where lower(r.name) = lower(p_reason) or r.number::text = p_reason;
  if v_reason is null then
    raise exception '% is no reason for a revocation.', coalesce(quote_literal(left(p_reason, 60)), 'null')
      using errcode = 'invalid_parameter_value',
            hint = 'Give one of unspecified (0), keyCompromise (1), affiliationChanged (3), superseded (4), cessationOfOperation (5), privilegeWithdrawn (9).';
  end if;
  return v_reason;
end
$$;

create or replace function acme.revoke(csr bigint, reason text, after_replacement boolean default false) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  s acme.csr_status;
begin
  select t.* into s from acme.csr_status t where t.id = revoke.csr;
  if not found then
    raise exception 'There is no csr %.', csr using errcode = 'no_data_found', hint = 'See acme.csr_status.';
  elsif s.certificate_id is null then
    raise exception 'csr % has no certificate to revoke.', csr
      using errcode = 'object_not_in_prerequisite_state', hint = format('acme.cancel(%s) stops ordering.', csr);
  elsif after_replacement and s.state in ('cancelled', 'needs_new_csr') then
    raise exception 'csr % is % and is not renewed: nothing will replace its certificate.', csr, s.state
      using errcode = 'object_not_in_prerequisite_state', hint = 'Revoke it without after_replacement.';
  end if;
  insert into acme.revocation_request (certificate_id, reason, after_replacement, ends_csr)
  values (s.certificate_id, revoke.reason, after_replacement is true, after_replacement is not true);
  if after_replacement then
    update acme.csr c
       set renew_request = c.version + 1, renew_reason = 'its certificate is to be revoked'
     where c.id = revoke.csr;
  end if;
end
$$;
comment on function acme.revoke(bigint, text, boolean) is
  'Has this csr''s certificate revoked, for a reason of RFC 5280 by name or number, and ends the csr with it, as acme.cancel does: it is not renewed from now on; insert the CSR again for a new certificate. A server that refuses the reason leaves both as they were. after_replacement: renews first, revokes the old certificate once the new one is stored, and the csr goes on. keyCompromise: all certificates with its key are revoked, the key is blocked, and every csr with it waits as needs_new_csr.';

create or replace function acme.revoke_certificate(certificate bigint, reason text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into acme.revocation_request (certificate_id, reason)
  values (revoke_certificate.certificate, revoke_certificate.reason);
end
$$;
comment on function acme.revoke_certificate(bigint, text) is
  'Has this one certificate revoked, for a reason of RFC 5280 by name or number. Its csr goes on: if this was the certificate to serve, a new one is ordered. keyCompromise: as in acme.revoke.';

create or replace function acme_private.is_blocked(p_spki bytea) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select from acme_private.blocked_key b where b.spki_sha256 = p_spki);
end
$$;

-- No certificate is asked for with this key again. What has it goes on without: csrs wait for a new CSR, orders
-- end before they are finalized (what was sent already comes, and is revoked), certificates of the tenant who
-- says so are revoked. The csrs are locked (lock_for_revocation).
create or replace function acme_private.block_key(p_certificate bigint, p_reason text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  k record;
  s record;
  v_ids bigint[];
  v_seqscan text := current_setting('enable_seqscan');
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
      perform acme_private.heed_anyhow(s.csr_id);
    else
      -- Its steps look at it when they are due (order_claim); reconcile wakes what waits for a person.
      update acme_private."order" o
         set unwanted_for = 'key_blocked'
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
  perform set_config('enable_seqscan', v_seqscan, true);
  -- Without keys: theirs would be locks, and others are still to be taken.
  if v_ids is not null then
    perform acme_private.wake_rows('revoke', 'certificate', v_ids);
  end if;
end
$$;

-- The csr of a certificate and, where its key is about to be blocked, all that have the same one.
create or replace function acme_private.lock_for_revocation(p_certificate bigint, p_blocks boolean) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_csr bigint;
  v_spki bytea;
  -- a worker's, or of an administrator's own transaction
  v_seqscan text := current_setting('enable_seqscan');
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
  perform set_config('enable_seqscan', v_seqscan, true);
end
$$;

-- The csr of a certificate that is about to be revoked, both locked, is to end with it. An order that has not sent
-- the CSR yet ends now; heed() holds the csr back, and ends it when the certificate is no longer being revoked.
create or replace function acme_private.end_csr_with(p_certificate bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  k record;
  v_orders bigint[];
begin
  with unwanted as (
    update acme_private."order" o
       set unwanted_for = 'revoking'
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into acme_private.request (csr_id) select unnest(p_csrs);
  perform acme_private.wake_rows('attend', 'csr', p_csrs);
end
$$;

-- The reason for which a csr's certificate is or was revoked, or is asked to be, so that the csr ends with it; null: none.
create or replace function acme_private.ending_reason(p_certificate bigint) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
     where c.id = p_certificate and c.state = 'revoking' and (c.lease_token is null or c.lease_until < v_now);
  end if;
end
$$;

-- A request is of its certificate's tenant: row-level security and the trigger see to that when it is inserted.
-- Should one get past them, nothing comes of it but an event, which only watchers and administrators see.
create or replace function acme_private.drop_foreign_revocations(p_certificate bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  r record;
begin
  for r in
    delete from acme.revocation_request q
     using acme_private.certificate c
     where q.certificate_id = p_certificate and c.id = q.certificate_id and q.tenant <> c.tenant
    returning q.reason, q.tenant, q.requested_by
  loop
    perform acme_private.note('request_dropped', null, null, null, null, p_certificate, null, jsonb_build_object(
      'request', 'revocation', 'revocation_reason', r.reason, 'tenant', r.tenant, 'by', r.requested_by));
  end loop;
end
$$;
comment on function acme_private.drop_foreign_revocations(bigint) is
  'Takes away the requests to revoke this certificate that are not of its tenant, with an event each.';

-- Acts on the requests that this certificate has and nobody has seen.
create or replace function acme_private.heed_revocation(p_certificate bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[] := array(select q.id from acme.revocation_request q where q.certificate_id = p_certificate order by q.id);
  r record;
begin
  if v_ids = '{}' then
    return;
  end if;
  perform acme_private.drop_foreign_revocations(p_certificate);
  perform acme_private.lock_for_revocation(p_certificate, exists (
    select from acme.revocation_request q where q.id = any (v_ids) and q.reason = 'keyCompromise'));
  perform from acme_private.certificate c where c.id = p_certificate for no key update;
  if exists (select from acme_private.certificate c where c.id = p_certificate and c.lease_until >= acme_private.clock()) then
    -- Somebody has taken it at this very moment, and comes back to the requests.
    return;
  end if;
  -- One that comes between the look and this is woken for by itself, and locks what it needs. Requests that ask for the same
  -- are one, so that a flood of them takes no longer.
  for r in
    with taken as (
      delete from acme.revocation_request q
       where q.id = any (v_ids)
      returning q.id, q.reason, q.after_replacement, q.requested_by, q.ends_csr
    )
    select t.reason, t.after_replacement, bool_or(t.ends_csr) as ends_csr,
           (array_agg(t.requested_by order by t.id desc))[1] as requested_by
      from taken t
     group by t.reason, t.after_replacement
     order by max(t.id)
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
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
