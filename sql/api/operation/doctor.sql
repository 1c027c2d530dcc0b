-- What `pgacme doctor` looks at and a worker's login may otherwise not see. No key and no lease is in it.

create or replace function acme_private.doctor() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'migrations', (select coalesce(jsonb_object_agg(m.name, m.sha256), '{}') from acme_private.migration m),
    'servers', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'id', s.id, 'name', s.name, 'directory_url', s.directory_url, 'ca_bundle', s.ca_bundle,
               'allowed_hosts', s.allowed_hosts, 'is_paused', s.paused_at is not null, 'pause_reason', s.pause_reason,
               'is_used', exists (select from acme.account a where a.server = s.name)) order by s.id), '[]')
        from acme.server s),
    'accounts', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'id', a.id, 'name', a.name, 'server', a.server, 'state', a.state, 'reason_code', a.reason_code,
               'reason', a.reason,
               -- (what ended is over; where it is not closed nobody asks)
               'is_needed', a.state not in ('deactivated', 'revoked') or a.is_default is true
                 or exists (select from acme.account_domain d where d.account = a.name)
                 or a.id in (select s.account_id from acme_private.csr_state s where s.is_live)
                 or exists (select from acme.csr c join acme_private.csr_state s on s.csr_id = c.id
                             where c.account = a.name and s.state = 'received')) order by a.id), '[]')
        from acme.account_status a),
    -- Those that ended are told only as long as it may be news.
    'workers', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'id', w.id, 'host', w.host, 'pid', w.pid, 'state', w.state, 'concurrency', w.concurrency,
               'seconds', greatest(extract(epoch from clock_timestamp() - w.heartbeat_at), 0)::int) order by w.id), '[]')
        from acme.worker_status w
       where w.state <> 'stopped' and (w.state in ('running', 'wrong_key') or w.heartbeat_at > now() - interval '1 day')),
    'states', (
      select coalesce(jsonb_object_agg(c.state, c.count), '{}')
        from (select s.state, count(*) from acme_private.csr_state s where s.state <> 'issued' group by s.state) c),
    'cooldowns', (select count(*) from acme_private.closure c where c.value is not null and c.until > acme_private.clock()),
    -- The first of them; those that are not critical come last.
    'attention', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'severity', t.severity, 'code', t.code, 'csr_id', t.csr_id, 'names', t.identifiers, 'sentence', t.sentence,
               'what_to_do', t.what_to_do, 'total', t.total) order by t.position), '[]')
        from (select a.*, count(*) over () as total, row_number() over () as position
                from acme.attention a
               limit 20) t),
    'hold', acme_private.hold_sentence(null),
    'environment', (select i.environment from acme_private.installation i));
end
$$;
comment on function acme_private.doctor() is 'What pgacme doctor looks at.';
