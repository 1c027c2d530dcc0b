-- What workers and `pgacme server probe` report of a server (acme.server_feature).

-- A worker or the probe tells what it found. facts: [{feature, support, value, source}]. A yes that was
-- seen stands for a day against a no: one account, or one name, may be offered what another is not.
create or replace function acme_private.server_facts_stored(
  p_worker bigint, p_server bigint, p_how text, p_facts jsonb
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
begin
  perform acme_private.begin_work(true);
  insert into acme_private.server_fact as f (server_id, feature, how, support, value, source, at)
  -- What is said twice is as it was said last. In one order, so that two workers cannot lock each other out.
  select distinct on (n.feature) p_server, n.feature, p_how, n.support,
         -- jsonb null is no value
         case when length(n.value::text) <= 20000 then nullif(n.value, 'null') end, left(n.source, 500), v_now
    from rows from (jsonb_to_recordset(p_facts) as (feature text, support text, value jsonb, source text))
         with ordinality n (feature, support, value, source, position)
    join acme_private.feature k on k.feature = n.feature
   where exists (select from acme.server s where s.id = p_server)
   order by n.feature, n.position desc
  on conflict (server_id, feature, how) do update
     set support = excluded.support, value = excluded.value, source = excluded.source, at = excluded.at
   where p_how <> 'seen' or excluded.support = 'yes' or f.support = 'no' or f.at < v_now - interval '1 day';
end
$$;
comment on function acme_private.server_facts_stored(bigint, bigint, text, jsonb) is
  'Stores what a worker or the probe found out about a server.';

-- Servers with an account that are to be asked for their directory, and how to reach them: each quarter of an hour; one
-- that did not answer each minute, and one with an order that met trouble. None on a copy: nothing is sent from there.
create or replace function acme_private.servers_to_look_at(p_worker bigint) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
begin
  if acme_private.is_held(p_worker) then
    return '[]';
  end if;
  return (
    select coalesce(jsonb_agg(acme_private.server_for_worker(s) order by s.id), '[]')
      from acme.server s
      left join acme_private.server_contact c on c.server_id = s.id
     where exists (select from acme.account a where a.server = s.name)
       and (c.asked_at is null or c.asked_at <= v_now - interval '15 minutes'
            or c.asked_at <= v_now - interval '50 seconds' and (
              c.failing_since is not null
              or exists (select from acme_private."order" o
                          where o.server_id = s.id and o.is_live and o.reason_code = 'remote_trouble'))));
end
$$;
comment on function acme_private.servers_to_look_at(bigint) is 'Servers whose directory is to be asked for.';

-- reason: why a server did not give its directory; null: it did.
create or replace function acme_private.server_answered(p_server bigint, p_reason text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
begin
  perform acme_private.begin_work(true);
  insert into acme_private.server_contact as c (server_id, asked_at, answered_at, failing_since, reason)
  select s.id, v_now, case when p_reason is null then v_now end, case when p_reason is not null then v_now end, left(p_reason, 500)
    from acme.server s
   where s.id = p_server
  on conflict (server_id) do update
    set asked_at = excluded.asked_at, answered_at = coalesce(excluded.answered_at, c.answered_at), reason = excluded.reason,
        failing_since = case when p_reason is not null then coalesce(c.failing_since, excluded.failing_since) end;
end
$$;
comment on function acme_private.server_answered(bigint, text) is 'Stores whether a server gave its directory, and if not, why.';

create or replace function acme_private.server_for_worker(s acme.server) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('id', s.id, 'name', s.name, 'directory_url', s.directory_url, 'ca_bundle', s.ca_bundle,
                            'allowed_hosts', s.allowed_hosts, 'version', s.version)
$$;

-- What the probe needs: a server by name, and the account there that can be read, the default one first.
create or replace function acme_private.server_to_probe(p_name text) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'server', acme_private.server_for_worker(s),
    'hold', acme_private.hold_sentence(null),
    'account', (
      select jsonb_build_object('id', a.id, 'name', a.name, 'contact', a.contact, 'state', t.state)
        from acme.account a
        join acme_private.account_state t on t.account_id = a.id
       where a.server = s.name and t.url is not null
       order by t.state = 'valid' desc, a.is_default desc nulls last, a.id
       limit 1))
    from acme.server s
   where s.name = p_name
$$;
comment on function acme_private.server_to_probe(text) is 'What pgacme server probe needs to know of a server.';
