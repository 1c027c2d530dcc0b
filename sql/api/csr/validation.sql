-- Judging: received csrs go to a worker in batches, which reads them; what only the database knows is judged
-- here, and they are queued or rejected.

-- The next tenant with csrs that nobody has taken yet; null: there is none after this one.
create or replace function acme_private.tenant_to_judge_after(p_tenant text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select s.tenant
      from acme_private.csr_state s
     where s.state = 'received' and s.claims = 0 and s.tenant > p_tenant
     order by s.tenant
     limit 1);
end
$$;
comment on function acme_private.tenant_to_judge_after(text) is 'The next tenant whose csrs wait to be judged, in the order of their names.';

-- Locks the next csrs of a tenant that nobody has taken yet, oldest first, after the csr p_after.
create or replace function acme_private.lock_fresh(p_tenant text, p_after bigint, p_limit int) returns bigint[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_default text := (select a.name from acme.account a where a.is_default);
begin
  return array(
    with picked as (
      select s.csr_id
        from (
          select x.csr_id
            from acme_private.csr_state x
           where x.state = 'received' and x.tenant = p_tenant and x.csr_id > p_after
             and x.claims = 0 and (x.next_attempt_at is null or x.next_attempt_at <= v_now)
           order by x.csr_id
           -- Without a default account all of a long queue may be waiting for one.
           limit case when v_default is null then 1000 end
        ) w
        join acme_private.csr_state s on s.csr_id = w.csr_id
        join acme.csr c on c.id = w.csr_id
       where s.state = 'received' and s.claims = 0 and coalesce(c.account, v_default) is not null
       order by w.csr_id
       limit p_limit
         for no key update of s skip locked
    )
    select p.csr_id from picked p);
end
$$;
comment on function acme_private.lock_fresh(text, bigint, int) is 'Locks received csrs of a tenant for a worker to judge.';

-- Up to a hundred received csrs that nobody has taken yet, locked: in equal parts of all tenants that have some, beginning
-- after the tenant where the last turn ended. One that needs less leaves the rest to the others.
create or replace function acme_private.pick_fresh() returns bigint[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  c_most constant int := 100;
  v_start text := (select t.tenant from acme_private.turn t where t.name = 'judge');
  v_tenant text := v_start;
  v_has_wrapped boolean := false;
  v_tenants text[] := '{}';
  v_last bigint[];
  v_more text[];
  v_more_last bigint[];
  v_share int;
  v_ids bigint[];
  v_picked bigint[] := '{}';
begin
  while cardinality(v_tenants) < c_most loop
    v_tenant := acme_private.tenant_to_judge_after(v_tenant);
    if v_tenant is null then
      exit when v_has_wrapped;
      v_has_wrapped := true;
      v_tenant := '';
    else
      exit when v_has_wrapped and v_tenant > v_start;
      v_tenants := v_tenants || v_tenant;
    end if;
  end loop;
  -- Where somebody else is at it at this moment, it is their turn that counts.
  update acme_private.turn t
     set tenant = v_tenants[cardinality(v_tenants)]
   where t.name in (select x.name from acme_private.turn x where x.name = 'judge' for update skip locked)
     and cardinality(v_tenants) > 0 and t.tenant <> v_tenants[cardinality(v_tenants)];
  v_last := array_fill(0::bigint, array[cardinality(v_tenants)]);
  while cardinality(v_tenants) > 0 and cardinality(v_picked) < c_most loop
    v_share := greatest((c_most - cardinality(v_picked)) / cardinality(v_tenants), 1);
    v_more := '{}';
    v_more_last := '{}';
    for i in 1..cardinality(v_tenants) loop
      v_ids := acme_private.lock_fresh(v_tenants[i], v_last[i], least(v_share, c_most - cardinality(v_picked)));
      v_picked := v_picked || v_ids;
      if cardinality(v_ids) = v_share then
        v_more := v_more || v_tenants[i];
        v_more_last := v_more_last || v_ids[v_share];
      end if;
    end loop;
    v_tenants := v_more;
    v_last := v_more_last;
  end loop;
  return v_picked;
end
$$;
comment on function acme_private.pick_fresh() is 'Locks received csrs for a worker to judge, in turns of their tenants.';

-- One received csr that was taken before without a result, locked: it goes alone, so that it cannot take others down with it.
create or replace function acme_private.pick_suspect() returns bigint[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
begin
  return array(
    select s.csr_id
      from acme_private.csr_state s
      join acme.csr c on c.id = s.csr_id
     where s.state = 'received' and s.claims > 0
       and (s.lease_token is null or s.lease_until < v_now)
       and (s.next_attempt_at is null or s.next_attempt_at <= v_now)
       and (c.account is not null or exists (select from acme.account a where a.is_default))
     order by s.csr_id
     limit 1
       for no key update of s skip locked);
end
$$;
comment on function acme_private.pick_suspect() is 'Locks a received csr that was judged before without a result.';

-- Takes up to a hundred received csrs to be judged. One that was taken before without a result goes
-- alone, so that it cannot take the others down with it.
create or replace function acme_private.claim_received(p_worker bigint) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_lease uuid := gen_random_uuid();
  v_default text := (select a.name from acme.account a where a.is_default);
  v_ids bigint[];
  v_rows jsonb;
  v_set_aside bigint;
  v_accounts bigint[];
begin
  for v_batch in 1..2 loop
    v_ids := case v_batch when 1 then acme_private.pick_fresh() else acme_private.pick_suspect() end;
    continue when v_ids = '{}';
    with picked as (
      select s.csr_id, a.id as account_id, v.id as server_id
        from acme_private.csr_state s
        join acme.csr c on c.id = s.csr_id
        join acme.account a on a.name = coalesce(c.account, v_default)
        join acme.server v on v.name = a.server
       where s.csr_id = any (v_ids)
    ), taken as (
      update acme_private.csr_state s
         set lease_token = v_lease, lease_until = v_now + acme_private.lease_time(), lease_worker = p_worker,
             claims = s.claims + 1, account_id = p.account_id, server_id = p.server_id
        from picked p
       where s.csr_id = p.csr_id
      returning s.csr_id, s.server_id, s.account_id, s.claims
    )
    select jsonb_agg(jsonb_build_object('csr_id', t.csr_id, 'pem', c.pem, 'key_types', v.key_types,
                                        'max_names', v.max_names, 'refused_csr_features', v.refused_csr_features,
                                        'chain_pem', (select d.chain_pem from acme_private.adoption d where d.csr_id = t.csr_id))
                     order by t.csr_id),
           min(t.csr_id) filter (where t.claims > acme_private.claims_allowed()),
           array_agg(distinct t.account_id)
      into v_rows, v_set_aside, v_accounts
      from taken t
      join acme.csr c on c.id = t.csr_id
      join acme.server v on v.id = t.server_id;
    -- Whoever deletes one of these from here on waits for this batch, and then finds what needs it.
    if (select count(*) from (select from acme.account a where a.id = any (v_accounts) order by a.id for key share) l)
         < cardinality(v_accounts) then
      raise exception 'An account was deleted while csrs were given to it; they are given anew.'
        using errcode = 'serialization_failure';
    end if;
    if v_set_aside is not null then
      perform acme_private.set_aside(p_worker, 'csr', v_set_aside, 'PRTRY');
      v_rows := null;
    end if;
    exit when v_rows is not null;
  end loop;
  return jsonb_build_object('lease', v_lease, 'rows', coalesce(v_rows, '[]'));
end
$$;

-- Stores what a worker found, of rows that store_verdicts has locked. verdicts: [{csr_id, identifiers, domains, spki, reasons: [{code, text}], certificate}];
-- domains: the registered domain of each identifier; certificate: that of an adoption, as for certificate_stored. What only the database knows is judged here, so
-- that a rejected csr has all its reasons at once.
create or replace function acme_private.judge(p_worker bigint, p_lease uuid, p_verdicts jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
  v_is_of_domain boolean;
  v_account record;
  v_made bigint[] := '{}';
begin
  for v in select * from jsonb_array_elements(p_verdicts) loop
    select * into s from acme_private.csr_state
     where csr_id = (v ->> 'csr_id')::bigint and lease_token = p_lease;
    continue when not found;
    select r.solver, r.profile, r.account, x.name as server, x.account_policy into c
      from acme.csr r
      join acme.server x on x.id = s.server_id
     where r.id = s.csr_id;
    v_reasons := v -> 'reasons';
    v_names := array(select jsonb_array_elements_text(v -> 'identifiers'));
    v_domains := array(select jsonb_array_elements_text(v -> 'domains'));
    v_spki := decode(v ->> 'spki', 'hex');
    if exists (select from acme_private.account_key k where k.spki_sha256 = v_spki) then
      v_reasons := v_reasons || jsonb_build_object('code', 'account_key', 'text',
        'Its key is the key of an ACME account (RFC 8555 §11.1 forbids that). Make a CSR with a key of its own.');
    end if;
    if acme_private.is_blocked(v_spki) then
      v_reasons := v_reasons || jsonb_build_object('code', 'key_blocked', 'text',
        'Its key is blocked, since it was said to be compromised. Make a new key, and a CSR with it.');
    end if;
    v_is_of_domain := c.account is null and c.account_policy = 'per_registered_domain';
    if v_is_of_domain and acme_private.domains_problem(v_domains, c.server) is not null then
      v_reasons := v_reasons || jsonb_build_object('code', 'several_domains', 'text',
        acme_private.domains_problem(v_domains, c.server));
    end if;
    for i in 1..cardinality(v_names) loop
      if (acme_private.solver_for(c.solver, v_names[i])).id is null then
        v_reasons := v_reasons || jsonb_build_object('code', 'no_solver', 'text', case
          when v_names[i] like '*.%' then format('%s is a wildcard, and none of the solvers can prove one: http-01 cannot (RFC 8555 §8.3).', v_names[i])
          else format('No solver serves %s. Insert one into acme.solver, or name another in csr.solver.', v_names[i]) end);
      end if;
      if acme_private.is_owned_by_another(acme_private.base_name(v_names[i]), v_domains[i], s.tenant) then
        v_reasons := v_reasons || jsonb_build_object('code', 'name_held', 'text',
          acme_private.name_held_text(acme_private.base_name(v_names[i]), s.tenant));
      end if;
    end loop;
    if jsonb_array_length(v_reasons) > 0 then
      update acme_private.csr_state
         set state = 'rejected', identifiers = nullif(v_names, '{}'), lease_token = null, lease_until = null,
             lease_worker = null, claims = 0, reason_code = v_reasons -> 0 ->> 'code',
             reason = (select string_agg(r ->> 'text', ' ') from jsonb_array_elements(v_reasons) r),
             last_problem = jsonb_build_object('reasons', v_reasons), updated_at = v_now
       where csr_id = s.csr_id;
      if not acme_private.was_rejected_for(s.csr_id, v_reasons) then
        perform acme_private.note('rejected', s.tenant, s.csr_id, null, null, null, p_worker,
                                  jsonb_build_object('reasons', v_reasons));
      end if;
    else
      perform acme_private.ask_for_names(s.tenant, v_names, v_domains);
      if v_is_of_domain then
        select * into v_account from acme_private.account_of_domain(p_worker, s.csr_id, s.account_id, v_domains[1]);
        if v_account.is_made then
          v_made := v_made || v_account.account_id;
        end if;
        s.account_id := v_account.account_id;
        update acme_private.csr_state set account_id = s.account_id where csr_id = s.csr_id;
      end if;
      if v ? 'certificate' then
        perform acme_private.own_adopted_names(s.tenant, v_names, v_domains);
        update acme_private.csr_state set domains = v_domains where csr_id = s.csr_id;
        perform acme_private.store_adopted(p_worker, s.csr_id, v -> 'certificate');
        perform acme_private.heed(s.csr_id);
        continue;
      end if;
      update acme_private.csr_state
         set state = 'queued', queued_at = v_now, identifiers = v_names, domains = v_domains,
             identifiers_key = acme_private.identifiers_key(v_names),
             is_renewal = acme_private.has_had_certificate(s.server_id, s.tenant, v_names), spki_sha256 = v_spki, profile = c.profile,
             lease_token = null, lease_until = null, lease_worker = null, claims = 0,
             reason_code = null, reason = null, last_problem = null, updated_at = v_now
       where csr_id = s.csr_id;
      perform acme_private.note('accepted', s.tenant, s.csr_id, null, s.account_id, null, p_worker,
                                jsonb_build_object('identifiers', v_names));
    end if;
    perform acme_private.heed(s.csr_id);
  end loop;
  -- The trigger does not (begin_work); all of them at once.
  if cardinality(v_made) > 0 then
    perform acme_private.wake_rows('register', 'account', v_made);
  end if;
end
$$;

-- Stores the verdicts of a batch. One that raises an error is set aside, and the others are stored.
create or replace function acme_private.store_verdicts(p_worker bigint, p_lease uuid, p_verdicts jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v jsonb;
begin
  -- Its rows first: whoever took them up when the lease had run out may be waiting for the lock below.
  perform from acme_private.csr_state
   where csr_id = any (array(select (r ->> 'csr_id')::bigint from jsonb_array_elements(p_verdicts) r))
     and lease_token = p_lease
   order by csr_id
     for no key update;
  -- One batch at a time: two tenants must not take overlapping names side by side.
  perform from acme_private.lock where name = 'dispatch' for update;
  begin
    perform acme_private.judge(p_worker, p_lease, p_verdicts);
    return;
  exception when others then
    if not acme_private.is_fault_of_row(sqlstate) then
      raise;
    end if;
  end;
  for v in select * from jsonb_array_elements(p_verdicts) loop
    begin
      perform acme_private.judge(p_worker, p_lease, jsonb_build_array(v));
    exception when others then
      if not acme_private.is_fault_of_row(sqlstate) then
        raise;
      end if;
      raise warning 'pgacme sets csr % aside: %', v ->> 'csr_id', sqlerrm;
      perform acme_private.set_aside(p_worker, 'csr', (v ->> 'csr_id')::bigint, sqlstate);
    end;
  end loop;
end
$$;
comment on function acme_private.store_verdicts(bigint, uuid, jsonb) is
  'Stores the verdicts of a batch, each for itself where one raises an error.';
