-- The triggers on acme.account: what may be written there, the default account, what is sealed on its way in,
-- and the waking of a worker.

-- The first account serves the csrs that name none, until another one is given that part.
create or replace function acme_private.tg_account__default() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_present record;
begin
  if tg_op = 'INSERT' then
    select a.is_default into v_present from acme.account a where a.name = new.name;
    if found then
      -- Refused, skipped, or about to become an update (on conflict), which comes here again.
      new.is_default := coalesce(new.is_default, v_present.is_default);
      return new;
    end if;
  end if;
  new.is_default := coalesce(new.is_default, not exists (select from acme.account a where a.is_default));
  if new.is_default then
    update acme.account a set is_default = false where a.is_default and a.id <> new.id;
  end if;
  return new;
end
$$;

create or replace trigger _100_default before insert or update of is_default on acme.account
  for each row execute function acme_private.tg_account__default();

-- RFC 8555 §7.3: a mailto URL has one address and no header fields; other schemes are the server's to judge.
create or replace function acme_private.contact_problem(p_contact text) returns text
language sql immutable
return case
  when p_contact is null or p_contact !~ '^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$' then
    'A contact is a URL such as mailto:ops@example.org.'
  when p_contact ~* '^(javascript|data):' then 'It names no address: no CA can reach anybody by it.'
  when length(p_contact) > 500 and p_contact !~* '^mailto:' then 'A contact has at most 500 characters.'
  when p_contact !~* '^mailto:' then null
  -- RFC 5321 §4.5.3.1.3: 256 with the brackets around it
  when length(p_contact) > 254 + length('mailto:') then 'An address has at most 254 characters.'
  when p_contact ~ '[?]' then 'A mailto contact has no header fields: leave out what follows the question mark.'
  when p_contact ~ ',' then 'A mailto contact has one address: give each its own element of the array.'
  when p_contact !~* '^mailto:[^@]+@[^@.]+([.][^@.]+)*$' then
    'A mailto contact is one address, such as mailto:ops@example.org.'
end;

create or replace function acme_private.tg_account__check() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_problem text;
  v_header jsonb;
begin
  if new.key_algorithm not in ('ES256', 'ES384', 'RS256') then
    raise exception using errcode = 'check_violation', constraint = 'account_key_algorithm_is_known',
      message = format('key_algorithm is %L; it must be ES256, ES384 or RS256.', left(new.key_algorithm, 100));
  end if;
  if not exists (select from acme.server v where v.name = new.server) then
    raise exception using errcode = 'foreign_key_violation', constraint = 'account_server_fkey',
      message = case when new.server is null then 'An account needs a server.' else format('There is no server %s.', left(new.server, 100)) end,
      hint = 'Insert it into acme.server first, or name one that is there.';
  end if;
  if array_ndims(new.contact) > 1 then
    raise exception using errcode = 'invalid_parameter_value',
      message = format('The contact of account %s cannot be used. It is one list of URLs, such as {mailto:a@example.org,mailto:b@example.org}.', new.name);
  end if;
  select format('The contact %s of account %s cannot be used. %s', quote_nullable(left(c, 200)), new.name, acme_private.contact_problem(c))
    into v_problem
    from unnest(new.contact) c
   where acme_private.contact_problem(c) is not null
   limit 1;
  if v_problem is not null then
    raise exception using errcode = 'invalid_parameter_value', message = v_problem;
  end if;
  if length(new.eab_kid) not between 1 and 500 then
    raise exception using errcode = 'check_violation', constraint = 'account_eab_kid_is_short',
      message = format('The eab_kid of account %s has %s characters; a key identifier has 1 to 500. The CA gives it together with the key.',
                       new.name, length(new.eab_kid));
  end if;
  -- An insert that meets its own name is refused, or becomes an update (on conflict), which comes here again.
  if new.eab_hmac is null or tg_op = 'INSERT' and exists (select from acme.account a where a.name = new.name) then
    return new;
  end if;
  -- Whatever it is, it is not repeated: it may be the key itself.
  v_header := acme_private.jwe_header(new.eab_hmac);
  if v_header is null then
    raise exception 'The eab_hmac of account % is not sealed.', new.name
      using errcode = 'invalid_parameter_value',
            hint = format('pgacme seal --for account:%s --server %s prints what belongs here. A key that was given in plain text may be in a log by now: have the CA replace it.',
                          new.name, new.server);
  elsif v_header ->> 'purpose' is distinct from 'eab-hmac' or v_header ->> 'row' is distinct from new.name
        or v_header ->> 'origin' is distinct from (
          select substring(s.directory_url from '^https://[^/?#]+') from acme.server s where s.name = new.server) then
    raise exception 'The eab_hmac of account % was sealed for something else (% of % at %).', new.name,
      v_header ->> 'purpose', v_header ->> 'row', v_header ->> 'origin'
      using errcode = 'invalid_parameter_value',
            hint = format('Seal it again: pgacme seal --for account:%s --server %s.', new.name, new.server);
  elsif new.eab_kid is null then
    raise exception 'The account % has an eab_hmac and no eab_kid.', new.name
      using errcode = 'invalid_parameter_value', hint = 'The CA gives both: the key and its identifier.';
  end if;
  insert into acme_private.account_eab (account_id, jwe) values (new.id, new.eab_hmac)
  on conflict (account_id) do update set jwe = excluded.jwe;
  new.eab_hmac := null;
  return new;
end
$$;

create or replace trigger _120_check before insert or update of contact, eab_hmac, eab_kid, key_algorithm, server on acme.account
  for each row execute function acme_private.tg_account__check();

-- The protected header of a JWE in compact form (RFC 7516 §7.1) such as pgacme makes; null: it is none.
create or replace function acme_private.jwe_header(p_jwe text) returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_head text := split_part(p_jwe, '.', 1);
  v_json jsonb;
begin
  if length(p_jwe) > 10000 or p_jwe !~ '^[A-Za-z0-9_-]+[.][.][A-Za-z0-9_-]{16}[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]{22}$' then
    return null;
  end if;
  v_json := convert_from(decode(rpad(translate(v_head, '-_', '+/'), (length(v_head) + 3) / 4 * 4, '='), 'base64'), 'UTF8')::jsonb;
  return case when v_json ->> 'alg' = 'dir' and v_json ->> 'enc' = 'A256GCM' then v_json end;
exception when others then
  return null;
end
$$;

create or replace function acme_private.tg_account__insert() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into acme_private.account_state (account_id, server_id)
  select n.id, s.id
    from new_rows n
    join acme.server s on s.name = n.server;
  -- The workers' functions see to what follows themselves (acme_private.begin_work).
  if current_setting('acme_private.quiet', true) = 'on' then
    return null;
  end if;
  perform acme_private.wake_rows('register', 'account', array(select n.id from new_rows n));
  perform acme_private.wake_dispatch();
  return null;
end
$$;

create or replace trigger _500_insert after insert on acme.account
  referencing new table as new_rows
  for each statement execute function acme_private.tg_account__insert();

-- A key is sealed for its account's name and its server's origin, so neither may change.
create or replace function acme_private.tg_account__update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if new.name <> old.name then
    raise exception 'The account % cannot be renamed: its key is sealed for this name.', old.name
      using hint = 'Insert a new account and use it from now on.';
  end if;
  if new.server <> old.server and (select s.id from acme.server s where s.name = new.server)
       is distinct from (select a.server_id from acme_private.account_state a where a.account_id = old.id) then
    raise exception 'The account % cannot move to another server: an account lives where it was registered.', old.name
      using hint = 'Insert a new account for that server.';
  end if;
  if new.version <> old.version then
    -- What a person was asked for may be there now.
    perform acme_private.wake_rows('register', 'account', array[new.id]);
  end if;
  if (new.paused_at, new.is_default) is distinct from (old.paused_at, old.is_default) then
    perform acme_private.wake_dispatch();
  end if;
  return null;
end
$$;

create or replace trigger _500_update after update on acme.account
  for each row execute function acme_private.tg_account__update();

-- What a foreign key of csr_state and others would do, but for the lock that each new row of theirs would
-- take on the account (sql/tables/06_csr.sql). A dispatcher that gives csrs to an account locks
-- it, so none is missed.
create or replace function acme_private.tg_account__delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform from acme.account where id = old.id for update;
  if exists (select from acme.csr c where c.account = old.name)
     or exists (select from acme_private.csr_state s where s.account_id = old.id)
     or exists (select from acme_private."order" o where o.account_id = old.id)
     or exists (select from acme_private.authorization a where a.account_id = old.id) then
    raise exception 'The account % has csrs or orders and cannot be deleted.', old.name
      using errcode = 'foreign_key_violation',
            hint = 'acme.pause(''account'', name, reason) ends its use; csrs that were ordered with it keep it.';
  end if;
  -- Its key is gone with it.
  perform acme_private.note('account_deleted', null, p_account => old.id, p_detail => jsonb_strip_nulls(jsonb_build_object(
    'name', old.name, 'server', old.server, 'state', s.state, 'url', s.url, 'thumbprint', s.thumbprint, 'by', session_user)))
     from acme_private.account_state s
    where s.account_id = old.id;
  return old;
end
$$;

create or replace trigger _100_delete before delete on acme.account
  for each row execute function acme_private.tg_account__delete();

-- version counts the changes that workers heed; a request remembers the version that made it.
create or replace function acme_private.tg_account__version() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  new.version := old.version + 1;
  if (old.terms_agreed, old.contact, old.eab_kid, old.terms_request, old.verify_request)
       is distinct from (new.terms_agreed, new.contact, new.eab_kid, new.terms_request, new.verify_request)
     or new.eab_hmac is not null then
    new.details_version := new.version;
  end if;
  if new.terms_request is distinct from old.terms_request or new.terms_agreed and not old.terms_agreed then
    new.terms_request := new.version;
  end if;
  if new.verify_request is distinct from old.verify_request then new.verify_request := new.version; end if;
  if new.roll_over_request is distinct from old.roll_over_request then new.roll_over_request := new.version; end if;
  if new.deactivate_request is distinct from old.deactivate_request then
    new.deactivate_request := coalesce(old.deactivate_request, new.version);
  end if;
  return new;
end
$$;

create or replace trigger _110_version before update on acme.account
  for each row when ((old.terms_agreed, old.contact, old.eab_kid, old.terms_request, old.verify_request, old.roll_over_request, old.deactivate_request)
                     is distinct from (new.terms_agreed, new.contact, new.eab_kid, new.terms_request, new.verify_request, new.roll_over_request, new.deactivate_request)
                     or new.eab_hmac is not null)
  execute function acme_private.tg_account__version();

create or replace function acme_private.tg_account_domain__check() returns trigger
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from acme.account a where a.name = new.account and a.server = new.server) then
    raise exception using errcode = 'foreign_key_violation', constraint = 'account_domain_account_fkey',
      message = format('There is no account %s at server %s.', coalesce(left(new.account, 260), '(null)'), coalesce(left(new.server, 100), '(null)')),
      hint = 'See acme.account_status.';
  end if;
  return new;
end
$$;
comment on function acme_private.tg_account_domain__check() is 'Says in a sentence that a domain cannot have this account.';

create or replace trigger _100_check before insert or update on acme.account_domain
  for each row execute function acme_private.tg_account_domain__check();
