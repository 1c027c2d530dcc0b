-- The commit in which a certificate becomes its csr's current one, and what it shares with adoption and restore.

-- A csr's certificate gives its place to the next one. True: now it is to be revoked.
create or replace function acme_private.supersede(p_certificate bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_revoking boolean;
begin
  update acme_private.certificate
     set state = case when revoke_when_replaced then 'revoking' else 'superseded' end,
         revoking_since = case when revoke_when_replaced then acme_private.clock() end, revoke_when_replaced = false
   where id = p_certificate and state = 'current'
  returning state = 'revoking' into v_is_revoking;
  delete from acme_private.certificate_name where certificate_id = p_certificate;
  return v_is_revoking;
end
$$;

-- When a new certificate is to be renewed (renewal_time). One that ends with its issuer may get the same issuer
-- again: then it is not tried without end in what is left, but a day later, or as it ends.
create or replace function acme_private.first_renewal(p_certificate jsonb) returns timestamptz
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz := acme_private.renewal_time((p_certificate ->> 'not_before')::timestamptz,
                                                (p_certificate ->> 'not_after')::timestamptz);
begin
  return case when (p_certificate ->> 'ends_with_issuer')::boolean
              then greatest(v_at, least(acme_private.clock() + interval '1 day', (p_certificate ->> 'not_after')::timestamptz))
              else v_at end;
end
$$;

-- A certificate that a worker has checked, with its names, and when it is to be renewed. No order: another client
-- ordered it.
create or replace function acme_private.insert_certificate(
  s acme_private.csr_state, p_order bigint, p_certificate jsonb, p_planned timestamptz
) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[] := array(select jsonb_array_elements_text(p_certificate -> 'identifiers'));
  v_certificate bigint;
begin
  insert into acme_private.certificate (csr_id, tenant, order_id, account_id, identifiers, leaf_pem, chain_pem, subject, issuer,
                                        serial, not_before, not_after, spki_sha256, fingerprint_sha256, planned_renewal_at)
  values (s.csr_id, s.tenant, p_order, case when p_order is null then acme_private.account_of_adoption(s.csr_id) end,
          v_names, p_certificate ->> 'leaf_pem', p_certificate ->> 'chain_pem',
          p_certificate ->> 'subject', p_certificate ->> 'issuer', p_certificate ->> 'serial',
          (p_certificate ->> 'not_before')::timestamptz, (p_certificate ->> 'not_after')::timestamptz,
          decode(p_certificate ->> 'spki_sha256', 'hex'), decode(p_certificate ->> 'fingerprint_sha256', 'hex'),
          p_planned)
  returning id into v_certificate;
  insert into acme_private.certificate_name (name, certificate_id, tenant)
  select n, v_certificate, s.tenant from unnest(v_names) n;
  return v_certificate;
end
$$;

-- A certificate of an order whose csr was cancelled when the server had the CSR: nobody serves it. It is revoked with what its
-- csr had, or where its key is blocked; else the event has the statement that does it. Csr and order are locked.
create or replace function acme_private.store_unwanted(
  p_worker bigint, s acme_private.csr_state, o acme_private."order", p_certificate jsonb
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_certificate bigint := acme_private.insert_certificate(s, o.id, p_certificate, null);
  v_statement text := format('select acme.revoke_certificate(%s, ''cessationOfOperation'');', v_certificate);
  v_reason text := coalesce(
    case when acme_private.is_blocked(decode(p_certificate ->> 'spki_sha256', 'hex')) then 'keyCompromise' end,
    (select k.revocation_reason from acme_private.certificate k
      where k.id = s.certificate_id and k.state in ('revoking', 'revoked')));
begin
  perform acme_private.supersede(v_certificate);
  update acme_private.certificate set is_unwanted = true where id = v_certificate;
  update acme_private."order"
     set watched_until = null, certificate_url = coalesce(p_certificate ->> 'url', certificate_url), lease_token = null,
         lease_until = null, lease_worker = null, claims = 0, attempts = 0, next_attempt_at = null, reason_code = 'cancelled',
         reason = format('Certificate %s came after its csr was cancelled, and nobody serves it. To revoke it: %s', v_certificate, v_statement)
   where id = o.id;
  perform acme_private.note('unwanted_certificate', o.tenant, o.csr_id, o.id, o.account_id, v_certificate, p_worker,
    jsonb_build_object('serial', p_certificate ->> 'serial', 'not_after', p_certificate ->> 'not_after',
                       'reason', 'It came after its csr was cancelled, and nobody serves it.', 'revoke', v_statement));
  if v_reason is not null then
    perform acme_private.begin_revocation(v_certificate, v_reason, false, null);
    perform acme_private.wake_rows('revoke', 'certificate', array[v_certificate]);
  end if;
end
$$;

-- The certificate, checked by the worker: it becomes the csr's current one in this commit.
create or replace function acme_private.certificate_stored(
  p_worker bigint, p_order bigint, p_lease uuid, p_certificate jsonb, p_take int
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  o acme_private."order";
  s acme_private.csr_state;
  v_certificate bigint;
  v_not_after timestamptz := p_certificate ->> 'not_after';
  v_planned timestamptz := acme_private.first_renewal(p_certificate);
  v_spki bytea := decode(p_certificate ->> 'spki_sha256', 'hex');
  v_is_revoking boolean;
  v_ending text;
  v_reason text;
  v_claims jsonb;
begin
  perform acme_private.begin_work(false);
  select x.* into s
    from acme_private.csr_state x
   where x.csr_id = (select y.csr_id from acme_private."order" y where y.id = p_order)
     for no key update;
  select * into o from acme_private."order" where id = p_order and lease_token = p_lease for update;
  if not found then
    return '[]';
  elsif o.watched_until is not null then
    perform acme_private.store_unwanted(p_worker, s, o, p_certificate);
    return '[]';
  end if;
  if s.certificate_id is not null then
    v_ending := acme_private.ending_reason(s.certificate_id);
    v_is_revoking := acme_private.supersede(s.certificate_id);
  end if;
  v_certificate := acme_private.insert_certificate(s, o.id, p_certificate, v_planned);
  update acme_private."order"
     set state = 'issued', certificate_url = coalesce(p_certificate ->> 'url', certificate_url), finished_at = v_now, lease_token = null, lease_until = null, lease_worker = null, claims = 0,
         attempts = 0, next_attempt_at = null, reason_code = null, reason = null, last_problem = null
   where id = p_order;
  update acme_private.csr_state
     set state = 'issued', order_id = null, certificate_id = v_certificate, attempts = 0, next_attempt_at = null,
         reason_code = null, reason = null, last_problem = null, renewal_reason = null, updated_at = v_now,
         renew_at = case when (select c.renewal from acme.csr c where c.id = o.csr_id) = 'off' then null
                         else v_planned end
   where csr_id = o.csr_id;
  if o.state <> 'downloading' then
    perform acme_private.note('order_finalized', o.tenant, o.csr_id, p_order, o.account_id, null, p_worker, null);
  end if;
  perform acme_private.note('issued', o.tenant, o.csr_id, p_order, o.account_id, v_certificate, p_worker,
                            jsonb_build_object('serial', p_certificate ->> 'serial', 'not_after', v_not_after));
  if p_certificate ? 'chains_offered' then
    perform acme_private.note('preferred_chain_missing', o.tenant, o.csr_id, p_order, o.account_id, v_certificate, p_worker,
      jsonb_build_object('wanted', (select c.preferred_chain from acme.csr c where c.id = o.csr_id),
                         'offered', p_certificate -> 'chains_offered'));
  end if;
  -- It comes too late: its key was blocked, or its csr's certificate revoked, when the server had the CSR.
  v_reason := case
    when acme_private.is_blocked(v_spki) then 'keyCompromise'
    when v_ending is not null then v_ending
    when s.certificate_id is not null and exists (select from acme.csr c where c.id = o.csr_id and c.cancel_request is not null) then
      (select k.revocation_reason from acme_private.certificate k
        where k.id = s.certificate_id and k.state in ('revoking', 'revoked')) end;
  if v_reason is not null then
    if v_ending is not null then
      perform acme_private.end_csr_with(v_certificate);
    end if;
    perform acme_private.begin_revocation(v_certificate, v_reason, false, null);
  end if;
  perform acme_private.heed(o.csr_id);
  v_claims := acme_private.pass_on(p_worker, o, p_take);
  -- Without keys, which are locks: nothing may be taken after one.
  if v_is_revoking then
    perform acme_private.wake_rows('revoke', 'certificate', array[s.certificate_id]);
  end if;
  if v_reason is not null then
    perform acme_private.wake_rows('revoke', 'certificate', array[v_certificate]);
  end if;
  return v_claims;
end
$$;
comment on function acme_private.certificate_stored(bigint, bigint, uuid, jsonb, int) is
  'Stores a certificate as the current one and ends its order; returns a claim on the next csr in line.';
