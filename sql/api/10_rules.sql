-- Small rules that everything else calls: time, names, what a CSR must look like, when to try again.

-- Production reads time here and nowhere else; a test replaces the function to travel.
create or replace function acme_private.clock() returns timestamptz
language sql stable
return pg_catalog.now();
comment on function acme_private.clock() is 'The time, for everything that is scheduled.';

create or replace function acme_private.current_tenant() returns text
language sql stable
-- Parsed here and now: row-level security depends on it, and nobody's search_path may bend it.
return coalesce(nullif(pg_catalog.current_setting('acme.tenant', true), ''), current_user::text);
comment on function acme_private.current_tenant() is
  'On whose behalf this session acts: the setting acme.tenant, else the role.';

create or replace function acme.version() returns text
language sql immutable
as $$ select '0.3' $$;
comment on function acme.version() is
  'The version of this SQL contract. A worker serves the version that it was built for, and waits while the database has another one.';

-- Everything that can be seen without parsing ASN.1. Whatever passes here is judged by a worker.
create or replace function acme.csr_problem(pem text) returns text
language plpgsql immutable parallel safe
as $$
declare
  v_body text;
  v_der bytea;
  v_length int;
  v_head int;
begin
  if pem is null or pem = '' then
    return 'The CSR is empty. Give a PEM block that begins with -----BEGIN CERTIFICATE REQUEST-----.';
  end if;
  if octet_length(pem) > 65536 then
    return format('The CSR has %s bytes; at most 65536 are taken. Send only the CERTIFICATE REQUEST block.', octet_length(pem));
  end if;
  -- Plain searches rather than patterns: this runs for each of many rows, and they are ten times as fast.
  if strpos(pem, 'PRIVATE KEY') > 0 then
    return 'This holds a private key. Private keys never belong here: send only the certificate signing request, and replace the key if this text was logged anywhere.';
  end if;
  if strpos(pem, '-----BEGIN CERTIFICATE REQUEST-----') = 0 and strpos(pem, '-----BEGIN NEW CERTIFICATE REQUEST-----') = 0 then
    if pem ~ '-----BEGIN (TRUSTED )?CERTIFICATE-----' then
      return 'This is a certificate, not a certificate signing request. Make a CSR with the certificate''s key, for example: openssl req -new -key key.pem -subj / -addext subjectAltName=DNS:www.example.org';
    end if;
    return 'This is not a PEM certificate signing request. It must hold one block from -----BEGIN CERTIFICATE REQUEST----- to -----END CERTIFICATE REQUEST-----, as openssl req -new prints it.';
  end if;
  if array_length(string_to_array(pem, '-----BEGIN '), 1) > 2 then
    return 'This holds more than one PEM block. Insert one row for each certificate signing request, and nothing but the request.';
  end if;
  v_body := split_part(pem, 'CERTIFICATE REQUEST-----', 2);
  if strpos(v_body, '-----END ') = 0
     or strpos(pem, '-----END CERTIFICATE REQUEST-----') = 0 and strpos(pem, '-----END NEW CERTIFICATE REQUEST-----') = 0 then
    return 'The CSR is cut off: its line -----END CERTIFICATE REQUEST----- is missing. Send the whole block.';
  end if;
  v_body := replace(replace(replace(replace(split_part(v_body, '-----END ', 1), E'\n', ''), E'\r', ''), E'\t', ''), ' ', '');
  if v_body !~ '^[A-Za-z0-9+/]+={0,2}$' or length(v_body) % 4 <> 0 then
    return 'The CSR is damaged: between its BEGIN and END lines stands something that is not base64. Copy it again, byte for byte.';
  end if;
  v_der := decode(v_body, 'base64');
  -- X.690 §8.1: a CSR is one SEQUENCE whose length covers the rest exactly.
  if length(v_der) < 4 or get_byte(v_der, 0) <> 48 then
    return 'The CSR''s content is not a DER certificate signing request. Make it anew with your tool, in PEM form.';
  end if;
  v_length := get_byte(v_der, 1);
  if v_length < 128 then
    v_head := 2;
  elsif v_length = 129 then
    v_head := 3;
    v_length := get_byte(v_der, 2);
  elsif v_length = 130 then
    v_head := 4;
    v_length := get_byte(v_der, 2) * 256 + get_byte(v_der, 3);
  else
    return 'The CSR''s content is not a DER certificate signing request. Make it anew with your tool, in PEM form.';
  end if;
  if v_head + v_length <> length(v_der) then
    return format('The CSR is truncated or has something appended: its content says %s bytes and has %s. Send it whole.',
      v_head + v_length, length(v_der));
  end if;
  return null;
end
$$;
comment on function acme.csr_problem(text) is
  'Says in a sentence why a PEM text would be refused as a CSR at INSERT; null if it would not. A worker judges the rest.';

-- The key by which the same CSR is recognised: the hash of its DER form. Raises what csr_problem says.
create or replace function acme_private.csr_sha256(p_pem text, p_ref text) returns bytea
language plpgsql immutable parallel safe
as $$
declare
  v_problem text := acme.csr_problem(p_pem);
begin
  if v_problem is not null then
    raise exception using
      errcode = 'invalid_parameter_value',
      message = case when p_ref is null then v_problem else format('ref %L: %s', p_ref, v_problem) end,
      hint = 'select acme.csr_problem(pem) tells the same without inserting.';
  end if;
  -- decode skips white space
  return sha256(decode(split_part(split_part(p_pem, 'CERTIFICATE REQUEST-----', 2), '-----END ', 1), 'base64'));
end
$$;

create or replace function acme_private.identifiers_key(p_identifiers text[]) returns bytea
language sql immutable parallel safe
as $$ select sha256(convert_to(array_to_string(p_identifiers, ','), 'UTF8')) $$;

-- New tries after a failure that only time or a person mends: 1, 10, 100 minutes, then daily,
-- give or take a tenth so that many do not come at once.
create or replace function acme_private.ladder(p_failures int) returns interval
language sql volatile
as $$
  select (case when p_failures <= 1 then 1 when p_failures = 2 then 10 when p_failures = 3 then 100 else 1440 end
          * interval '1 minute') * (0.9 + random() * 0.2)
$$;

-- New tries of a remote that is in trouble: 1 s, 2 s, 4 s … 5 min, with jitter.
create or replace function acme_private.backoff(p_attempts int) returns interval
language sql volatile
as $$ select least(power(2, least(p_attempts, 10)), 300) * interval '1 second' * (0.75 + random() * 0.5) $$;

-- When to renew: a third of the lifetime before the end, half of it for lifetimes under ten days,
-- up to a fiftieth of the lifetime earlier so that many do not come at once. Never at once: a
-- certificate that is issued nearly over must not be renewed in a circle.
create or replace function acme_private.renewal_time(p_not_before timestamptz, p_not_after timestamptz) returns timestamptz
language sql volatile
as $$
  select greatest(
    acme_private.clock() + least(interval '1 hour', (p_not_after - p_not_before) / 10),
    p_not_after
       - (p_not_after - p_not_before) * (case when p_not_after - p_not_before < interval '10 days' then 0.5 else 1.0 / 3 end)
       - (p_not_after - p_not_before) * (random() / 50))
$$;

-- Which solver serves a name: the one the csr names, whatever its own names say, else the most
-- specific. null: none can.
-- http-01 proves no wildcard (RFC 8555 §8.3).
create or replace function acme_private.solver_for(p_solver text, p_identifier text) returns acme.solver
language plpgsql stable
as $$
declare
  v_solver acme.solver;
begin
  select s.* into v_solver
    from acme.solver s
   cross join lateral (
     select max(case when n = '*' then 0 else length(n) end) as specific
       from unnest(s.names) n
      where n = '*' or n = p_identifier or right(p_identifier, length(n) + 1) = '.' || n
   ) fit
   where (p_solver is null or s.name = p_solver)
     and (p_solver is not null or fit.specific is not null)
     and not (s.challenge_type = 'http-01' and p_identifier like '*.%')
   order by fit.specific desc, s.id
   limit 1;
  return v_solver;
end
$$;

-- One line of the audit trail; those that an application waits for are also announced.
create or replace function acme_private.note(
  p_event text, p_tenant text, p_csr bigint default null, p_order bigint default null, p_account bigint default null,
  p_certificate bigint default null, p_worker bigint default null, p_detail jsonb default null
) returns void
language plpgsql volatile
as $$
begin
  insert into acme_private.event (event, tenant, csr_id, order_id, account_id, certificate_id, worker_id, detail)
  values (p_event, p_tenant, p_csr, p_order, p_account, p_certificate, p_worker, p_detail);
  if p_event in ('issued', 'rejected', 'retrying', 'needs_person', 'needs_new_csr', 'failed', 'cancelled',
                 'certificate_revoked') then
    perform pg_notify('acme', jsonb_strip_nulls(jsonb_build_object(
      'event', p_event, 'csr_id', p_csr, 'certificate_id', p_certificate))::text);
  end if;
end
$$;

-- Refuses a state that may not follow. The table acme_private.transition is the truth.
create or replace function acme_private.tg_check_transition() returns trigger
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from acme_private.transition t
     where t.kind = tg_argv[0] and t.from_state = old.state and t.to_state = new.state
  ) then
    raise exception '% cannot go from % to %', tg_argv[0], old.state, new.state
      using errcode = 'check_violation', hint = 'See acme_private.transition and docs/state-machine.md.';
  end if;
  return new;
end
$$;

-- The triggers know what is allowed, so that only what is not costs a call: ten of them for each certificate.
do $$
declare
  r record;
begin
  for r in
    select t.kind, case t.kind when 'csr' then 'csr_state' when 'account' then 'account_state' else t.kind end as table_name,
           array_agg(t.from_state || '>' || t.to_state order by t.from_state, t.to_state) as allowed
      from acme_private.transition t
     group by t.kind
  loop
    execute format(
      'create or replace trigger _200_transition before update on acme_private.%I for each row '
      'when (old.state is distinct from new.state and (old.state || ''>'' || new.state) <> all (%L::text[])) '
      'execute function acme_private.tg_check_transition(%L)', r.table_name, r.allowed, r.kind);
  end loop;
end
$$;
