-- What a tenant's names have in the way of its order. Orders of different tenants for overlapping names never run at the same
-- time, since they would share an authorization; and what an earlier owner proved is given up at the server first.

-- How long an order for a name that nobody owns may take when another tenant waits for it: longer after each attempt, so that what
-- takes its time (a record by hand) comes to its end although others ask for the name again and again; never longer than 80 minutes,
-- since the tenant that waits may be the right one.
create or replace function acme_private.name_turn_time(p_attempts int) returns interval
language sql immutable parallel safe
return interval '10 minutes' * 2 ^ least(p_attempts, 3);

create or replace function acme_private.with_wildcards(p_names text[]) returns text[]
language sql immutable parallel safe
return p_names || array(select '*.' || n from unnest(p_names) n);

-- Deactivates these authorizations at the server, as far as no worker holds them. Those that it has not made yet are ended.
create or replace function acme_private.give_up_authorizations(p_ids bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  with picked as (
    select x.id
      from acme_private.authorization x
     where x.id = any (p_ids) and x.state in ('new', 'pending', 'valid', 'expired')
       and (x.lease_token is null or x.lease_until < acme_private.clock())
     order by x.id
       for no key update skip locked
  ), given_up as (
    update acme_private.authorization x
       set state = case x.state when 'new' then 'deactivated' else 'deactivating' end, is_preauthorization = false,
           lease_token = null, lease_until = null, lease_worker = null, claims = 0, next_attempt_at = null, attempts = 0,
           reason_code = null, reason = null, last_problem = null, updated_at = acme_private.clock()
      from picked p
     where x.id = p.id
    returning x.id, x.state
  )
  select array_agg(g.id) into v_ids from given_up g where g.state = 'deactivating';
  perform acme_private.unpublish(i) from unnest(v_ids) i;
  perform acme_private.wake_rows('prove', 'authorization', v_ids);
end
$$;
comment on function acme_private.give_up_authorizations(bigint[]) is 'Has authorizations deactivated at their servers.';

-- Ends orders that are not finalized yet: each makes way for another tenant.
create or replace function acme_private.give_up_orders(p_ids bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  with picked as (
    select o.id
      from acme_private."order" o
     where o.id = any (p_ids) and o.state in ('creating', 'authorizing', 'ready') and not o.is_unwanted
     order by o.id
       for no key update skip locked
  ), given_up as (
    update acme_private."order" o set unwanted_for = 'name_in_use' from picked p where o.id = p.id
    returning o.id
  )
  select array_agg(g.id) into v_ids from given_up g;
  perform acme_private.wake_rows('cancel', 'order', v_ids);
end
$$;
comment on function acme_private.give_up_orders(bigint[]) is 'Ends orders of names that another tenant is to have.';

-- The authorizations of an account for these names, or names above them, that are another tenant's who does not own the name
-- any more. An order that came back ready may have one whose name is not known.
create or replace function acme_private.authorizations_left_behind(p_account bigint, p_tenant text, p_names text[], p_domains text[])
  returns bigint[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[] := array(
    select distinct a
      from unnest(p_names, p_domains) n (name, domain)
     cross join unnest(acme_private.name_and_above(n.name, n.domain)) a);
begin
  return array(
    select a.id
      from acme_private.authorization a
     where a.account_id = p_account and reverse(a.identifier) = any (array(select reverse(n) from unnest(v_names) n)) and a.tenant <> p_tenant
       and a.url is not null and a.state in ('pending', 'valid', 'deactivating', 'expired')
       and (a.expires_at is null or a.expires_at > acme_private.clock()
            -- answered, and the server was not seen to end it: it may have become valid for longer
            or exists (select from acme_private.challenge c where c.authorization_id = a.id and c.state in ('pending', 'processing')))
       and not exists (select from acme_private.tenant_name t
                        where t.tenant = a.tenant and t.name = a.identifier and t.owner_since is not null)
    union all
    select a.id
      from acme_private.authorization a
     where a.account_id = p_account and reverse(a.identifier) is null and a.tenant <> p_tenant
       and a.state in ('valid', 'deactivating')
       and exists (select from acme_private."order" o
                    where o.id = any (acme_private.orders_of(a.id)) and o.identifiers && acme_private.with_wildcards(v_names)));
end
$$;
comment on function acme_private.authorizations_left_behind(bigint, text, text[], text[]) is
  'The authorizations of an account that earlier owners of these names left behind.';

-- Do identifiers overlap with these names (base names)?
create or replace function acme_private.is_overlapping(p_identifiers text[], p_names text[]) returns boolean
language sql immutable parallel safe
return exists (
  select from unnest(p_identifiers) i cross join unnest(p_names) n
   where acme_private.is_within(i, n) or acme_private.is_within(n, acme_private.base_name(i)));
comment on function acme_private.is_overlapping(text[], text[]) is
  'Whether one of these identifiers is one of these names, or above or below it.';

-- Is one of these tenants at work on a name that overlaps with these, or has it waited longer? An order that has had its time gives
-- way. One that is given up already at another account shares no authorization, and its server may be down for long.
create or replace function acme_private.is_name_in_use(p_tenants text[], p_account bigint, p_names text[], p_since timestamptz) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_orders bigint[] := array(
    select o.id from acme_private."order" o
     where o.is_live and o.tenant = any (p_tenants) and not (o.is_unwanted and o.account_id <> p_account)
       and acme_private.is_overlapping(o.identifiers, p_names));
  v_authorizations bigint[] := array(
    select a.id from acme_private.authorization a
     where a.is_preauthorization and a.tenant = any (p_tenants) and acme_private.is_overlapping(array[a.identifier], p_names)
       -- new: the server is being asked for it
       and (a.state = 'pending' or a.state = 'new' and a.lease_until > v_now));
begin
  perform acme_private.give_up_orders(array(
    select o.id
      from acme_private."order" o
      join acme_private.csr_state s on s.csr_id = o.csr_id
     where o.id = any (v_orders) and o.state in ('creating', 'authorizing')
       and o.created_at < v_now - acme_private.name_turn_time(s.attempts)));
  perform acme_private.give_up_authorizations(array(
    select a.id from acme_private.authorization a
     where a.id = any (v_authorizations) and a.created_at < v_now - acme_private.name_turn_time(0)));
  return v_orders <> '{}' or v_authorizations <> '{}' or exists (
    select from acme_private.csr_state s
     where s.contested_since < p_since and s.tenant = any (p_tenants)
       -- One that cannot be ordered now for another reason keeps nobody waiting.
       and (s.state = 'retrying' and s.reason_code in ('name_in_use', 'name_handed_on')
            or s.state in ('queued', 'renewing') and s.order_id is null and acme_private.is_open(s.account_id)
               and (select v.paused_at is null from acme.server v where v.id = s.server_id))
       and acme_private.is_overlapping(s.identifiers, p_names));
end
$$;
comment on function acme_private.is_name_in_use(text[], bigint, text[], timestamptz) is
  'Whether one of these tenants has an order under way that overlaps with these names, or has waited since before a time.';

-- Why a tenant may not begin an order (or a pre-authorization) for these names with this account now; code null: it may. Its own
-- rows of tenant_name stay locked until the commit, so that nobody else begins one for overlapping names. p_since: since when it
-- waits; null: it does not yet.
--   name_held        one belongs to another tenant
--   name_in_use      another tenant asks for one, and has its turn
--                    (is_locked: somebody has a row of its own locked, and no turn is waited for)
--   name_handed_on   what an earlier owner proved is still valid at the server
create or replace function acme_private.name_obstacle(
  p_tenant text, p_account bigint, p_identifiers text[], p_domains text[], p_since timestamptz,
  out code text, out reason text, out until timestamptz, out is_locked boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_names text[];
  v_domains text[];
  v_tenants text[];
  v_ids bigint[];
  v_lock_timeout text := current_setting('lock_timeout');
begin
  select array_agg(n.name order by n.name), array_agg(n.domain order by n.name) into v_names, v_domains
    from (select distinct acme_private.base_name(u.identifier) as name, u.domain
            from unnest(p_identifiers, p_domains) u (identifier, domain)) n;
  -- Nearly always it owns them all, and has proved each itself.
  if cardinality(v_names) = (
    select count(t.proved_at) from acme_private.tenant_name t where t.tenant = p_tenant and t.name = any (v_names))
  then
    return;
  end if;
  if not acme_private.lock_names(p_tenant, v_names) then
    -- Or a row was forgotten (lapse_names): it is there again with the commit. Another commit may be inserting the same row, and
    -- is not waited for: it may want a csr that is locked here.
    begin
      perform set_config('lock_timeout', '100ms', true);
      perform acme_private.ask_for_names(p_tenant, p_identifiers, p_domains);
      perform set_config('lock_timeout', v_lock_timeout, true);
    exception when lock_not_available then
      null;
    end;
    code := 'name_in_use';
    is_locked := true;
    reason := 'An order for one of its names is being made at this moment, or the name is being released.';
    until := v_now + interval '2 seconds';
    return;
  end if;
  for i in 1..cardinality(v_names) loop
    if acme_private.is_owned_by_another(v_names[i], v_domains[i], p_tenant) then
      code := 'name_held';
      reason := acme_private.name_held_text(v_names[i], p_tenant);
      return;
    end if;
  end loop;
  select array_agg(distinct o.tenant) into v_tenants
    from acme_private.names_asked_by_others(p_tenant, v_names, v_domains) o;
  if v_tenants is not null then
    if not acme_private.lock_names_asked_by_others(p_tenant, v_names, v_domains) then
      until := v_now + interval '2 seconds';
    elsif acme_private.is_name_in_use(v_tenants, p_account, v_names, coalesce(p_since, v_now)) then
      until := v_now + interval '1 minute';
    end if;
    if until is not null then
      code := 'name_in_use';
      reason := 'Another tenant asks for one of its names, or for one above or below it, and no tenant has proved control of it yet. Orders for it are made one after the other; the first tenant that proves control owns it.';
      return;
    end if;
  end if;
  v_ids := acme_private.authorizations_left_behind(p_account, p_tenant, v_names, v_domains);
  if v_ids <> '{}' then
    perform acme_private.give_up_authorizations(v_ids);
    code := 'name_handed_on';
    select greatest(v_now + interval '1 minute', min(a.next_attempt_at)),
           'One of its names was another tenant''s, and the authorization that proved their control of it is still valid at the server. The order is made once the server has deactivated it.'
             || case when bool_or(a.attempts > 0) then ' The server has not done so yet, and is asked again.' else '' end
      into until, reason
      from acme_private.authorization a where a.id = any (v_ids);
  end if;
end
$$;
comment on function acme_private.name_obstacle(text, bigint, text[], text[], timestamptz) is
  'Why a tenant may not begin an order for these names now, and until when; code null: it may.';

-- A csr that is locked may not be ordered now (name_obstacle).
create or replace function acme_private.wait_for_names(
  p_worker bigint, s acme_private.csr_state, p_code text, p_reason text, p_until timestamptz, p_is_locked boolean
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  -- One that has a certificate keeps it.
  v_state text := case when p_code <> 'name_held' then 'retrying'
                       when s.certificate_id is null then 'rejected'
                       else 'needs_person' end;
begin
  update acme_private.csr_state
     set state = v_state, queued_at = null, next_attempt_at = p_until, updated_at = v_now,
         reason_code = p_code, reason = p_reason,
         -- (Who has its own row locked keeps nobody else waiting.)
         contested_since = case when v_state = 'retrying' and p_is_locked is not true then coalesce(s.contested_since, v_now) end
   where csr_id = s.csr_id;
  if v_state = 'retrying' then
    perform acme_private.enqueue('csr', s.csr_id, p_until);
  end if;
  -- (Once, and not each time that it is looked at.)
  if v_state <> 'retrying' or p_is_locked is not true and s.contested_since is null then
    perform acme_private.note(v_state, s.tenant, s.csr_id, null, s.account_id, s.certificate_id, p_worker,
                              jsonb_build_object('reason', p_reason, 'next_attempt_at', p_until));
  end if;
end
$$;
comment on function acme_private.wait_for_names(bigint, acme_private.csr_state, text, text, timestamptz, boolean) is
  'Stores why a csr is not ordered now, because of its names.';

-- An order ended, or an authorization was deactivated: those that waited for these names are tried again, the longest first.
create or replace function acme_private.wake_waiters_for_names(p_identifiers text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[] := acme_private.base_names(p_identifiers);
begin
  if not exists (
    select from acme_private.csr_state s
     where s.contested_since is not null and s.state = 'retrying' and s.reason_code in ('name_in_use', 'name_handed_on'))
  then
    return;
  end if;
  with picked as (
    select s.csr_id
      from acme_private.csr_state s
     where s.contested_since is not null and s.state = 'retrying' and s.reason_code in ('name_in_use', 'name_handed_on')
       and acme_private.is_overlapping(s.identifiers, v_names)
     order by s.contested_since
     limit 20
       for no key update skip locked
  )
  update acme_private.csr_state s
     set state = case when s.certificate_id is null then 'queued' else 'renewing' end, queued_at = acme_private.clock(),
         next_attempt_at = null, reason_code = null, reason = null
    from picked p
   where s.csr_id = p.csr_id;
  if found then
    perform acme_private.wake_dispatch();
  end if;
end
$$;
comment on function acme_private.wake_waiters_for_names(text[]) is 'Queues the csrs that waited for one of these names.';
