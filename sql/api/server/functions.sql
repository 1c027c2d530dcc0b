-- Pausing a server or an account.

create or replace function acme.pause(scope text, name text, reason text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if coalesce(reason, '') = '' then
    raise exception 'Give a reason: whoever waits will read it.' using errcode = 'invalid_parameter_value';
  end if;
  case scope
    when 'server' then
      update acme.server s set paused_at = now(), pause_reason = pause.reason where s.name = pause.name;
    when 'account' then
      update acme.account a set paused_at = now(), pause_reason = pause.reason where a.name = pause.name;
    else
      raise exception 'The scope is %; it must be server or account.', quote_nullable(left(scope, 60))
        using errcode = 'invalid_parameter_value';
  end case;
  if not found then
    raise exception 'There is no % %.', scope, name using errcode = 'no_data_found';
  end if;
end
$$;
comment on function acme.pause(text, text, text) is
  'Admits no new orders of a server or an account (scope, name) until resume; orders under way go on. Of a server, nothing is begun with its accounts either. The reason is shown to all who wait.';

create or replace function acme.resume(scope text, name text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  case scope
    when 'server' then
      update acme.server s set paused_at = null, pause_reason = null where s.name = resume.name;
    when 'account' then
      update acme.account a set paused_at = null, pause_reason = null where a.name = resume.name;
    when 'domain' then
      perform from acme.cooldown c where c.scope = 'domain' and c.value = resume.name;
    when 'csr' then
      perform from acme.csr c where c.id::text = resume.name;
    else
      raise exception 'The scope is %; it must be server, account, domain or csr.', quote_nullable(left(scope, 60))
        using errcode = 'invalid_parameter_value';
  end case;
  if not found then
    raise exception '%', case scope when 'domain' then format('No server limits the domain %s at the moment.', name)
                                    else format('There is no %s %s.', scope, name) end
      using errcode = 'no_data_found', hint = case scope when 'domain' then 'See acme.cooldown.' when 'csr' then 'See acme.csr_status.' else format('See acme.%s.', scope) end;
  end if;
  insert into acme.resume_request (scope, name) values (resume.scope, resume.name);
end
$$;
comment on function acme.resume(text, text) is
  'Ends a pause, and what a server limits before its time is over (acme.cooldown): of a server, an account (scope, name), a domain (its name) or a csr (its id). The server is asked again at once.';
