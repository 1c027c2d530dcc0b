create or replace function acme_private.time_text(p_at timestamptz) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$ select to_char(p_at, 'YYYY-MM-DD HH24:MI TZ') $$;
comment on function acme_private.time_text(timestamptz) is 'A time, as sentences tell it.';

-- A server may be internal: whoever reads a reason does not learn its address.
create or replace function acme_private.without_address(p_text text, p_directory_url text) returns text
language sql immutable set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
  select regexp_replace(p_text,
    '(?<![[:alnum:].-])(https?://)?'
      || regexp_replace(substring(p_directory_url from '^https://(\[[^]]+\]|[^/?:]+)'), '([.\\+*?^$(){}|\[\]-])', '\\\1', 'g')
      || '(?![[:alnum:].-])(:[0-9]+)?(/[^[:space:])"]*)?', 'the server', 'g')
$$;
comment on function acme_private.without_address(text, text) is 'A text without the addresses of a server.';

-- What another sentence is to follow: not each reason ends with one.
create or replace function acme_private.with_full_stop(p_text text) returns text
language sql immutable
return p_text || case when p_text !~ '[.!?]$' then '.' else '' end;
comment on function acme_private.with_full_stop(text) is 'A text that ends like a sentence.';

-- Null: its end is far. A certificate that is not renewed by itself is measured by its lifetime alone.
create or replace function acme_private.expiry_severity(
  p_is_renewed boolean, p_planned timestamptz, p_not_before timestamptz, p_not_after timestamptz
) returns text
language sql stable
-- Parsed here and now: it runs with the rights of readers, who may not look names up in acme_private.
begin atomic
  select case
           when p_not_after <= acme_private.clock() or p_not_after - acme_private.clock() <= f.critical then 'critical'
           when p_not_after - acme_private.clock() <= f.warning then 'warning'
         end
    from acme.attention_settings s
   cross join lateral (
     select (p_not_after - p_planned) * (1 - s.renewal_warning) as warning, (p_not_after - p_planned) * (1 - s.renewal_critical) as critical
      where p_is_renewed and p_planned is not null
      union all
     select (p_not_after - p_not_before) * s.lifetime_warning, (p_not_after - p_not_before) * s.lifetime_critical
      where (p_is_renewed and p_planned is not null) is not true
   ) f;
end;
comment on function acme_private.expiry_severity(boolean, timestamptz, timestamptz, timestamptz) is
  'How urgent it is that a certificate expires: warning, critical, or null.';

-- The rows of acme.attention that belong to no tenant: accounts, servers, workers. The functions run as the
-- owner and are called for readers of all tenants only; no sentence has a name of a tenant or an address.

-- Does anybody still order with this account? (A request that is issued, and names none, says so when it is renewed.)
create or replace function acme_private.is_account_needed(p_account bigint) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select a.is_default is true
      or exists (select from acme.account_domain d where d.account = a.name)
      or exists (select from acme_private.csr_state s
                  where s.server_id = t.server_id and s.account_id = a.id and s.state in ('queued', 'renewing') and s.order_id is null)
      or exists (select from acme_private."order" o where o.account_id = a.id and o.is_live)
      or exists (select from acme.csr c
                  cross join lateral (select x.is_live from acme_private.csr_state x where x.csr_id = c.id limit 1) s
                  where c.account = a.name and s.is_live)
    from acme.account a
    join acme_private.account_state t on t.account_id = a.id
   where a.id = p_account
$$;
comment on function acme_private.is_account_needed(bigint) is 'Does a request, a domain or the part of the default account need this account?';

create or replace function acme_private.attention_account()
returns table (severity text, code text, since timestamptz, account text, server text, sentence text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select 'critical', w.code, s.updated_at, s.name, s.server,
         format('The account %s %s', s.name,
           case w.code when 'account_closed' then format('is %s at the server.', s.state)
                       else coalesce('cannot order: ' || acme_private.without_address(s.reason, v.directory_url), 'cannot order.') end)
    from acme_private.account_state t
   cross join lateral (select x.* from acme.account_status x where x.id = t.account_id limit 1) s
    join acme.server v on v.id = t.server_id
   cross join lateral (
     select case when s.state in ('deactivated', 'revoked') then 'account_closed'
                 when s.state = 'needs_person' then
                   case when s.reason_code in ('account_key_unknown', 'account_refused') and s.url is not null then 'account_key_unknown'
                        when s.reason_code in ('terms_not_agreed', 'user_action_required') then 'terms_not_agreed'
                        else 'account_cannot_order' end
                 when s.state = 'registering' and s.registered_at is not null and s.reason_code is not null
                      and s.updated_at < acme_private.late() then 'account_lost'
                 when s.state in ('new', 'registering') and s.reason_code in ('server_refused', 'secret_key_wrong') then 'account_cannot_order'
            end as code
   ) w
   where (t.state <> 'valid' or t.reason_code is not null)
     and w.code is not null
     -- An account whose place another one took is no matter any more.
     and (w.code not in ('account_closed', 'account_key_unknown', 'account_lost') or acme_private.is_account_needed(t.account_id));
  if not exists (select from acme.account a where a.is_default) then
    return query
    select 'critical', 'no_account', c.created_at, null::text, null::text, 'Requests wait, and there is no default ACME account.'
      from acme_private.csr_state s
      join acme.csr c on c.id = s.csr_id and c.account is null
     where s.state = 'received'
     order by s.csr_id
     limit 1;
  end if;
end
$$;
comment on function acme_private.attention_account() is 'The rows of acme.attention for accounts.';

create or replace function acme_private.attention_server()
returns table (severity text, code text, since timestamptz, account text, server text, sentence text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
begin
  return query
  select case when c.failing_since <= v_now - g.server_critical then 'critical' else 'warning' end, 'server_unreachable', c.failing_since,
         null::text, v.name,
         format('%s. The server %s has not answered since %s%s.', c.reason, v.name, acme_private.time_text(c.failing_since),
                coalesce('; its last good answer was at ' || acme_private.time_text(c.answered_at), '')) as sentence
    from acme_private.server_contact c
    join acme.server v on v.id = c.server_id and v.paused_at is null
   cross join acme.attention_settings g
   where c.failing_since <= v_now - g.server_warning;
  return query
  select 'warning', 'server_cooldown', null::timestamptz, a.name, v.name,
         format('%s until %s (server %s%s%s).', acme_private.cooldown_text(l.scope, l.value), acme_private.time_text(l.until), v.name,
                coalesce(', account ' || a.name, ''), case l.scope when 'csr' then ', csr ' || l.value end)
    from acme_private.closure l
    join acme.server v on v.id = l.server_id
    left join acme.account a on a.id = l.account_id
   cross join acme.attention_settings g
   where l.until > v_now + g.cooldown_warning
     and (l.scope <> 'csr' or exists (
       select from acme_private.csr_state s where s.cooldown_id = l.id and s.state = 'retrying'));
end
$$;
comment on function acme_private.attention_server() is 'The rows of acme.attention for servers.';

-- Without an account there is nothing to do yet.
create or replace function acme_private.attention_worker()
returns table (severity text, code text, since timestamptz, worker bigint, sentence text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  g acme.attention_settings;
  v_seen timestamptz;
begin
  select * into g from acme.attention_settings;
  if not exists (select from acme.account) then
    return;
  elsif not exists (select from acme.worker_status w where w.state in ('running', 'wrong_key')) then
    select greatest(max(coalesce(w.stopped_at, w.heartbeat_at)), (select min(a.created_at) from acme.account a)) into v_seen
      from acme_private.worker w;
    if v_seen <= clock_timestamp() - g.worker_critical then
      return query select 'critical', 'no_worker', v_seen, null::bigint,
        format('No worker runs since %s: nothing is ordered or renewed.', acme_private.time_text(v_seen));
    end if;
    return;
  end if;
  return query
  select 'critical', 'worker_key_wrong', w.started_at, w.id,
         format('The sealing key of worker %s opens no account key of this database: it can order nothing.', w.id)
    from acme.worker_status w
   where w.state = 'wrong_key';
  return query
  select case when abs(extract(epoch from w.clock_ahead)) >= extract(epoch from g.clock_critical) then 'critical' else 'warning' end,
         'clock_off', w.heartbeat_at, w.id,
         format('The clock of worker %s is %s s %s that of the database.', w.id, round(abs(extract(epoch from w.clock_ahead))),
                case when w.clock_ahead > interval '0' then 'ahead of' else 'behind' end)
    from acme.worker_status w
   where w.state in ('running', 'wrong_key') and abs(extract(epoch from w.clock_ahead)) >= extract(epoch from g.clock_warning);
  if not g.has_own_responder
     and exists (select from acme.solver s where s.challenge_type = 'http-01' and s.method = 'responder')
     and not exists (select from acme.worker_status w where w.state in ('running', 'wrong_key') and w.http01 is not null) then
    return query
    select 'critical', 'no_http01_responder', min(w.started_at), null::bigint,
           'No worker that runs answers http-01, and a solver needs it: no name can be validated.'
      from acme.worker_status w
     where w.state in ('running', 'wrong_key');
  end if;
end
$$;
comment on function acme_private.attention_worker() is 'The rows of acme.attention for workers.';
