-- What a CSR must look like, as far as SQL can tell, and its hashes.

-- Everything that can be seen without parsing ASN.1. Whatever passes here is judged by a worker.
create or replace function acme.csr_problem(pem text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
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
  if pem ~ '[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]' then
    return 'The text has a control character, or one that turns the direction of text. Send only the CERTIFICATE REQUEST block.';
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
  'Checks the form of a text: one whole PEM block of a certificate signing request. Returns a sentence that says why INSERT would refuse it, else null. A worker then reads key, signature and names, and may still reject it: see acme.csr_status.';

-- The key by which the same CSR is recognised: the hash of its DER form. Raises what csr_problem says.
create or replace function acme_private.csr_sha256(p_pem text, p_ref text) returns bytea
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
declare
  v_problem text := acme.csr_problem(p_pem);
begin
  if v_problem is not null then
    if p_ref is not null and length(p_ref) <= 500
       and p_ref !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]' then
      v_problem := format('ref %L: %s', p_ref, v_problem);
    end if;
    -- Nobody is invited to send a private key once more.
    if strpos(p_pem, 'PRIVATE KEY') > 0 then
      raise exception using errcode = 'invalid_parameter_value', message = v_problem;
    end if;
    raise exception using
      errcode = 'invalid_parameter_value', message = v_problem,
      hint = 'select acme.csr_problem(pem) says the same without inserting. It checks the form of the text; key, signature and names are read by a worker.';
  end if;
  -- decode skips white space
  return sha256(decode(split_part(split_part(p_pem, 'CERTIFICATE REQUEST-----', 2), '-----END ', 1), 'base64'));
end
$$;

create or replace function acme_private.identifiers_key(p_identifiers text[]) returns bytea
language sql immutable parallel safe
return sha256(convert_to(array_to_string(p_identifiers, ','), 'UTF8'));

-- Is this pem nothing but one block, as tools write it? body: what stands between its lines BEGIN and END,
-- der: that decoded. True only where csr_problem(pem) has nothing to say; false says nothing. Built of
-- cheap calls and without branches, so that PostgreSQL inlines it: 1 instead of 17 microseconds a row.
-- (That pem holds no private key is what the trigger _100_no_key sees to.)
create or replace function acme_private.is_plain_csr(pem text, body text, der bytea) returns boolean
language sql immutable parallel safe
return starts_with(pem, '-----BEGIN CERTIFICATE REQUEST-----')
   -- 35 signs before the body, 33 after it and at most the end of the line: there is nothing else.
   and octet_length(pem) - octet_length(body) <= 70
   and octet_length(rtrim(pem, E'\r\n')) - octet_length(body) = 68
   and split_part(pem, '-----', 4) = 'END CERTIFICATE REQUEST'
   and octet_length(pem) <= 65536
   -- decode takes padding anywhere
   and strpos(rtrim(body, E'=\r\n'), '=') = 0
   -- X.690 §8.1, as in csr_problem
   and case when octet_length(der) < 4 or get_byte(der, 0) <> 48 then false
            when get_byte(der, 1) = 129 then octet_length(der) = 3 + get_byte(der, 2)
            when get_byte(der, 1) = 130 then octet_length(der) = 4 + get_byte(der, 2) * 256 + get_byte(der, 3)
            else false end;
