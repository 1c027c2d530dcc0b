-- Claims: a worker takes the lease of a row by compare-and-set and gets all that the step needs, in
-- one round trip. null: someone else has it, it is not due, or there is nothing to do.
--
-- What every step calls is plpgsql also where one statement would do: it keeps its plan, while a SQL
-- function is planned at each call (measured: 1.2 ms a call of order_claim on a busy machine).

create or replace function acme_private.lease_time() returns interval
language sql immutable
return interval '60 seconds';

-- How often a row may be claimed without a commit before it is set aside: it may be what kills workers.
create or replace function acme_private.claims_allowed() returns int
language sql immutable
return 5;

-- How long a server may lag behind itself: one of its replicas does not know a new URL, or that the authorizations of an
-- order are valid.
create or replace function acme_private.lag_time() returns interval
language sql immutable set search_path = pg_catalog, pg_temp
as $$ select interval '10 minutes' $$;

-- When the server forgets an order, as far as it said.
create or replace function acme_private.expiry_of(o acme_private."order") returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
as $$ select coalesce(o.expires_at, o.created_at + interval '30 days') $$;

-- The names that an authorization may be for: those of the orders under way that need it, and its own where it was asked for
-- by itself.
create or replace function acme_private.names_of(a acme_private.authorization) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select unnest(o.identifiers)
      from acme_private."order" o
     where o.id = any (acme_private.orders_of(a.id)) and o.finished_at is null
    union
    select a.identifier
     where a.is_preauthorization);
end
$$;

-- The claim of one row: see claim(). Its settings are begin_work's.
create or replace function acme_private.claim_row(p_worker bigint, p_kind text, p_id bigint) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_claims int;
  v_claim jsonb;
begin
  case p_kind
    when 'order' then
      update acme_private."order" o
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = o.claims + 1
       where o.id = p_id and (o.is_live or o.watched_until is not null)
         and (o.lease_token is null or o.lease_until < v_now)
         and (o.next_attempt_at is null or o.next_attempt_at <= v_now or o.is_live and (o.is_unwanted
              or exists (select from acme.csr c where c.id = o.csr_id and c.cancel_request is not null)))
         and (o.state <> 'authorizing' or o.is_unwanted
              or exists (select from acme.csr c where c.id = o.csr_id and c.cancel_request is not null))
      returning o.claims into v_claims;
      v_claim := case when found then acme_private.order_claim(p_id, false) end;
    when 'authorization' then
      perform acme_private.lock_orders(p_id);
      perform acme_private.heed_deactivation(p_worker, p_id);
      if not acme_private.may_begin(p_id) then
        return null;
      end if;
      update acme_private.authorization a
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = a.claims + 1
       where a.id = p_id
         and (a.lease_token is null or a.lease_until < v_now)
         and (a.next_attempt_at is null or a.next_attempt_at <= v_now)
         and (a.state in ('new', 'deactivating')
              or a.state = 'pending' and not acme_private.waits_for_publication(a.id) and acme_private.is_needed(a.id))
      returning a.claims into v_claims;
      v_claim := case when found then acme_private.authorization_claim(p_id) end;
      if v_claim is not null then
        perform acme_private.park(p_id);
      end if;
    when 'account' then
      -- While somebody holds it, what is asked for waits; while its server is paused, too.
      if exists (select from acme_private.account_state a
                   join acme.server v on v.id = a.server_id
                  where a.account_id = p_id and (v.paused_at is not null or a.lease_token is not null and a.lease_until >= v_now))
         or not acme_private.heed_account(p_worker, p_id) or not acme_private.may_register(p_id) then
        return null;
      end if;
      -- (With what a person did it is due before its time, also for whoever takes it after this worker died.)
      update acme_private.account_state a
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = a.claims + 1, seen_version = c.version, next_attempt_at = null
        from acme.account c
       where a.account_id = p_id and c.id = a.account_id and acme_private.account_work(p_id) is not null
         and (a.lease_token is null or a.lease_until < v_now)
         and (a.next_attempt_at is null or a.next_attempt_at <= v_now or c.version > a.seen_version)
      returning a.claims into v_claims;
      v_claim := case when found then acme_private.account_claim(p_id) end;
    when 'certificate' then
      -- While somebody asks the server, what was asked for since waits: certificate_revoked comes back to it.
      if exists (select from acme_private.certificate k
                  where k.id = p_id and k.lease_token is not null and k.lease_until >= v_now) then
        return null;
      end if;
      perform acme_private.heed_revocation(p_id);
      update acme_private.certificate k
         set lease_token = gen_random_uuid(), lease_until = v_now + acme_private.lease_time(),
             lease_worker = p_worker, claims = k.claims + 1
       where k.id = p_id and k.state = 'revoking'
         and (k.lease_token is null or k.lease_until < v_now)
         and (k.next_attempt_at is null or k.next_attempt_at <= v_now)
      returning k.claims into v_claims;
      v_claim := case when found then acme_private.certificate_claim(p_id) end;
  end case;
  if v_claims > acme_private.claims_allowed() then
    raise exception using errcode = 'PRTRY', message = 'it was claimed too often without a commit';
  end if;
  return v_claim;
end
$$;
comment on function acme_private.claim_row(bigint, text, bigint) is 'Takes the lease of a row that nothing is known against.';

create or replace function acme_private.claim(p_worker bigint, p_kind text, p_id bigint) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sqlstate text;
begin
  if acme_private.is_held(p_worker) then
    return null;
  end if;
  perform acme_private.begin_work(true);
  begin
    return acme_private.claim_row(p_worker, p_kind, p_id);
  exception when others then
    if not acme_private.is_fault_of_row(sqlstate) then
      raise;
    end if;
    v_sqlstate := sqlstate;
    raise warning 'pgacme sets % % aside: %', p_kind, p_id, sqlerrm;
  end;
  -- Nothing is locked any more, so that its csrs can be, in their turn.
  perform acme_private.set_aside(p_worker, p_kind, p_id, v_sqlstate);
  return null;
end
$$;
comment on function acme_private.claim(bigint, text, bigint) is 'Takes the lease of a row; null if there is nothing to do.';

-- On a bug or an outage of the database's own: give the lease back first, then let the error pass on.
-- The job that is tried again may have been another row's, so this one gets a wake-up of its own.
create or replace function acme_private.release(p_kind text, p_id bigint, p_lease uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  case p_kind
    when 'order' then
      update acme_private."order" set lease_token = null, lease_until = null, lease_worker = null
       where id = p_id and lease_token = p_lease;
    when 'authorization' then
      update acme_private.authorization set lease_token = null, lease_until = null, lease_worker = null
       where id = p_id and lease_token = p_lease;
    when 'account' then
      update acme_private.account_state set lease_token = null, lease_until = null, lease_worker = null
       where account_id = p_id and lease_token = p_lease;
    when 'certificate' then
      update acme_private.certificate set lease_token = null, lease_until = null, lease_worker = null
       where id = p_id and lease_token = p_lease;
    when 'csr' then
      update acme_private.csr_state set lease_token = null, lease_until = null, lease_worker = null
       where csr_id = p_id and lease_token = p_lease;
  end case;
  if found and p_kind <> 'csr' then
    perform acme_private.enqueue(p_kind, p_id, acme_private.clock() + interval '1 second');
  end if;
end
$$;
comment on function acme_private.release(text, bigint, uuid) is 'Gives a lease back without a result.';
