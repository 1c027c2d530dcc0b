-- Cooldowns of servers and accounts, and failed validations.

-- No new orders of this scope until then. The reason is ours: every tenant of the account reads it, and
-- the server's own words may name the domain of one of them.
create or replace function acme_private.close_scope(
  p_worker bigint, p_server bigint, p_account bigint, p_until timestamptz, p_text text, p_problem jsonb
) returns void
language plpgsql volatile
as $$
declare
  v_until timestamptz;
begin
  insert into acme_private.closure as c (server_id, account_id, until, reason, problem)
  values (p_server, p_account, p_until, p_text || to_char(p_until, ' YYYY-MM-DD HH24:MI:SS TZ.'), p_problem)
  on conflict (server_id, account_id) do update
    set until = greatest(c.until, excluded.until), problem = excluded.problem,
        reason = case when c.until > excluded.until then c.reason else excluded.reason end
  returning c.until into v_until;
  perform acme_private.note('limited', null, null, null, p_account, null, p_worker,
    jsonb_build_object('server_id', p_server, 'until', p_until, 'problem', p_problem));
  perform acme_private.dispatch_at(v_until, concat_ws(':', 'reopen', p_server, p_account));
end
$$;

-- One more failed validation of a name: servers count them, five an hour. Returns how many in a row.
create or replace function acme_private.count_failure(p_account bigint, p_identifier text) returns int
language plpgsql volatile
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_failures int;
begin
  insert into acme_private.identifier_failure as f (account_id, identifier, failures, full_at)
  values (p_account, p_identifier, 1, v_now + interval '12 minutes')
  on conflict (account_id, identifier) do update
    set failures = f.failures + 1, full_at = greatest(f.full_at, v_now) + interval '12 minutes'
  returning f.failures into v_failures;
  return v_failures;
end
$$;

-- From when on one more try of these names is free; in the past, or null: now.
create or replace function acme_private.free_at(p_account bigint, p_identifiers text[]) returns timestamptz
language plpgsql stable
as $$
begin
  -- One more every 12 minutes, five at most.
  return (
    select max(f.full_at) - interval '48 minutes'
      from acme_private.identifier_failure f
     where f.account_id = p_account and f.identifier = any (p_identifiers));
end
$$;
