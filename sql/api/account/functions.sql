-- Steps of accounts: what is due for one, its claim, and the commits of register, update and deactivate.

-- Changes whenever what a worker remembers of an account or its server no longer holds.
create or replace function acme_private.account_version(p_account bigint) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select a.version || '.' || c.version || '.' || s.version
      from acme_private.account_state a
      join acme.account c on c.id = a.account_id
      join acme.server s on s.id = a.server_id
     where a.account_id = p_account);
end
$$;

-- Server, URL and sealed key of an account, to be remembered under its version.
create or replace function acme_private.account_for_worker(p_account bigint) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'id', a.id, 'name', a.name, 'version', acme_private.account_version(a.id), 'url', s.url, 'jwe', k.jwe,
    'pending_jwe', p.jwe,
    -- those that the server was sent and did not take (account_roll_over_refused)
    'kept', (select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'jwe', r.jwe) order by r.id desc), '[]')
               from acme_private.account_key r
              where r.account_id = a.id and r.state = 'retired' and r.jwe is not null),
    'eab_kid', a.eab_kid, 'eab_jwe', e.jwe,
    'server', jsonb_build_object('id', v.id, 'name', v.name, 'directory_url', v.directory_url,
      'ca_bundle', v.ca_bundle, 'allowed_hosts', v.allowed_hosts, 'version', v.version))
    from acme.account a
    join acme_private.account_state s on s.account_id = a.id
    join acme.server v on v.id = s.server_id
    left join acme_private.account_key k on k.account_id = a.id and k.state = 'current'
    left join acme_private.account_key p on p.account_id = a.id and p.state = 'pending'
    left join acme_private.account_eab e on e.account_id = a.id
   where a.id = p_account
$$;
comment on function acme_private.account_for_worker(bigint) is 'What a worker needs to speak for an account.';

-- Steps of accounts. What one has to do is read off its row and what the server was told of it:
--   register    its key is made, or the server lost it: newAccount
--   update      contacts or terms changed, or somebody asked to verify it
--   reread      the database was restored from a backup: the account's list of orders is read
--   roll_over   the key is replaced, once the orders under way have ended
--   deactivate  for good, once the orders under way have ended

create or replace function acme_private.account_work(p_account bigint) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select case
             when s.state in ('new', 'registering') then 'register'
             when s.state = 'rolling_over' then 'roll_over'
             when s.state = 'deactivating' then 'deactivate'
             when s.state = 'valid' and c.details_version > s.told_version then 'update'
             -- Interrupted: heed_account begins it anew.
             when s.state = 'valid' and c.roll_over_request > s.rolled_version then 'roll_over'
             when s.state = 'valid' and s.reread_since is not null then 'reread'
           end
      from acme_private.account_state s
      join acme.account c on c.id = s.account_id
     where s.account_id = p_account);
end
$$;

-- Is there something that a worker would do for it, now or when it is due?
create or replace function acme_private.has_account_work(p_account bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return acme_private.account_work(p_account) is not null
      or exists (select from acme_private.account_state s
                   join acme.account c on c.id = s.account_id
                  where s.account_id = p_account and s.state not in ('deactivated', 'revoked') and c.version > s.seen_version);
end
$$;

-- Acts on what was asked for by the account's row. Orders under way come to their end first: the answers to
-- their challenges hold the present key. True: there is nothing to wait for.
create or replace function acme_private.heed_account(p_worker bigint, p_account bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  s acme_private.account_state;
  c acme.account;
  v_open text;
  v_count int;
  v_counted_at timestamptz;
begin
  -- Orders and authorizations are locked before their account.
  perform acme_private.end_parked(p_worker, p_account);
  perform acme_private.end_preauthorizations(p_worker, p_account);
  select * into s from acme_private.account_state where account_id = p_account for no key update;
  if s.lease_token is not null and s.lease_until >= v_now then
    -- Somebody has taken it at this very moment.
    return false;
  end if;
  select * into c from acme.account where id = p_account;
  if c.deactivate_request is not null and s.state in ('new', 'registering', 'valid', 'rolling_over') then
    update acme_private.account_state
       set state = case when thumbprint is null then 'deactivated' else 'deactivating' end, since = v_now,
           version = version + 1, next_attempt_at = null, attempts = 0, updated_at = v_now,
           reason_code = case when thumbprint is null then 'account_deactivated' end,
           reason = case when thumbprint is null then 'It was deactivated before it was registered.' end
     where account_id = p_account;
    perform acme_private.note('account_deactivation_asked', null, p_account => p_account, p_worker => p_worker);
    if s.thumbprint is null then
      return false;
    end if;
    s.since := v_now;
  elsif s.state = 'valid' and c.roll_over_request > s.rolled_version then
    update acme_private.account_state
       set state = 'rolling_over', since = v_now, version = version + 1, next_attempt_at = null, attempts = 0,
           reason_code = null, reason = null, updated_at = v_now
     where account_id = p_account;
    perform acme_private.note('account_roll_over_asked', null, p_account => p_account, p_worker => p_worker);
    s.since := v_now;
  elsif s.state not in ('rolling_over', 'deactivating') then
    return true;
  end if;
  -- A dispatcher that saw the account open may be about to commit its orders: they are counted later.
  v_counted_at := s.since + interval '2 seconds';
  if v_now < v_counted_at then
    update acme_private.account_state set next_attempt_at = v_counted_at where account_id = p_account;
    perform acme_private.enqueue('account', p_account, v_counted_at);
    return false;
  end if;
  select * into s from acme_private.account_state where account_id = p_account;
  select count(*), string_agg(case when x.place <= 10 then x.text end, ', ' order by x.place)
    into v_count, v_open
    from (
      select row_number() over (order by y.rank, y.id) as place, y.text
        from (
          select 1 as rank, o.id, format('csr %s (order %s, %s)', o.csr_id, o.id,
                                         case when o.is_parked then 'to be published by hand' else o.state end) as text
            from acme_private."order" o
           where o.account_id = p_account and o.is_live
          union all
          -- (What is to be published by hand is asked for anew with the new key: account_rolled_over.)
          select 2, x.id, format('%s (authorization %s)', x.identifier, x.id)
            from acme_private.authorization x
           where x.account_id = p_account and x.is_preauthorization and x.state = 'pending'
             and not acme_private.is_ordered(x.id) and not acme_private.waits_for_publication(x.id)
        ) y
    ) x;
  if v_count = 0 then
    return true;
  end if;
  update acme_private.account_state
     set next_attempt_at = v_now + interval '5 seconds', reason_code = 'waiting_for_orders', updated_at = v_now,
         reason = format('It gets no new orders, and %s once its %s %s under way %s.',
                         case s.state when 'rolling_over' then 'its key is rolled over' else 'it is deactivated' end,
                         v_count, case v_count when 1 then 'order' else 'orders' end,
                         case v_count when 1 then 'has ended' else 'have ended' end)
                  || case when s.since < v_now - interval '15 minutes' then format(' It waits for %s%s.', v_open,
                            case when v_count > 10 then format(' and %s more', v_count - 10) else '' end) else '' end
   where account_id = p_account;
  perform acme_private.enqueue('account', p_account, v_now + interval '5 seconds');
  return false;
end
$$;

-- What waits for a person for an hour is not waited for: a new order follows with the new key.
create or replace function acme_private.end_parked(p_worker bigint, p_account bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_orders bigint[] := array(
    select o.id
      from acme_private.account_state s
      join acme_private."order" o on o.account_id = s.account_id and o.is_live and o.is_parked
     where s.account_id = p_account and s.state in ('rolling_over', 'deactivating')
       and s.since < acme_private.clock() - interval '1 hour');
  v_text text := 'Its account''s key is rolled over, which makes what was to be published worthless. A new order follows.';
  o acme_private."order";
begin
  if cardinality(v_orders) = 0 then
    return;
  end if;
  perform from acme_private.csr_state x
   where x.csr_id = any (array(select y.csr_id from acme_private."order" y where y.id = any (v_orders)))
   order by x.csr_id
     for no key update;
  for o in
    select y.* from acme_private."order" y
     where y.id = any (v_orders) and y.is_live and y.is_parked and y.lease_token is null
     order by y.id
       for update
  loop
    perform acme_private.end_order_anyhow(p_worker, o, 'account_held', 'account_key_changes', v_text, null, null);
  end loop;
end
$$;

-- (sent_ms: how long ago the server was sent the pending key first. has_news: it was not told all of the row.)
create or replace function acme_private.account_claim(p_account bigint) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_build_object(
      'kind', 'account', 'id', s.account_id, 'lease', s.lease_token,
      'lease_ms', extract(epoch from acme_private.lease_time()) * 1000, 'step', acme_private.account_work(s.account_id),
      'account_id', s.account_id, 'account_version', acme_private.account_version(s.account_id),
      'contact', a.contact,
      -- somebody agreed since the server was told last, or before there was anything to tell
      'terms_agreed', a.terms_agreed and (a.terms_request > s.told_version is true
                                          or s.registered_at is null and s.agreed_terms_url is null),
      'terms_url', s.terms_url, 'agreed_terms_url', case when a.terms_agreed then s.agreed_terms_url end,
      'key_algorithm', a.key_algorithm, 'url', s.url,
      'is_verification', a.verify_request > s.told_version is true, 'has_news', a.details_version > s.told_version,
      -- a turn of reading; null: the list itself is to be read
      'listed', case when s.reread_listed is not null then
        (select coalesce(jsonb_agg(l.url), '[]')
           from (select x.url from acme_private.listed_order x where x.account_id = s.account_id order by x.url limit 8) l) end,
      -- what cannot be read for an hour is left
      'is_late', s.reread_since < acme_private.clock() - interval '1 hour' is true,
      'sent_ms', (select extract(epoch from acme_private.clock() - k.sent_at) * 1000
                    from acme_private.account_key k where k.account_id = s.account_id and k.state = 'pending'))
      from acme_private.account_state s
      join acme.account a on a.id = s.account_id
     where s.account_id = p_account);
end
$$;

-- RFC 8555 §7.3: the key is stored before it is used, so that a crash cannot make two accounts.
create or replace function acme_private.account_key_stored(
  p_worker bigint, p_account bigint, p_lease uuid, p_jwe text, p_thumbprint text, p_spki bytea
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  update acme_private.account_state
     set state = 'registering', lease_until = acme_private.clock() + acme_private.lease_time(),
         version = version + 1, thumbprint = p_thumbprint, updated_at = acme_private.clock()
   where account_id = p_account and lease_token = p_lease;
  if not found then
    return false;
  end if;
  insert into acme_private.account_key (account_id, jwe, thumbprint, spki_sha256)
  values (p_account, p_jwe, p_thumbprint, p_spki);
  perform acme_private.note('account_key_made', null, null, null, p_account, null, p_worker,
                            jsonb_build_object('thumbprint', p_thumbprint));
  return true;
end
$$;
comment on function acme_private.account_key_stored(bigint, bigint, uuid, text, text, bytea) is
  'Stores a new account key, sealed, before newAccount. False: the lease is gone, do not send.';

-- How every step of an account ends: its state, why, and the lease given back. Of one that the server has closed
-- it says so. False: the lease is gone, nothing was done.
create or replace function acme_private.settle_account(
  p_account bigint, p_lease uuid, p_status text, p_code text default null, p_text text default null, p_problem jsonb default null
) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme_private.account_state
     set state = p_status, version = version + 1, since = null, doubted_at = null, updated_at = acme_private.clock(), next_attempt_at = null,
         attempts = 0, reason_code = coalesce(p_code, case when p_status <> 'valid' then 'account_' || p_status
                                                           when reread_since is not null then 'database_restored' end),
         reason = coalesce(p_text, case when p_status <> 'valid'
           then format('The server has it as %s, and this database did not ask for that. Insert another account at this server; then select acme.replace_account(%L, ''NEW'') lets all its csrs go on.',
                       p_status, (select a.name from acme.account a where a.id = p_account))
                                        when reread_since is not null then acme_private.reread_text() end),
         last_problem = p_problem, lease_token = null, lease_until = null, lease_worker = null, claims = 0
   where account_id = p_account and lease_token = p_lease;
  return found;
end
$$;

create or replace function acme_private.account_registered(
  p_worker bigint, p_account bigint, p_lease uuid, p_url text, p_status text, p_terms_url text
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_orders bigint[];
begin
  perform acme_private.begin_work(false);
  -- What waits for it. (Orders are locked before their account.)
  with waiting as (
    select o.id from acme_private."order" o
     where o.account_id = p_account and o.is_live and o.lease_token is null and o.reason_code = 'account_not_ready'
     order by o.id
       for update
  ), woken as (
    update acme_private."order" o set next_attempt_at = null
      from waiting
     where o.id = waiting.id
    returning o.id
  )
  select coalesce(array_agg(w.id), '{}') into v_orders from woken w;
  update acme_private.account_state
     -- (Nothing is registered before a person agreed to the terms, where there are any.)
     set url = p_url, terms_url = p_terms_url, agreed_terms_url = p_terms_url, told_version = seen_version,
         rolled_version = case when registered_at is null then seen_version else rolled_version end,
         registered_at = acme_private.clock(), verified_at = acme_private.clock()
   where account_id = p_account and lease_token = p_lease;
  if acme_private.settle_account(p_account, p_lease, p_status) then
    perform acme_private.note('account_registered', null, null, null, p_account, null, p_worker,
                              jsonb_strip_nulls(jsonb_build_object('url', p_url, 'status', p_status, 'agreed_terms_url', p_terms_url)));
    perform acme_private.account_goes_on(p_account);
    if v_orders <> '{}' then
      perform acme_private.wake_rows('finalize', 'order', v_orders);
    end if;
  end if;
end
$$;
comment on function acme_private.account_registered(bigint, bigint, uuid, text, text, text) is
  'Stores the account URL (RFC 8555 §7.3) and lets the waiting csrs go.';

-- After a step of an account: its csrs get their turn, and what was asked for meanwhile is next.
create or replace function acme_private.account_goes_on(p_account bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  if acme_private.has_account_work(p_account) then
    perform acme_private.enqueue('account', p_account);
  end if;
  perform acme_private.dispatch_at(acme_private.clock(), 'now');
end
$$;

-- The server knows the contacts and the terms as they were at the claim. facts: {status, contact, terms_url,
-- agreed_terms_url}; the latter: the server was told that somebody agreed to these.
create or replace function acme_private.account_updated(
  p_worker bigint, p_account bigint, p_lease uuid, p_facts jsonb
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_status text := p_facts ->> 'status';
begin
  perform acme_private.begin_work(false);
  update acme_private.account_state
     set terms_url = coalesce(p_facts ->> 'terms_url', terms_url),
         agreed_terms_url = coalesce(p_facts ->> 'agreed_terms_url', agreed_terms_url), told_version = seen_version, verified_at = acme_private.clock()
   where account_id = p_account and lease_token = p_lease;
  if acme_private.settle_account(p_account, p_lease, v_status) then
    if v_status <> 'valid' then
      perform acme_private.note(case v_status when 'revoked' then 'account_revoked' else 'account_deactivated' end,
                                null, null, null, p_account, null, p_worker, '{"reason": "the server says so"}');
    end if;
    perform acme_private.note('account_updated', null, null, null, p_account, null, p_worker,
                              jsonb_strip_nulls(jsonb_build_object('status', v_status, 'contact_at_server', p_facts -> 'contact',
                                                                   'agreed_terms_url', p_facts -> 'agreed_terms_url')));
    perform acme_private.account_goes_on(p_account);
  end if;
end
$$;
comment on function acme_private.account_updated(bigint, bigint, uuid, jsonb) is
  'Stores that the server was told contacts and terms (RFC 8555 §7.3.2), or knows the account still.';

create or replace function acme_private.account_deactivated(
  p_worker bigint, p_account bigint, p_lease uuid, p_status text
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  if acme_private.settle_account(p_account, p_lease, p_status, p_text :=
       case p_status when 'deactivated' then 'It was deactivated on request. Its certificates stay valid.' end) then
    perform acme_private.note(case p_status when 'revoked' then 'account_revoked' else 'account_deactivated' end,
                              null, null, null, p_account, null, p_worker, null);
  end if;
end
$$;
comment on function acme_private.account_deactivated(bigint, bigint, uuid, text) is
  'Stores that an account is no more (RFC 8555 §7.3.6).';

-- The server no longer knows an account: it is registered again, with the same key. Only once: whoever
-- used the account before it was registered again comes late. Not while a restored database is looked at: the key
-- may have been replaced since, and would make a second account.
create or replace function acme_private.lose_account(p_worker bigint, p_account bigint, p_version text, p_problem jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
begin
  update acme_private.account_state
     set state = 'registering', url = null, version = version + 1, next_attempt_at = null, updated_at = v_now,
         reason_code = 'account_lost', reason = 'The server no longer knew this account; it is registered again with the same key.'
   where account_id = p_account and state in ('valid', 'rolling_over') and reread_since is null
     and acme_private.account_version(p_account) = p_version;
  if found then
    -- A server that registers and then does not know what it registered is not asked in a circle.
    update acme_private.account_state
       set next_attempt_at = v_now + interval '1 minute'
     where account_id = p_account
       and exists (select from acme_private.event e
                    where e.account_id = p_account and e.csr_id is null and e.event = 'account_lost'
                      and e.at > now() - interval '1 minute');
    perform acme_private.note('account_lost', null, null, null, p_account, null, p_worker, jsonb_build_object('problem', p_problem));
    perform acme_private.enqueue('account', p_account, (
      select a.next_attempt_at from acme_private.account_state a where a.account_id = p_account));
  end if;
end
$$;

-- The server wants a person to act (new terms of service, RFC 8555 §7.3.3): no new orders until one did. A
-- roll-over waits as it is, since the server may have either key.
create or replace function acme_private.hold_account(p_worker bigint, p_account bigint, p_outcome jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme_private.account_state
     set state = case state when 'valid' then 'registering' else state end, version = version + 1, next_attempt_at = 'infinity', updated_at = acme_private.clock(),
         reason_code = p_outcome ->> 'code', reason = p_outcome ->> 'text',
         terms_url = coalesce(p_outcome ->> 'terms_url', terms_url), last_problem = nullif(p_outcome -> 'problem', 'null')
   where account_id = p_account and state in ('valid', 'rolling_over')
     and acme_private.account_version(p_account) = p_outcome ->> 'account_version';
  if found then
    perform acme_private.note('account_needs_attention', null, null, null, p_account, null, p_worker,
                              jsonb_build_object('reason', p_outcome ->> 'text', 'problem', p_outcome -> 'problem'));
  end if;
end
$$;

-- A server refused an order as it would that of a closed account or a dead key: it is asked whether the account's is
-- the live one (acme.verify_account), once a minute at most, and gets no order meanwhile. Whoever has the account's row
-- locked is not waited for. True: it is in doubt.
create or replace function acme_private.doubt_account(p_account bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme.account a
     set verify_request = a.version + 1
   where a.id = (
     select c.id
       from acme.account c
       join acme_private.account_state s on s.account_id = c.id
      where c.id = p_account and s.state = 'valid' and c.details_version <= s.told_version
         and coalesce(s.verified_at < acme_private.clock() - interval '1 minute', true)
        for no key update of c skip locked);
  if found then
    update acme_private.account_state
       set doubted_at = coalesce(doubted_at, acme_private.clock()), updated_at = acme_private.clock(), reason_code = 'account_doubted',
           reason = 'The server refused an order as it would that of a closed account, and is asked whether this one is still valid.'
     where account_id = p_account;
    return true;
  end if;
  return exists (select from acme_private.account_state s where s.account_id = p_account and s.doubted_at is not null);
end
$$;
comment on function acme_private.doubt_account(bigint) is
  'Has the server asked whether an account is still valid, and keeps it from ordering meanwhile; whether it is in doubt.';
