-- The functions that stand for a request. They run with the caller's rights; row-level security decides
-- what they reach, so that a foreign id looks like an unknown one.

create or replace function acme.request(
  pem text, ref text default null, account text default null, profile text default null,
  on_duplicate text default 'return'
) returns acme.csr
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  v_row acme.csr;
  v_id bigint;
  v_constraint text;
  v_detail text;
begin
  if on_duplicate is null or on_duplicate not in ('return', 'renew', 'refuse') then
    raise exception 'on_duplicate is %; it must be return, renew or refuse.', quote_nullable(left(on_duplicate, 60))
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
