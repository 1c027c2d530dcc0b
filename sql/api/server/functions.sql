-- Pausing a server or an account.

create or replace function acme.pause(scope text, name text, reason text) returns void
language plpgsql volatile
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
language plpgsql volatile
as $$
begin
  case scope
    when 'server' then
      update acme.server s set paused_at = null, pause_reason = null where s.name = resume.name;
    when 'account' then
      update acme.account a set paused_at = null, pause_reason = null where a.name = resume.name;
    else
      raise exception 'The scope is %; it must be server or account.', quote_nullable(left(scope, 60))
        using errcode = 'invalid_parameter_value';
  end case;
  if not found then
    raise exception 'There is no % %.', scope, name using errcode = 'no_data_found';
  end if;
end
$$;
comment on function acme.resume(text, text) is 'Ends a pause.';
