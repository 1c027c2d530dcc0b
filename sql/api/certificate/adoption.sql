-- Adoption: a csr comes with the certificate that another client ordered for it. A worker looks at both when
-- it judges the csr (sql/api/csr/validation.sql); nothing is ordered until the certificate is due for renewal.

-- Everything that can be seen without parsing ASN.1.
create or replace function acme_private.chain_problem(p_chain text) returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
  select case
    when strpos(p_chain, 'PRIVATE KEY') > 0 then
      'The chain holds a private key. Private keys never belong here: send only the certificates, and replace the key if this text was logged anywhere.'
    when strpos(p_chain, '-----BEGIN CERTIFICATE-----') = 0 then
      'The chain holds no certificate. Give the PEM of the certificate, followed by those of its issuers.'
    when octet_length(p_chain) > 131072 then
      format('The chain has %s bytes; at most 131072 are taken.', octet_length(p_chain))
  end
$$;

create or replace function acme.adopt(pem text, chain_pem text, ref text default null, account text default null)
  returns acme.csr
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  v_row acme.csr;
  v_constraint text;
  v_detail text;
begin
  if coalesce(chain_pem, '') = '' then
    raise exception 'There is no certificate to adopt. Without one, insert the CSR: then a certificate is ordered.'
      using errcode = 'invalid_parameter_value';
  end if;
  begin
    insert into acme.csr (pem, chain_pem, ref, account)
    values (adopt.pem, adopt.chain_pem, adopt.ref, adopt.account)
    returning * into v_row;
    return v_row;
  exception when unique_violation then
    get stacked diagnostics v_constraint = constraint_name, v_detail = pg_exception_detail;
    if v_constraint is distinct from 'csr_is_one' then raise; end if;
  end;
  select c.* into strict v_row from acme.csr c where c.id = substring(v_detail from 'csr_id=([0-9]+)')::bigint;
  return v_row;
end
$$;
comment on function acme.adopt(text, text, text, text) is
  'Takes in a CSR with the certificate that another client ordered for it: current once a worker has found it right, renewed when due. An account that is named and was imported is taken to have ordered it. A CSR that is there already is returned as it is.';

-- Who ordered the certificate that a csr is adopted with. An account that was made here ordered none by another
-- client; to name an imported one is to say that it did. Whoever names none does not say.
create or replace function acme_private.account_of_adoption(p_csr bigint) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select a.id
      from acme.csr c
      join acme.account a on a.name = c.account
      join acme_private.account_state s on s.account_id = a.id
     where c.id = p_csr and s.is_imported);
end
$$;

-- Only an administrator adopts: their word makes the tenant the owner of the names. Nobody who asks for one of them proves it
-- at the same moment, so that one of the two sees the other.
create or replace function acme_private.own_adopted_names(p_tenant text, p_identifiers text[], p_domains text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if not (acme_private.lock_names_asked_by_others(
            p_tenant, array(select acme_private.base_name(i) from unnest(p_identifiers) i), p_domains)
          and acme_private.own_names(p_tenant, p_identifiers, false)) then
    raise exception 'A name of an adopted certificate is being ordered by another tenant at this moment.'
      using errcode = 'serialization_failure';
  end if;
end
$$;
comment on function acme_private.own_adopted_names(text, text[], text[]) is
  'Makes a tenant the owner of the names of a certificate that is adopted.';

-- The csr of a verdict, whose certificate a worker has found to be its: issued, without an order.
create or replace function acme_private.store_adopted(p_worker bigint, p_csr bigint, p_certificate jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  s acme_private.csr_state;
  v_certificate bigint;
  v_names text[] := array(select jsonb_array_elements_text(p_certificate -> 'identifiers'));
  v_not_after timestamptz := p_certificate ->> 'not_after';
  v_planned timestamptz := acme_private.adopted_renewal_time((p_certificate ->> 'not_before')::timestamptz, v_not_after);
begin
  select * into s from acme_private.csr_state where csr_id = p_csr;
  v_certificate := acme_private.insert_certificate(s, null, p_certificate, v_planned);
  update acme_private.csr_state
     set state = 'issued', identifiers = v_names, identifiers_key = acme_private.identifiers_key(v_names),
         spki_sha256 = decode(p_certificate ->> 'spki_sha256', 'hex'),
         profile = (select c.profile from acme.csr c where c.id = p_csr), certificate_id = v_certificate,
         renew_at = case when (select c.renewal from acme.csr c where c.id = p_csr) = 'off' then null
                         else v_planned end,
         lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = 0, next_attempt_at = null,
         reason_code = null, reason = null, last_problem = null, updated_at = v_now
   where csr_id = p_csr;
  delete from acme_private.adoption where csr_id = p_csr;
  -- The event that consumers wait for: there is a certificate.
  perform acme_private.note('issued', s.tenant, p_csr, null, s.account_id, v_certificate, p_worker,
                            jsonb_build_object('serial', p_certificate ->> 'serial', 'not_after', v_not_after, 'adopted', true));
end
$$;
