-- The dispatcher: judges what was received, in batches, and admits queued csrs as orders, round-robin
-- over tenants, as far as the server has room.

-- Acts on the requests (retry, renew, cancel, changed columns) that this csr's row has and we have not
-- seen. The caller holds the lock on csr_state; acme.csr is read in a later statement, so that nothing
-- committed before is missed. While an order is under way only a cancellation is acted on: the rest
-- waits for the order's end, which calls this again.
create or replace function acme_private.heed(p_csr bigint) returns void
language plpgsql volatile
as $$
declare
  s acme_private.csr_state;
  c record;
  v_now timestamptz := acme_private.clock();
  v_lock_timeout text := current_setting('lock_timeout');
begin
  -- Nearly always there is nothing to heed, which one look tells.
  if not exists (
    select from acme_private.csr_state x
      join acme.csr r on r.id = x.csr_id
     where x.csr_id = p_csr and x.lease_token is null
       and (r.version <> x.seen_version
            or r.cancel_request is not null and x.state not in ('cancelled', 'rejected'))
  ) then
    return;
  end if;
  select * into s from acme_private.csr_state where csr_id = p_csr;
  select r.cancel_request into c from acme.csr r where r.id = p_csr;
  if s.order_id is not null then
    if c.cancel_request is not null then
      perform acme_private.enqueue('order', s.order_id);
    end if;
    return;
  end if;
  -- First the reminders, then the row they are of: one that comes between them stays.
  delete from acme_private.request where csr_id = p_csr;
  select r.version, r.retry_request, r.renew_request, r.renew_reason, r.cancel_request, r.renewal, r.priority
    into c from acme.csr r where r.id = p_csr;
  update acme_private.csr_state
     set seen_version = c.version, priority = c.priority,
         renew_at = case when c.renewal = 'off' then null
                         when renew_at is null and certificate_id is not null then
                           (select acme_private.renewal_time(k.not_before, k.not_after)
                              from acme_private.certificate k where k.id = certificate_id)
                         else renew_at end
   where csr_id = p_csr;
  if c.cancel_request is not null then
    if s.state not in ('cancelled', 'rejected') then
      update acme_private.csr_state
         set state = 'cancelled', reason_code = 'cancelled', reason = 'It was cancelled on request.',
             next_attempt_at = null, renew_at = null, queued_at = null, updated_at = v_now
       where csr_id = p_csr;
      perform acme_private.note('cancelled', s.tenant, p_csr);
    end if;
    return;
  end if;
  if c.renew_request > s.seen_version and s.state = 'issued' then
    update acme_private.csr_state
       set state = 'renewing', queued_at = v_now, renewal_reason = coalesce(c.renew_reason, 'asked for'),
           attempts = 0, reason_code = null, reason = null, next_attempt_at = null, updated_at = v_now
     where csr_id = p_csr;
    perform acme_private.note('renewal_due', s.tenant, p_csr, null, s.account_id, s.certificate_id, null,
                              jsonb_build_object('reason', coalesce(c.renew_reason, 'asked for')));
  elsif greatest(c.retry_request, c.renew_request) > s.seen_version
        and s.state in ('retrying', 'failed', 'needs_person', 'rejected') then
    perform acme_private.note('retry_asked', s.tenant, p_csr);
    begin
      -- An application may hold the same request in a transaction that it leaves open.
      perform set_config('lock_timeout', '200ms', true);
      update acme_private.csr_state
         set state = case when state = 'rejected' then 'received'
                          when certificate_id is null then 'queued' else 'renewing' end,
             queued_at = case when state <> 'rejected' then v_now end,
             attempts = 0, claims = 0, reason_code = null, reason = null, next_attempt_at = null, updated_at = v_now
       where csr_id = p_csr;
      perform set_config('lock_timeout', v_lock_timeout, true);
    exception when lock_not_available then
      -- Not seen, then: reconcile comes back to it.
      update acme_private.csr_state set seen_version = s.seen_version where csr_id = p_csr;
      insert into acme_private.request (csr_id) values (p_csr);
    when unique_violation then
      -- Brought back to life it would be the second live csr of its kind.
      update acme_private.csr_state
         set reason_code = 'replaced', updated_at = v_now,
             reason = 'It cannot be tried again: another live csr has the same request or ref by now.'
       where csr_id = p_csr;
    end;
  end if;
end
$$;

-- Takes up to a hundred received csrs to be judged. One that was taken before without a result goes
-- alone, so that it cannot take the others down with it.
create or replace function acme_private.claim_received(p_worker bigint) returns jsonb
language plpgsql volatile
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_lease uuid := gen_random_uuid();
  v_default text := (select a.name from acme.account a where a.is_default);
  v_rows jsonb;
  v_set_aside bigint;
begin
  for v_batch in 1..2 loop
    exit when v_batch = 2 and not exists (select from acme_private.csr_state where state = 'received' and claims > 0);
    exit when not exists (select from acme_private.csr_state where state = 'received');
    -- Whoever deletes one of these waits for this batch, and then finds what needs it.
    perform from acme.account order by id for key share;
    with picked as (
      select s.csr_id, a.id as account_id, v.id as server_id
        from acme_private.csr_state s
        join acme.csr c on c.id = s.csr_id
        join acme.account a on a.name = coalesce(c.account, v_default)
        join acme.server v on v.name = a.server
       where s.state = 'received'
         and (s.lease_token is null or s.lease_until < v_now)
         and (s.next_attempt_at is null or s.next_attempt_at <= v_now)
         and (s.claims > 0) = (v_batch = 2)
       order by s.csr_id
       limit case when v_batch = 1 then 100 else 1 end
         for no key update of s skip locked
    ), taken as (
      update acme_private.csr_state s
         set lease_token = v_lease, lease_until = v_now + acme_private.lease_time(), lease_worker = p_worker,
             claims = s.claims + 1, account_id = p.account_id, server_id = p.server_id
        from picked p
       where s.csr_id = p.csr_id
      returning s.csr_id, s.server_id, s.claims
    )
    select jsonb_agg(jsonb_build_object('csr_id', t.csr_id, 'pem', c.pem, 'key_types', v.key_types,
                                        'max_names', v.max_names) order by t.csr_id),
           min(t.csr_id) filter (where t.claims > acme_private.claims_allowed())
      into v_rows, v_set_aside
      from taken t
      join acme.csr c on c.id = t.csr_id
      join acme.server v on v.id = t.server_id;
    if v_set_aside is not null then
      perform acme_private.set_aside(p_worker, 'csr', v_set_aside);
      v_rows := null;
    end if;
    exit when v_rows is not null;
  end loop;
  return jsonb_build_object('lease', v_lease, 'rows', coalesce(v_rows, '[]'));
end
$$;

-- Stores what a worker found. verdicts: [{csr_id, identifiers, domains, spki, reasons: [{code, text}]}];
-- domains: the registered domain of each identifier. What only the database knows is judged here, so
-- that a rejected csr has all its reasons at once.
create or replace function acme_private.judge(p_worker bigint, p_lease uuid, p_verdicts jsonb) returns void
language plpgsql volatile
as $$
declare
  v_now timestamptz := acme_private.clock();
  v jsonb;
  s acme_private.csr_state;
  c record;
  v_names text[];
  v_domains text[];
  v_reasons jsonb;
  v_spki bytea;
  v_base text;
  v_holder text;
begin
  -- Its rows first: whoever took them up when the lease had run out may be waiting for the lock below.
  perform from acme_private.csr_state
   where csr_id = any (array(select (r ->> 'csr_id')::bigint from jsonb_array_elements(p_verdicts) r))
     and lease_token = p_lease
   order by csr_id
     for no key update;
  -- One batch at a time: two tenants must not take overlapping names side by side.
  perform from acme_private.lock where name = 'dispatch' for update;
  for v in select * from jsonb_array_elements(p_verdicts) loop
    select * into s from acme_private.csr_state
     where csr_id = (v ->> 'csr_id')::bigint and lease_token = p_lease;
    continue when not found;
    select r.solver, r.profile into c from acme.csr r where r.id = s.csr_id;
    v_reasons := v -> 'reasons';
    v_names := array(select jsonb_array_elements_text(v -> 'identifiers'));
    v_domains := array(select jsonb_array_elements_text(v -> 'domains'));
    v_spki := decode(v ->> 'spki', 'hex');
    if exists (select from acme_private.account_key k where k.spki_sha256 = v_spki) then
      v_reasons := v_reasons || jsonb_build_object('code', 'account_key', 'text',
        'Its key is the key of an ACME account (RFC 8555 §11.1 forbids that). Make a CSR with a key of its own.');
    end if;
    for i in 1..cardinality(v_names) loop
      if (acme_private.solver_for(c.solver, v_names[i])).id is null then
        v_reasons := v_reasons || jsonb_build_object('code', 'no_solver', 'text', case
          when v_names[i] like '*.%' then format('%s is a wildcard, and none of the solvers can prove one: http-01 cannot (RFC 8555 §8.3).', v_names[i])
          else format('No solver serves %s. Insert one into acme.solver, or name another in csr.solver.', v_names[i]) end);
      end if;
      v_base := regexp_replace(v_names[i], '^\*\.', '');
      -- The name itself and what is above it by key, what is below it as a range of reversed names.
      select h.name into v_holder
        from (
          select a.name, a.registered_domain, a.tenant
            from acme_private.identifier_claim a
           where a.name = any (array(
             select array_to_string(l.labels[n:], '.')
               from (select string_to_array(v_base, '.') as labels) l
              cross join generate_subscripts(l.labels, 1) n))
          union all
          select b.name, b.registered_domain, b.tenant
            from acme_private.identifier_claim b
           where reverse(b.name) collate "C" >= reverse(v_base) || '.'
             and reverse(b.name) collate "C" < reverse(v_base) || '/'
        ) h
       where h.registered_domain = v_domains[i]
         and h.tenant <> s.tenant
       limit 1;
      if found then
        v_reasons := v_reasons || jsonb_build_object('code', 'name_held', 'text',
          format('%s belongs to another tenant, or overlaps with a name of theirs. A name can be used by one tenant at a time; acme_admin sees who in acme.identifier_claim.', v_names[i]));
      end if;
    end loop;
    if jsonb_array_length(v_reasons) > 0 then
      update acme_private.csr_state
         set state = 'rejected', identifiers = nullif(v_names, '{}'), lease_token = null, lease_until = null,
             lease_worker = null, claims = 0, reason_code = v_reasons -> 0 ->> 'code',
             reason = (select string_agg(r ->> 'text', ' ') from jsonb_array_elements(v_reasons) r),
             last_problem = jsonb_build_object('reasons', v_reasons), updated_at = v_now
       where csr_id = s.csr_id;
      perform acme_private.note('rejected', s.tenant, s.csr_id, null, null, null, p_worker,
                                jsonb_build_object('reasons', v_reasons));
    else
      insert into acme_private.identifier_claim (name, registered_domain, tenant)
      select regexp_replace(n.name, '^\*\.', ''), n.domain, s.tenant
        from unnest(v_names, v_domains) n (name, domain)
      on conflict do nothing;
      update acme_private.csr_state
         set state = 'queued', queued_at = v_now, identifiers = v_names,
             identifiers_key = acme_private.identifiers_key(v_names), spki_sha256 = v_spki, profile = c.profile,
             lease_token = null, lease_until = null, lease_worker = null, claims = 0,
             reason_code = null, reason = null, last_problem = null, updated_at = v_now
       where csr_id = s.csr_id;
      perform acme_private.note('accepted', s.tenant, s.csr_id, null, s.account_id, null, p_worker,
                                jsonb_build_object('identifiers', v_names));
    end if;
    perform acme_private.heed(s.csr_id);
  end loop;
end
$$;

-- Makes the order of a csr that is locked, leased to this worker. null: it may not go after all.
create or replace function acme_private.make_order(p_worker bigint, p_csr bigint) returns bigint
language plpgsql volatile
as $$
declare
  v_now timestamptz := acme_private.clock();
  s acme_private.csr_state;
  v_order bigint;
  v_earliest timestamptz;
  v_lost text;
begin
  -- An order answers the requests made before it; a cancellation among them means no order at all.
  perform acme_private.heed(p_csr);
  select * into s from acme_private.csr_state where csr_id = p_csr;
  if s.state not in ('queued', 'renewing') or s.order_id is not null then
    return null;
  end if;
  -- The server counts failed validations of a name: five an hour, one more every 12 minutes.
  select max(f.full_at) - interval '48 minutes' into v_earliest
    from acme_private.identifier_failure f
   where f.account_id = s.account_id and f.identifier = any (s.identifiers);
  if v_earliest > v_now then
    update acme_private.csr_state
       set state = 'retrying', next_attempt_at = v_earliest, queued_at = null, reason_code = 'failure_limit', updated_at = v_now,
           reason = 'One of its names failed validation five times within the hour; servers count that. It is tried again when one more try is free.'
     where csr_id = p_csr;
    perform acme_private.enqueue('csr', p_csr, v_earliest);
    return null;
  end if;
  -- By the key, name after name: a join would read all claims.
  select n into v_lost
    from unnest(s.identifiers) n
   where (select h.tenant from acme_private.identifier_claim h
           where h.name = regexp_replace(n, '^\*\.', '')) is distinct from s.tenant
   limit 1;
  if v_lost is not null then
    update acme_private.csr_state
       set state = 'needs_person', queued_at = null, reason_code = 'name_not_held', updated_at = v_now,
           reason = format('The name %s is no longer held by this tenant (acme.identifier_claim). Cancel this csr, or have the claim restored and retry.', v_lost)
     where csr_id = s.csr_id;
    perform acme_private.note('needs_person', s.tenant, s.csr_id, null, s.account_id, null, p_worker,
                              jsonb_build_object('reason', format('%s is not held', v_lost)));
    return null;
  end if;
  insert into acme_private."order" (csr_id, tenant, server_id, account_id, identifiers, identifiers_key, profile,
                                    lease_token, lease_until, lease_worker, claims)
  values (s.csr_id, s.tenant, s.server_id, s.account_id, s.identifiers, s.identifiers_key, s.profile,
          gen_random_uuid(), v_now + acme_private.lease_time(), p_worker, 1)
  on conflict do nothing
  returning id into v_order;
  if v_order is null then
    return null;
  end if;
  update acme_private.csr_state
     set state = case when state = 'queued' then 'ordering' else state end, order_id = v_order, queued_at = null,
         reason_code = null, reason = null, next_attempt_at = null, updated_at = v_now
   where csr_id = s.csr_id;
  return v_order;
end
$$;

-- May this account get new orders now?
create or replace function acme_private.is_open(p_account bigint) returns boolean
language plpgsql stable
as $$
begin
  return (
    select a.paused_at is null and s.state = 'valid' and not exists (
      select from acme_private.closure c
       where c.server_id = s.server_id and (c.account_id is null or c.account_id = s.account_id)
         and c.until > acme_private.clock())
      from acme_private.account_state s
      join acme.account a on a.id = s.account_id
     where s.account_id = p_account);
end
$$;

-- Admits the next csr of a server after the place (account, tenant) where the last one came from, so
-- that tenants take turns whatever the length of their queues. Returns its order, leased; null: none.
create or replace function acme_private.admit_next(p_worker bigint, p_server bigint, p_account bigint, p_tenant text) returns bigint
language plpgsql volatile
as $$
declare
  s acme_private.csr_state;
  v_account bigint := p_account;
  v_tenant text := p_tenant;
  v_is_second_round boolean := false;
  v_passed int := 0;
  v_order bigint;
begin
  if (select paused_at is not null from acme.server where id = p_server) then
    return null;
  end if;
  loop
    select q.* into s
      from acme_private.csr_state q
     where q.server_id = p_server
       and q.state in ('queued', 'renewing') and q.order_id is null
       and (q.account_id, q.tenant) > (v_account, v_tenant)
       and not exists (
         select from acme_private."order" o
          where o.is_live and o.account_id = q.account_id and o.identifiers_key = q.identifiers_key
            and coalesce(o.profile, '') = coalesce(q.profile, ''))
     order by q.account_id, q.tenant, q.priority desc, q.queued_at, q.csr_id
     limit 1
       for no key update skip locked;
    if found then
      if not acme_private.is_open(s.account_id) then
        -- on to the next account
        v_account := s.account_id + 1;
        v_tenant := '';
      else
        v_order := acme_private.make_order(p_worker, s.csr_id);
        if v_order is not null then
          return v_order;
        end if;
        -- It left the queue (cancelled, held back): look again from the same place, within bounds.
        v_passed := v_passed + 1;
        if v_passed > 20 then
          v_account := s.account_id;
          v_tenant := s.tenant;
        end if;
      end if;
    elsif v_is_second_round then
      return null;
    else
      v_is_second_round := true;
      v_account := 0;
      v_tenant := '';
    end if;
  end loop;
end
$$;

-- How many more orders a server takes now, over all workers.
create or replace function acme_private.room(p_server bigint) returns int
language plpgsql volatile
as $$
begin
  return (
    select s.max_orders_in_flight - (select count(*)::int from acme_private."order" o
                                      where o.server_id = s.id and o.is_live and not o.is_parked)
      from acme.server s
     where s.id = p_server);
end
$$;

-- Fills a server's free places. The first p_take orders come back as claims; jobs wake workers for the rest.
create or replace function acme_private.admit(p_worker bigint, p_server bigint, p_take int) returns jsonb
language plpgsql volatile
as $$
declare
  v_room int;
  v_order bigint;
  v_claims jsonb := '[]';
  v_account bigint := 0;
  v_tenant text := '';
begin
  if acme_private.room(p_server) <= 0 then
    return v_claims;
  end if;
  -- Two dispatchers must not count the same free places.
  perform from acme_private.lock where name = 'dispatch' for update;
  v_room := acme_private.room(p_server);
  select o.account_id, o.tenant into v_account, v_tenant
    from acme_private."order" o
   where o.server_id = p_server and o.is_live
   order by o.id desc
   limit 1;
  while v_room > 0 loop
    v_order := acme_private.admit_next(p_worker, p_server, coalesce(v_account, 0), coalesce(v_tenant, ''));
    exit when v_order is null;
    v_room := v_room - 1;
    if jsonb_array_length(v_claims) < p_take then
      v_claims := v_claims || acme_private.order_claim(v_order, true);
    else
      perform acme_private.hand_out(v_order);
    end if;
    select o.account_id, o.tenant into v_account, v_tenant from acme_private."order" o where o.id = v_order;
  end loop;
  return v_claims;
end
$$;

-- What makes room (an order's end, a registered account, an ended pause) wakes a dispatcher, which cannot
-- see a csr queued at that very moment: one that leaves a server full, or a csr where it has just queued
-- it, comes back.
create or replace function acme_private.come_back(p_servers bigint[], p_queued bigint[]) returns void
language plpgsql volatile
as $$
declare
  -- Half a second or more from now, on the full second: one job for all that come back then. None is put
  -- off, and none may run before this is committed.
  v_wait interval := date_trunc('second', clock_timestamp() + interval '1.5 seconds') - now();
  v_occasion text := 'soon:' || extract(epoch from now() + v_wait)::bigint;
begin
  if (exists (select from unnest(p_servers) s (id) where acme_private.room(s.id) <= 0)
      or exists (select from acme_private.csr_state q
                  where q.csr_id = any (p_queued) and q.state in ('queued', 'renewing') and q.order_id is null))
     -- add_job costs ten times this look
     and not exists (select from worker_schema.jobs j where j.key = 'pgacme:dispatch:' || v_occasion) then
    perform acme_private.dispatch_at(acme_private.clock() + v_wait, v_occasion);
  end if;
end
$$;

-- Gives an order that was just made to whichever worker takes the job.
create or replace function acme_private.hand_out(p_order bigint) returns void
language plpgsql volatile
as $$
begin
  update acme_private."order"
     set lease_token = null, lease_until = null, lease_worker = null, claims = 0
   where id = p_order;
  perform acme_private.enqueue('order', p_order);
end
$$;

-- One turn of the dispatcher: store the verdicts of the last turn, take what was received since, and
-- fill free places. The caller comes back with verdicts until received.rows is empty.
create or replace function acme_private.dispatch(p_worker bigint, p_lease uuid, p_verdicts jsonb, p_take int) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_received jsonb;
  v_claims jsonb := '[]';
  v_server bigint;
  v_servers bigint[] := '{}';
begin
  perform acme_private.begin_work(true);
  if p_lease is not null then
    perform acme_private.judge(p_worker, p_lease, p_verdicts);
  end if;
  if acme_private.is_held(p_worker) then
    return '{"received": {"rows": []}, "claims": []}';
  end if;
  if p_take > 0 then
    v_received := acme_private.claim_received(p_worker);
  else
    -- The worker stops: what is still to be judged is another's.
    v_received := '{"rows": []}';
    if exists (select from acme_private.csr_state where state = 'received') then
      perform acme_private.wake_dispatch();
    end if;
  end if;
  for v_server in
    select s.id
      from acme.server s
     where s.paused_at is null
       -- (as a join, which exists would be, all of the queue might be read)
       and (select true from acme_private.csr_state q
             where q.server_id = s.id and q.state in ('queued', 'renewing') and q.order_id is null limit 1)
     order by s.id
  loop
    v_claims := v_claims || acme_private.admit(p_worker, v_server,
      case when jsonb_array_length(v_received -> 'rows') > 0 then 0 else p_take - jsonb_array_length(v_claims) end);
    v_servers := v_servers || v_server;
  end loop;
  perform acme_private.come_back(v_servers, array(
    select (v ->> 'csr_id')::bigint from jsonb_array_elements(p_verdicts) v));
  return jsonb_build_object('received', v_received, 'claims', v_claims);
end
$$;
comment on function acme_private.dispatch(bigint, uuid, jsonb, int) is
  'Stores verdicts, takes received csrs to judge, admits queued ones. Returns {received: {lease, rows}, claims}.';

-- A csr has a request that nobody has seen, or its next try is due.
create or replace function acme_private.attend(p_worker bigint, p_csr bigint, p_take int) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  s acme_private.csr_state;
  v_claims jsonb;
begin
  if acme_private.is_held(p_worker) then
    return '[]';
  end if;
  perform acme_private.begin_work(true);
  select * into s from acme_private.csr_state where csr_id = p_csr for no key update;
  if not found or s.lease_token is not null and s.lease_until > acme_private.clock() then
    return '[]';
  end if;
  -- Reminders of what is seen already go too; heed reads the row after this, so that none that comes now is lost.
  if s.lease_token is null and s.order_id is null then
    delete from acme_private.request where csr_id = p_csr;
  end if;
  perform acme_private.heed(p_csr);
  update acme_private.csr_state
     set state = case when certificate_id is null then 'queued' else 'renewing' end,
         queued_at = acme_private.clock(), next_attempt_at = null, reason_code = null, reason = null
   where csr_id = p_csr and state = 'retrying' and next_attempt_at <= acme_private.clock();
  select * into s from acme_private.csr_state where csr_id = p_csr;
  if s.state in ('queued', 'renewing') and s.order_id is null then
    v_claims := acme_private.admit(p_worker, s.server_id, p_take);
    perform acme_private.come_back(array[s.server_id], array[p_csr]);
    return v_claims;
  elsif s.state = 'received' then
    perform acme_private.wake_dispatch();
  end if;
  return '[]';
end
$$;
comment on function acme_private.attend(bigint, bigint, int) is
  'Acts on an application''s requests for a csr, or on its next try being due. Returns claims.';
