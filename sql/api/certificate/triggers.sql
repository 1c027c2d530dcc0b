-- The triggers on requests to revoke.

-- With the rights of whoever inserts: a certificate of another tenant is none that they can see.
create or replace function acme_private.tg_revocation_request__insert() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
