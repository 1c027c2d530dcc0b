-- Revocation (RFC 8555 §7.6). Applications insert into acme.revocation_request, by acme.revoke() and
-- acme.revoke_certificate(); a worker takes the requests of a certificate away when it claims it, moves the
-- certificate to revoking, and asks the server.

-- The names of RFC 5280 §5.3.1 that a certificate's owner may give, or their numbers; else a sentence.
create or replace function acme_private.revocation_reason(p_reason text) returns text
language plpgsql immutable parallel safe
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

-- With the rights of whoever inserts: a certificate of another tenant is none that they can see.
create or replace function acme_private.tg_revocation_request__insert() returns trigger
language plpgsql volatile
as $$
declare
  v_tenant text;
  v_not_after timestamptz;
begin
  select c.tenant, c.not_after into v_tenant, v_not_after from acme.certificate c where c.id = new.certificate_id;
  if not found then
    raise exception 'There is no certificate %.', new.certificate_id
      using errcode = 'no_data_found', hint = 'See acme.certificate.';
  end if;
  new.tenant := v_tenant;
  if new.after_replacement and new.reason = 'keyCompromise' then
    raise exception 'A replacement would have the same key, which is compromised.'
      using errcode = 'invalid_parameter_value',
            hint = 'Insert a CSR with a new key, and revoke this certificate without after_replacement.';
  end if;
  -- A compromised key is worth knowing of all the same.
  if v_not_after <= now() and new.reason <> 'keyCompromise' then
    raise exception 'Certificate % ended at %, and there is nothing to revoke.', new.certificate_id,
        to_char(v_not_after, 'YYYY-MM-DD HH24:MI TZ')
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  -- A csr whose key is compromised waits for a CSR with another one.
  new.ends_csr := new.ends_csr and new.reason <> 'keyCompromise';
  return new;
end
$$;
create or replace trigger _100_insert before insert on acme.revocation_request
  for each row execute function acme_private.tg_revocation_request__insert();

create or replace function acme_private.tg_revocation_request__reason() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  new.reason := acme_private.revocation_reason(new.reason);
  return new;
end
$$;
-- Before the other: it compares the reason.
create or replace trigger _050_reason before insert on acme.revocation_request
  for each row execute function acme_private.tg_revocation_request__reason();

create or replace function acme_private.tg_revocation_request__wake() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.wake_rows('revoke', 'certificate', array(select distinct n.certificate_id from new_rows n));
  return null;
end
$$;
create or replace trigger _500_wake after insert on acme.revocation_request
  referencing new table as new_rows
  for each statement execute function acme_private.tg_revocation_request__wake();

create or replace function acme.revoke(csr bigint, reason text, after_replacement boolean default false) returns void
language plpgsql volatile
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
language plpgsql volatile
as $$
begin
  insert into acme.revocation_request (certificate_id, reason)
  values (revoke_certificate.certificate, revoke_certificate.reason);
end
$$;
comment on function acme.revoke_certificate(bigint, text) is
  'Has this one certificate revoked, for a reason of RFC 5280 by name or number. Its csr goes on: if this was the certificate to serve, a new one is ordered. keyCompromise: as in acme.revoke.';
