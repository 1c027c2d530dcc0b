-- Limits of servers (RFC 8555 §6.6). A worker says which scope an answer names; here it is kept, and csrs that meet it
-- wait. server, account and orders are read off where csrs wait in the queue, so that one row holds any number of them.
-- The narrower ones take a csr out of the queue as admission meets it, so that the next one in line comes to its turn.

-- Has this tenant had a certificate for exactly these names from this server?
create or replace function acme_private.has_had_certificate(p_server bigint, p_tenant text, p_names text[]) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private.certificate_name n
      join acme_private.certificate k on k.id = n.certificate_id
      join acme_private.csr_state s on s.csr_id = k.csr_id
     where n.tenant = p_tenant and n.name = p_names[1] and k.tenant = p_tenant and s.server_id = p_server
       and k.identifiers @> p_names and k.identifiers <@ p_names);
end
$$;
comment on function acme_private.has_had_certificate(bigint, text, text[]) is
  'Whether a csr of this tenant has a certificate of this server for exactly these names.';

-- Does the server take it for a renewal: has its set of names had a certificate?
create or replace function acme_private.is_renewal(s acme_private.csr_state) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return s.certificate_id is not null or s.is_renewal
      or acme_private.has_had_certificate(s.server_id, s.tenant, s.identifiers);
end
$$;
comment on function acme_private.is_renewal(acme_private.csr_state) is
  'Whether the set of names of a csr has had a certificate, so that limits on new sets of names do not hold it.';

-- Names without "*.", each with all that is above it: where a registered domain is found.
create or replace function acme_private.domains_above(p_names text[]) returns text[]
language sql immutable parallel safe set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
  select array(
    select distinct array_to_string(l.labels[n:], '.')
      from unnest(p_names) b (name)
     cross join lateral (select string_to_array(regexp_replace(b.name, '^\*\.', ''), '.') as labels) l
     cross join lateral generate_subscripts(l.labels, 1) n)
$$;
comment on function acme_private.domains_above(text[]) is 'These names and every domain above them.';

-- The limit that holds these names longest, by key in each scope; null: none does.
create or replace function acme_private.cooldown_for(
  p_server bigint, p_account bigint, p_names text[], p_key bytea, p_csr bigint, p_is_renewal boolean
) returns acme_private.closure
language plpgsql stable set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
declare
  c acme_private.closure;
begin
  -- Nearly always there is none.
  if not exists (select from acme_private.closure x where x.server_id = p_server and x.value is not null) then
    return null;
  end if;
  select x.* into c
    from (
      select k.* from acme_private.closure k
       where k.server_id = p_server and k.scope = 'csr' and k.value = p_csr::text and k.account_id = p_account
      union all
      select k.* from acme_private.closure k
       where k.server_id = p_server and k.scope = 'set' and k.value = encode(p_key, 'hex')
      union all
      select k.* from acme_private.closure k
       where k.server_id = p_server and k.scope = 'identifier' and k.account_id = p_account
         and k.value = any (array(select regexp_replace(n, '^\*\.', '') from unnest(p_names) n))
      union all
      select k.* from acme_private.closure k
       where k.server_id = p_server and k.scope = 'domain' and not p_is_renewal
         and k.value = any (acme_private.domains_above(p_names))
    ) x
   where x.until > acme_private.clock()
   order by x.until desc
   limit 1;
  return c;
end
$$;
comment on function acme_private.cooldown_for(bigint, bigint, text[], bytea, bigint, boolean) is
  'The limit on a set of names, a domain, an identifier or a csr that holds these names longest; null: none does.';

create or replace function acme_private.cooldown_of(s acme_private.csr_state) returns acme_private.closure
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_renewal boolean := s.certificate_id is not null or s.is_renewal;
  c acme_private.closure;
begin
  c := acme_private.cooldown_for(s.server_id, s.account_id, s.identifiers, s.identifiers_key, s.csr_id, v_is_renewal);
  -- Issued to another csr since this one was queued, it may be a renewal by now.
  if c.scope = 'domain' and not v_is_renewal and acme_private.is_renewal(s) then
    c := acme_private.cooldown_for(s.server_id, s.account_id, s.identifiers, s.identifiers_key, s.csr_id, true);
  end if;
  return c;
end
$$;
comment on function acme_private.cooldown_of(acme_private.csr_state) is
  'The limit that a csr has to wait for, besides those of its server and account; null: none.';

-- Takes a csr, which is locked, out of the queue until its limit ends.
create or replace function acme_private.wait_out(p_csr bigint, c acme_private.closure) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme_private.csr_state
     set state = 'retrying', next_attempt_at = c.until, queued_at = null, reason_code = 'limited', reason = c.reason,
         cooldown_id = c.id, updated_at = acme_private.clock()
   where csr_id = p_csr;
end
$$;
comment on function acme_private.wait_out(bigint, acme_private.closure) is 'Lets a csr wait for a limit, out of the queue.';

-- Does this account get no orders for new sets of names at the moment?
create or replace function acme_private.takes_renewals_only(p_account bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from acme_private.account_state s
      join acme_private.closure c on c.server_id = s.server_id and c.scope = 'orders' and c.account_id = s.account_id
     where s.account_id = p_account and c.until > acme_private.clock());
end
$$;
comment on function acme_private.takes_renewals_only(bigint) is
  'Whether the server takes no orders of this account for new sets of names.';

-- The next renewal of an account after a tenant, locked; null: there is none.
create or replace function acme_private.next_renewal(p_server bigint, p_account bigint, p_after text) returns acme_private.csr_state
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  s acme_private.csr_state;
begin
  select q.* into s
    from acme_private.csr_state q
   where q.server_id = p_server and q.account_id = p_account and q.tenant > p_after
     and q.order_id is null and (q.state = 'renewing' or q.state = 'queued' and q.is_renewal)
     and not exists (
       select from acme_private."order" o
        where o.is_live and o.account_id = q.account_id and o.identifiers_key = q.identifiers_key
          and coalesce(o.profile, '') = coalesce(q.profile, '') and o.tenant = q.tenant)
   order by q.tenant, q.priority desc, q.queued_at, q.csr_id
   limit 1
     for no key update skip locked;
  return s;
end
$$;
comment on function acme_private.next_renewal(bigint, bigint, text) is
  'The next queued renewal of an account after a tenant, locked; null: there is none.';

-- What waits, in words.
create or replace function acme_private.cooldown_text(p_scope text, p_value text) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select case p_scope
    when 'server' then 'The server takes no new orders'
    when 'account' then 'The server takes no new orders of this account'
    when 'orders' then 'The server takes no orders of this account for new sets of names'
    when 'domain' then format('The server takes no orders for new sets of names of %s', p_value)
    when 'set' then 'The server takes no orders for this set of names'
    when 'identifier' then format('The server takes no orders with the name %s', p_value)
    when 'csr' then 'The server takes no order of this csr'
    when 'registrations' then 'The server registers no new accounts'
  end
$$;
comment on function acme_private.cooldown_text(text, text) is 'What a limit holds, as the beginning of a sentence.';

-- Keeps a limit. p_words: what the server said, where all who wait may read it. p_csr: the csr that was refused.
create or replace function acme_private.start_cooldown(
  p_worker bigint, p_server bigint, p_account bigint, p_scope text, p_value text, p_limit text, p_until timestamptz,
  p_words text, p_problem jsonb, s acme_private.csr_state default null
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_reason text := acme_private.cooldown_text(p_scope, p_value) || to_char(p_until, ' "until" YYYY-MM-DD HH24:MI:SS TZ')
                   || coalesce(': ' || p_words, '.');
  v_is_own boolean := p_scope in ('set', 'identifier', 'csr');
  c acme_private.closure;
begin
  insert into acme_private.closure as x (server_id, account_id, scope, value, limit_name, set_key, until, since, reason, problem)
  values (p_server, p_account, p_scope, p_value, p_limit, case p_scope when 'csr' then s.identifiers_key end, p_until, v_now,
          v_reason, p_problem)
  on conflict (server_id, scope, value, account_id) do update
    set until = greatest(x.until, excluded.until), problem = excluded.problem, limit_name = excluded.limit_name,
        set_key = excluded.set_key, since = case when x.until > v_now then x.since else excluded.since end,
        reason = case when x.until > excluded.until then x.reason else excluded.reason end
  returning x.* into c;
  -- Of what others share, the event is for readers alone.
  perform acme_private.note('limited', case when v_is_own then s.tenant end, case when v_is_own then s.csr_id end, null, p_account,
    null, p_worker, jsonb_strip_nulls(jsonb_build_object('server_id', p_server, 'scope', p_scope,
      'value', case when p_scope in ('domain', 'identifier') then p_value end, 'limit', p_limit, 'until', p_until,
      'reason', v_reason, 'problem', p_problem)));
  perform acme_private.dispatch_at(c.until, 'reopen:' || c.id);
end
$$;
comment on function acme_private.start_cooldown(bigint, bigint, bigint, text, text, text, timestamptz, text, jsonb, acme_private.csr_state) is
  'Keeps that a server takes no orders of a scope until a time, and has the dispatcher look then.';

-- A row met a limit. outcome: {limits: [{scope, value, name, words}], words, shared_words, problem}; no limits: the
-- server did not say which. Limits on new sets of names do not hold renewals, so that one of a renewal is its own.
create or replace function acme_private.limit_scopes(
  p_worker bigint, p_kind text, p_id bigint, p_server bigint, p_account bigint, p_until timestamptz, p_outcome jsonb
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_problem jsonb := nullif(p_outcome -> 'problem', 'null');
  s acme_private.csr_state;
  l record;
  v_value text;
begin
  if p_kind = 'order' then
    select x.* into s
      from acme_private.csr_state x
     where x.csr_id = (select o.csr_id from acme_private."order" o where o.id = p_id);
  end if;
  for l in
    select r.scope, r.value, r.name, r.words
      from jsonb_to_recordset(coalesce(p_outcome -> 'limits', '[]')) r (scope text, value text, name text, words text)
  loop
    if l.scope in ('domain', 'orders') and s.csr_id is not null and acme_private.is_renewal(s) then
      l.scope := 'csr';
      l.words := p_outcome ->> 'words';
    end if;
    v_value := case l.scope when 'set' then encode(s.identifiers_key, 'hex') when 'csr' then s.csr_id::text
                            when 'domain' then l.value when 'identifier' then l.value end;
    continue when v_value is null and l.scope not in ('server', 'account', 'orders', 'registrations');
    perform acme_private.start_cooldown(p_worker, p_server,
      case when l.scope in ('account', 'orders', 'identifier', 'csr') then p_account end,
      l.scope, v_value, l.name, p_until, l.words, v_problem, s);
  end loop;
  if found or s.csr_id is null or not exists (
    select from acme_private."order" o where o.id = p_id and o.url is null)
  then
    return;
  end if;
  perform acme_private.start_cooldown(p_worker, p_server, p_account, 'csr', s.csr_id::text, null, p_until,
                                      p_outcome ->> 'words', v_problem, s);
  if exists (select from acme_private.closure k
              where k.account_id = p_account and k.scope = 'csr' and k.limit_name is null and k.until > v_now
                and k.set_key <> s.identifiers_key) then
    -- Other names are refused, too: it may be the account's.
    perform acme_private.start_cooldown(p_worker, p_server, p_account, 'account', null, null,
      least(p_until, v_now + interval '5 minutes'), p_outcome ->> 'shared_words', v_problem);
  end if;
end
$$;
comment on function acme_private.limit_scopes(bigint, text, bigint, bigint, bigint, timestamptz, jsonb) is
  'Keeps the limits that an answer named, or that it named none.';

-- May this account be registered now? Servers count new accounts by address: one that is refused holds all that are new to
-- this server, and no account that it knows. One that may not waits for the limit's end. The caller has locked the account.
create or replace function acme_private.may_register(p_account bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  c acme_private.closure;
begin
  select x.* into c
    from acme_private.account_state s
    join acme_private.closure x on x.server_id = s.server_id and x.scope = 'registrations' and x.until > acme_private.clock()
   where s.account_id = p_account and s.state in ('new', 'registering') and s.url is null;
  if not found then
    return true;
  end if;
  update acme_private.account_state
     set next_attempt_at = c.until, reason_code = 'limited', reason = c.reason, updated_at = acme_private.clock()
   where account_id = p_account;
  perform acme_private.enqueue('account', p_account, c.until);
  return false;
end
$$;
comment on function acme_private.may_register(bigint) is
  'Whether an account may be registered; if its server registers none for a time, it waits for that.';

-- What waits for a limit at its own time, since it was refused itself: accounts, orders and authorizations under way.
create or replace function acme_private.wake_limited(p_server bigint, p_account bigint, p_csr bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_accounts bigint[] := array(
    select s.account_id from acme_private.account_state s where s.server_id = p_server or s.account_id = p_account);
  v_ids bigint[];
begin
  with woken as (
    update acme_private."order" o set next_attempt_at = v_now
     where o.id in (select x.id from acme_private."order" x
                     where (x.account_id = any (v_accounts) or x.csr_id = p_csr)
                       and x.is_live and x.reason_code = 'limited' and x.next_attempt_at > v_now
                     order by x.id for update skip locked)
    returning o.id
  )
  select array_agg(w.id) into v_ids from woken w;
  perform acme_private.wake_rows('finalize', 'order', coalesce(v_ids, '{}'));
  with woken as (
    update acme_private.authorization a set next_attempt_at = v_now
     where a.id in (select x.id from acme_private.authorization x
                     where (x.account_id = any (v_accounts) or x.id in (
                             select oa.authorization_id
                               from acme_private.csr_state s
                               join acme_private.order_authorization oa on oa.order_id = s.order_id
                              where s.csr_id = p_csr))
                       and x.state in ('new', 'pending', 'deactivating')
                       and x.reason_code = 'limited' and x.next_attempt_at > v_now
                     order by x.id for update skip locked)
    returning a.id
  )
  select array_agg(w.id) into v_ids from woken w;
  perform acme_private.wake_rows('prove', 'authorization', coalesce(v_ids, '{}'));
  with woken as (
    update acme_private.account_state s set next_attempt_at = v_now
     where s.account_id in (select x.account_id from acme_private.account_state x
                             where x.account_id = any (v_accounts) and x.reason_code = 'limited' and x.next_attempt_at > v_now
                             order by x.account_id for no key update skip locked)
    returning s.account_id
  )
  select array_agg(w.account_id) into v_ids from woken w;
  perform acme_private.wake_rows('register', 'account', coalesce(v_ids, '{}'));
end
$$;
comment on function acme_private.wake_limited(bigint, bigint, bigint) is
  'Wakes accounts, orders and authorizations of a server, an account or a csr that wait for a limit.';

-- Ends the limits that administrators said are over (acme.resume).
create or replace function acme_private.apply_resumes() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  r record;
  v_server bigint;
  v_account bigint;
begin
  if not exists (select from acme.resume_request) then
    return;
  end if;
  for r in
    delete from acme.resume_request q
     where q.id in (select x.id from acme.resume_request x order by x.id for update skip locked)
    returning q.scope, q.name
  loop
    v_server := (select v.id from acme.server v where r.scope = 'server' and v.name = r.name);
    v_account := (select a.id from acme.account a where r.scope = 'account' and a.name = r.name);
    update acme_private.closure c
       set until = acme_private.clock()
     where c.until > acme_private.clock()
       and case r.scope
             when 'server' then c.scope in ('server', 'registrations') and c.server_id = v_server
             when 'account' then c.scope in ('account', 'orders') and c.account_id = v_account
             when 'domain' then c.scope = 'domain' and c.value = r.name
             when 'csr' then c.scope = 'csr' and c.value = r.name
                             or c.id = (select s.cooldown_id from acme_private.csr_state s
                                         where s.csr_id = r.name::bigint and s.state = 'retrying' and s.reason_code = 'limited')
           end;
    perform acme_private.wake_limited(v_server, v_account, case when r.scope = 'csr' then r.name::bigint end);
  end loop;
end
$$;
comment on function acme_private.apply_resumes() is 'Ends the limits that acme.resume was called for.';

-- Csrs whose limit is over go back to the queue, up to a thousand at a time.
create or replace function acme_private.release_limited() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_count int;
begin
  with due as (
    select s.csr_id
      from acme_private.closure c
      join acme_private.csr_state s on s.cooldown_id = c.id and s.state = 'retrying' and s.reason_code = 'limited'
     where c.until <= acme_private.clock()
     limit 1000
       for no key update of s skip locked
  )
  update acme_private.csr_state s
     set state = case when s.certificate_id is null then 'queued' else 'renewing' end, queued_at = acme_private.clock(),
         next_attempt_at = null, reason_code = null, reason = null, cooldown_id = null
    from due
   where s.csr_id = due.csr_id;
  get diagnostics v_count = row_count;
  if v_count = 1000 then
    perform acme_private.wake_dispatch();
  end if;
end
$$;
comment on function acme_private.release_limited() is 'Queues csrs whose limit is over.';

-- One more failed validation of a name: servers count them, five an hour. Returns how many in a row.
create or replace function acme_private.count_failure(p_account bigint, p_identifier text) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
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
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  -- One more every 12 minutes, five at most.
  return (
    select max(f.full_at) - interval '48 minutes'
      from acme_private.identifier_failure f
     where f.account_id = p_account and f.identifier = any (p_identifiers));
end
$$;
