-- Ids that were given to rows since the backup are known to applications, and must not be given to others.
create or replace function acme_private.advance_sequences(p_by bigint) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_sequence text;
  v_count int := 0;
begin
  for v_sequence in
    select format('%I.%I', n.nspname, s.relname)
      from pg_class s
      join pg_namespace n on n.oid = s.relnamespace
      join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.deptype = 'i'
     where s.relkind = 'S' and n.nspname in ('acme', 'acme_private')
     order by 1
  loop
    execute format('select setval(%L, (select last_value from %s) + %s)', v_sequence, v_sequence, p_by);
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;

-- The owner's part of pgacme adopt-database --restored, also where nothing shows that the database is another
-- one. Granted to nobody. Returns what was done, and what can be told of what is not known.
create or replace function acme_private.adopt_restored(p_environment text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_last timestamptz := (select e.at from acme_private.event e order by e.epoch desc, e.xid desc, e.id desc limit 1);
  v_adopted jsonb := acme_private.adopt_database(p_environment);
  v_advanced bigint := 1000000;
  v_accounts bigint[];
  v_open int;
  v_anew int := 0;
  v_spread int;
  v_retries int;
  v_facts jsonb;
  o acme_private."order";
begin
  if v_adopted is null then
    perform acme_private.raise_epoch();
  end if;
  -- (Nothing is woken row by row: the caller has reconcile() do it.)
  perform acme_private.begin_work(false);
  perform set_config('enable_seqscan', 'on', true), set_config('lock_timeout', '30s', true);
  perform acme_private.advance_sequences(v_advanced);
  perform from acme_private.csr_state s
    where s.csr_id in (select y.csr_id from acme_private."order" y where y.is_live and y.url is null)
    order by s.csr_id
      for no key update;
  -- What a worker is sending at this very moment is its own.
  for o in
    select y.* from acme_private."order" y
     where y.is_live and y.url is null and (y.lease_token is null or y.lease_until < v_now)
     order by y.id
       for update
  loop
    perform acme_private.end_order(null, o, 'limited', 'database_restored',
      'The database was restored from a backup that has no URL of this order. A new one follows.', null, null);
    v_anew := v_anew + 1;
  end loop;
  select count(*) into v_open from acme_private."order" y where y.is_live and y.url is not null;
  -- Those that were asked for keep their turn.
  update acme_private.csr_state s
     set state = 'issued', renew_at = acme_private.spread_renewal(k.not_after), renewal_reason = null, queued_at = null,
         updated_at = v_now
    from acme_private.certificate k
   where k.id = s.certificate_id and s.order_id is null
     and (s.state = 'issued' and s.renew_at <= v_now
          or s.state = 'renewing' and s.renewal_reason = 'its lifetime is nearly over');
  get diagnostics v_spread = row_count;
  update acme_private.csr_state s
     set next_attempt_at = coalesce(
           (select acme_private.spread_renewal(k.not_after) from acme_private.certificate k where k.id = s.certificate_id),
           v_now + interval '10 minutes' * random())
   where s.state = 'retrying' and s.next_attempt_at <= v_now;
  get diagnostics v_retries = row_count;

  delete from acme_private.listed_order;
  with asked as (
    update acme_private.account_state a
       set reread_since = v_now, reread_listed = null, reread_found = 0, updated_at = v_now
     where a.state in ('registering', 'valid', 'rolling_over') and a.url is not null
    returning a.account_id
  )
  select coalesce(array_agg(account_id), '{}') into v_accounts from asked;
  update acme_private.account_state a
     set reason_code = 'database_restored', reason = acme_private.reread_text()
   where a.account_id = any (v_accounts) and a.state = 'valid';
  update acme.account a set verify_request = a.version + 1 where a.id = any (v_accounts);

  select jsonb_build_object(
           'backup_at', v_last, 'ids_advanced_by', v_advanced, 'accounts', cardinality(v_accounts),
           'orders_open', v_open, 'orders_anew', v_anew, 'renewals_spread', v_spread, 'retries_spread', v_retries,
           'csrs', (select count(*) from acme_private.csr_state s where s.is_live),
           'certificates', (select count(*) from acme_private.csr_state s where s.is_live and s.certificate_id is not null))
    into v_facts;
  perform acme_private.note('database_restored', null, p_detail => v_facts);
  return v_facts || jsonb_build_object(
    'adopted', v_adopted,
    -- By what is known of it; a worker finds out.
    'servers', (select coalesce(jsonb_agg(jsonb_build_object('name', v.name, 'has_list', (
                  select f.support from acme.server_feature f where f.server = v.name and f.feature = 'orders_list')) order by v.name), '[]')
                  from acme.server v
                 where v.id in (select a.server_id from acme_private.account_state a where a.account_id = any (v_accounts))));
end
$$;
comment on function acme_private.adopt_restored(text) is
  'Takes a database that was restored from a backup into use, for workers of this environment. For acme_owner: pgacme adopt-database --restored.';

create or replace function acme_private.reread_text() returns text
language sql immutable
return 'The database was restored from a backup: the server is asked for the account, and for its orders where it lists them, before there are new ones.';

-- What the server lists, as URLs; null: it has no list, or (p_text) it could not be had.
create or replace function acme_private.orders_listed(
  p_worker bigint, p_account bigint, p_lease uuid, p_urls jsonb, p_text text
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  -- A long list against all orders of the account.
  perform set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true);
  update acme_private.account_state
     set reread_listed = jsonb_array_length(nullif(p_urls, 'null'))
   where account_id = p_account and lease_token = p_lease;
  if found then
    insert into acme_private.listed_order (account_id, url)
    select p_account, u
      from jsonb_array_elements_text(nullif(p_urls, 'null')) u
     where not exists (select from acme_private."order" o where o.account_id = p_account and o.url = u)
    on conflict do nothing;
    perform acme_private.reread_goes_on(p_worker, p_account, p_text);
  end if;
end
$$;
comment on function acme_private.orders_listed(bigint, bigint, uuid, jsonb, text) is
  'Stores which orders an account''s list has that the database does not know (RFC 8555 §7.1.2.1).';

-- The csrs whose certificates such orders may have brought: [{at, csr_id, pem, identifiers}], at: the place in p_names.
create or replace function acme_private.csrs_of_orders(p_account bigint, p_names jsonb) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(jsonb_build_object('at', n.at - 1, 'csr_id', s.csr_id, 'pem', c.pem, 'identifiers', s.identifiers)
                            order by n.at, s.csr_id), '[]')
    from (
      select x.at, acme_private.identifiers_key(array(select jsonb_array_elements_text(x.names))) as key
        from jsonb_array_elements(p_names) with ordinality x (names, at)
    ) n
    join acme_private.csr_state s on s.identifiers_key = n.key
    join acme.csr c on c.id = s.csr_id
   where s.account_id = p_account and s.state in ('queued', 'ordering', 'issued', 'renewing', 'retrying', 'needs_person')
$$;
comment on function acme_private.csrs_of_orders(bigint, jsonb) is
  'The live csrs of an account that have just these names, for each of several lists of names.';

-- What came of the listed orders that a worker looked at: [{url}], or with a certificate of a csr of ours, verified:
-- [{url, csr_id, finalize_url, expires_at, certificate}].
create or replace function acme_private.orders_read(p_worker bigint, p_account bigint, p_lease uuid, p_results jsonb)
  returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  r jsonb;
  v_found int := 0;
  v_revoking bigint[] := '{}';
begin
  perform acme_private.begin_work(false);
  perform from acme_private.csr_state s
    where s.csr_id = any (array(select (x ->> 'csr_id')::bigint from jsonb_array_elements(p_results) x where x ? 'certificate'))
    order by s.csr_id
      for no key update;
  perform from acme_private.account_state where account_id = p_account and lease_token = p_lease for no key update;
  if not found then
    return;
  end if;
  for r in
    select x from jsonb_array_elements(p_results) x
     where x ? 'certificate'
     order by (x -> 'certificate' ->> 'not_before')::timestamptz
  loop
    if acme_private.take_found(p_worker, p_account, r) then
      v_found := v_found + 1;
      v_revoking := v_revoking || array(
        select k.id from acme_private.certificate k where k.csr_id = (r ->> 'csr_id')::bigint and k.state = 'revoking');
    end if;
  end loop;
  delete from acme_private.listed_order l
   where l.account_id = p_account and l.url in (select x ->> 'url' from jsonb_array_elements(p_results) x);
  update acme_private.account_state set reread_found = reread_found + v_found where account_id = p_account;
  perform acme_private.reread_goes_on(p_worker, p_account, null);
  if cardinality(v_revoking) > 0 then
    perform acme_private.wake_rows('revoke', 'certificate', v_revoking);
  end if;
end
$$;
comment on function acme_private.orders_read(bigint, bigint, uuid, jsonb) is
  'Stores the certificates that listed orders brought since the backup, as their csrs'' current ones.';

-- A certificate of an order that the database did not know. Its csr_state is locked. False: the csr has one that is
-- as new, or does not want it any more.
create or replace function acme_private.take_found(p_worker bigint, p_account bigint, p_found jsonb) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  k jsonb := p_found -> 'certificate';
  s acme_private.csr_state;
  v_not_before timestamptz := k ->> 'not_before';
  v_not_after timestamptz := k ->> 'not_after';
  v_planned timestamptz := acme_private.adopted_renewal_time(v_not_before, v_not_after);
  v_order bigint;
  v_certificate bigint;
begin
  select * into s from acme_private.csr_state where csr_id = (p_found ->> 'csr_id')::bigint;
  if not found or s.account_id <> p_account
     or s.state not in ('queued', 'ordering', 'issued', 'renewing', 'retrying', 'needs_person')
     or v_not_after <= v_now or acme_private.is_blocked(s.spki_sha256)
     or exists (select from acme_private.certificate c
                 where c.csr_id = s.csr_id
                   and (c.fingerprint_sha256 = decode(k ->> 'fingerprint_sha256', 'hex')
                        or c.id = s.certificate_id and c.not_before > v_not_before)) then
    return false;
  end if;
  insert into acme_private."order" (csr_id, tenant, server_id, account_id, state, identifiers, identifiers_key, profile,
                                    url, finalize_url, certificate_url, expires_at, finished_at)
  values (s.csr_id, s.tenant, s.server_id, p_account, 'issued', s.identifiers, s.identifiers_key, s.profile,
          p_found ->> 'url', p_found ->> 'finalize_url', k ->> 'url', (p_found ->> 'expires_at')::timestamptz, v_now)
  returning id into v_order;
  if s.certificate_id is not null then
    perform acme_private.supersede(s.certificate_id);
  end if;
  v_certificate := acme_private.insert_certificate(s, v_order, k, v_planned);
  -- An order under way goes on: it was sent before, and may bring another one.
  update acme_private.csr_state
     set state = case when order_id is null then 'issued' else state end, certificate_id = v_certificate,
         attempts = 0, next_attempt_at = null, queued_at = null, reason_code = null, reason = null, last_problem = null,
         renewal_reason = case when order_id is not null then renewal_reason end, updated_at = v_now,
         renew_at = case when (select c.renewal from acme.csr c where c.id = s.csr_id) = 'off' then null
                         else v_planned end
   where csr_id = s.csr_id;
  perform acme_private.note('issued', s.tenant, s.csr_id, v_order, p_account, v_certificate, p_worker,
                            jsonb_build_object('serial', k ->> 'serial', 'not_after', v_not_after, 'found', true));
  perform acme_private.heed(s.csr_id);
  return true;
end
$$;

-- After a turn of reading: the rest is next, or the account gets orders again.
create or replace function acme_private.reread_goes_on(p_worker bigint, p_account bigint, p_text text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_done boolean := not exists (select from acme_private.listed_order l where l.account_id = p_account);
  s acme_private.account_state;
begin
  select * into s from acme_private.account_state where account_id = p_account;
  update acme_private.account_state
     set lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = 0, next_attempt_at = null,
         last_problem = null, updated_at = acme_private.clock(),
         reread_since = case when not v_is_done then reread_since end,
         reason_code = case when not v_is_done then reason_code end, reason = case when not v_is_done then reason end
   where account_id = p_account;
  if v_is_done then
    perform acme_private.note('account_orders_read', null, null, null, p_account, null, p_worker, jsonb_strip_nulls(
      jsonb_build_object('listed', s.reread_listed, 'found', s.reread_found, 'problem', p_text)));
  end if;
  perform acme_private.account_goes_on(p_account);
end
$$;
