-- What acme_admin asks for an account: columns of its row, which the account's step acts on. They run with
-- the caller's rights, which has none on this schema: hence bodies that are bound when they are made.

create or replace function acme_private.ask_account(p_name text, p_what text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_state text := (select s.state from acme.account_status s where s.name = p_name);
begin
  if v_state is null then
    raise exception 'There is no account %.', coalesce(p_name, '(null)')
      using errcode = 'no_data_found', hint = 'See acme.account_status.';
  elsif v_state in ('deactivated', 'revoked') then
    raise exception 'The account % is %, for good.', p_name, v_state
      using hint = 'Insert another account, and use that.';
  end if;
  case p_what
    when 'terms' then
      update acme.account a set terms_agreed = true, terms_request = a.version + 1 where a.name = p_name;
    when 'verify' then
      update acme.account a set verify_request = a.version + 1 where a.name = p_name;
    when 'roll_over' then
      update acme.account a set roll_over_request = a.version + 1 where a.name = p_name;
    when 'deactivate' then
      update acme.account a set deactivate_request = a.version + 1 where a.name = p_name;
      -- (What a csr asks for counts before what a worker has made of it.)
      update acme.csr c
         set cancel_request = c.version + 1, cancel_reason = format('Its account %s was deactivated.', p_name)
        from acme.csr_status s
       where s.id = c.id and c.cancel_request is null and coalesce(c.account, s.account) = p_name
         and s.state not in ('cancelled', 'rejected');
  end case;
end
$$;

create or replace function acme.agree_terms(account text) returns void
language sql volatile
begin atomic
  select acme_private.ask_account(account, 'terms');
end;
comment on function acme.agree_terms(text) is
  'Says that a person agreed to the terms of service at account_status.terms_url, and did what the server asked for; the server is told, and waiting csrs go on.';

create or replace function acme.verify_account(account text) returns void
language sql volatile
begin atomic
  select acme_private.ask_account(account, 'verify');
end;
comment on function acme.verify_account(text) is
  'Has the server look up the account by its key (RFC 8555 §7.3.1) and compares the URL; account_status.verified_at and reason tell.';

create or replace function acme.roll_over_key(account text) returns void
language sql volatile
begin atomic
  select acme_private.ask_account(account, 'roll_over');
end;
comment on function acme.roll_over_key(text) is
  'Gives the account a new key (RFC 8555 §7.3.5), once its orders under way have ended; it gets no new ones until then. account_status tells how far it is.';

create or replace function acme.deactivate_account(account text) returns void
language sql volatile
begin atomic
  select acme_private.ask_account(account, 'deactivate');
end;
comment on function acme.deactivate_account(text) is
  'Ends the account at the server, for good (RFC 8555 §7.3.6). Its csrs are cancelled; certificates stay valid and readable.';

create or replace function acme.replace_account(old text, new text) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_old acme.account_status;
  v_new acme.account_status;
  v_moved bigint;
begin
  select * into v_old from acme.account_status s where s.name = old;
  if not found then
    raise exception 'There is no account %.', coalesce(old, '(null)')
      using errcode = 'no_data_found', hint = 'See acme.account_status.';
  end if;
  select * into v_new from acme.account_status s where s.name = new;
  if not found then
    raise exception 'There is no account %.', coalesce(new, '(null)')
      using errcode = 'no_data_found', hint = 'Insert it into acme.account first.';
  elsif v_new.name = v_old.name then
    raise exception 'The account % cannot take its own place.', old using errcode = 'invalid_parameter_value';
  elsif v_new.state in ('deactivated', 'revoked') then
    raise exception 'The account % is % and can order nothing.', new, v_new.state
      using errcode = 'invalid_parameter_value', hint = 'Insert another account first.';
  elsif v_new.server <> v_old.server then
    raise exception 'The account % is at server %, and % at %: csrs stay with their server.', new, v_new.server, old, v_old.server
      using errcode = 'invalid_parameter_value', hint = 'To go to another server, cancel the csrs and insert them anew.';
  end if;
  if v_old.is_default then
    update acme.account a set is_default = true where a.name = new;
  end if;
  -- What comes new of its domains goes there too.
  update acme.account_domain d set account = new where d.account = old;
  update acme.csr c
     set account = new
    from acme.csr_status s
   where s.id = c.id and c.cancel_request is null and coalesce(c.account, s.account) = old
     and s.state not in ('cancelled', 'rejected');
  get diagnostics v_moved = row_count;
  return v_moved;
end
$$;
comment on function acme.replace_account(text, text) is
  'Moves the csrs of an account, such as one whose key is lost, to another account of the same server, which proves control of their names anew when it renews them, and serves the same registered domains; returns how many.';
