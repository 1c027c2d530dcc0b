-- What is raised for one row stays that row's. Whatever takes many rows on, or one that is another csr's, runs in a
-- subtransaction (a few microseconds); what was raised inside is undone, and the row is set aside. Batches run in one
-- subtransaction, and again row by row only when that failed: more than 64 in a transaction slow down all others.

-- Did the row raise this? Outages, lock time-outs, deadlocks, and a schema that is being changed are nobody's fault: the whole
-- is tried again.
create or replace function acme_private.is_fault_of_row(p_sqlstate text) returns boolean
language sql immutable parallel safe
return pg_catalog.left(p_sqlstate, 2) not in ('08', '0A', '25', '28', '40', '42', '53', '55', '57', '58');
comment on function acme_private.is_fault_of_row(text) is
  'Whether an error of this SQLSTATE is due to the row that was worked on, rather than to an outage, a lock or a migration.';

-- Why a row is set aside. PRTRY is raised by claim_row, when workers took it again and again without a result. Words of
-- PostgreSQL are for its log: they may hold what another tenant wrote.
create or replace function acme_private.set_aside_text(p_sqlstate text) returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
  select case p_sqlstate
    when 'PRTRY' then format('%s workers in a row gave it up without a result; it is left alone for an hour. Look into the workers'' logs.',
                             acme_private.claims_allowed())
    else format('PostgreSQL raised an error (SQLSTATE %s) for it; it is left alone for an hour. Look into PostgreSQL''s log.', p_sqlstate)
  end
$$;
comment on function acme_private.set_aside_text(text) is 'The sentence that says why a row is set aside.';

-- Ends an order as end_order does, whatever is raised for its csr on the way. Their rows are locked.
create or replace function acme_private.end_order_anyhow(
  p_worker bigint, o acme_private."order", p_class text, p_code text, p_text text, p_problem jsonb, p_identifier text
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_sqlstate text;
begin
  begin
    perform acme_private.end_order(p_worker, o, p_class, p_code, p_text, p_problem, p_identifier);
    return;
  exception when others then
    if not acme_private.is_fault_of_row(sqlstate) then
      raise;
    end if;
    v_sqlstate := sqlstate;
    raise warning 'pgacme sets csr % aside: %', o.csr_id, sqlerrm;
  end;
  -- The least that gives its place back.
  perform acme_private.clean_up(o.id);
  update acme_private."order"
     set state = 'failed', finished_at = acme_private.clock(), lease_token = null, lease_until = null, lease_worker = null,
         claims = 0, next_attempt_at = null, reason_code = 'set_aside', reason = acme_private.set_aside_text(v_sqlstate)
   where id = o.id;
  update acme_private.csr_state
     set state = 'retrying', order_id = null, queued_at = null, next_attempt_at = acme_private.clock() + interval '1 hour',
         attempts = attempts + 1, reason_code = 'set_aside', reason = acme_private.set_aside_text(v_sqlstate),
         updated_at = acme_private.clock()
   where csr_id = o.csr_id;
end
$$;
comment on function acme_private.end_order_anyhow(bigint, acme_private."order", text, text, text, jsonb, text) is
  'Ends an order; where its csr raises an error, by the fewest statements.';

-- Acts on the requests of a csr, which is one of several. What it raises is met again when it is its turn.
create or replace function acme_private.heed_anyhow(p_csr bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.heed(p_csr);
exception when others then
  if not acme_private.is_fault_of_row(sqlstate) then
    raise;
  end if;
  raise warning 'pgacme cannot act on the requests of csr %: %', p_csr, sqlerrm;
end
$$;
comment on function acme_private.heed_anyhow(bigint) is 'Acts on the requests of a csr; an error of it is passed over.';

-- A row that cannot be worked on, by an error or since its claims never come to a commit, which may be what kills workers:
-- it is left alone for an hour. It holds no place meanwhile: an order ends, and its csr is tried again then. The caller
-- holds no lock but of a csr that it sets aside itself.
create or replace function acme_private.set_aside(p_worker bigint, p_kind text, p_id bigint, p_sqlstate text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_until timestamptz := acme_private.clock() + interval '1 hour';
  v_text text := acme_private.set_aside_text(p_sqlstate);
  v_orders bigint[] := '{}';
  v_tenant text;
  v_csr bigint;
  v_account bigint;
  v_certificate bigint;
begin
  case p_kind
    when 'order' then
      perform acme_private.lock_with_csrs(array[p_id]);
      select o.csr_id, array[o.id]
        into v_csr, v_orders
        from acme_private."order" o
       where o.id = p_id and o.is_live and (o.lease_token is null or o.lease_until < v_now);
      if not found then
        -- Its csr was cancelled: it holds nothing, and is watched again then.
        update acme_private."order"
           set claims = 0, lease_token = null, lease_until = null, lease_worker = null, next_attempt_at = v_until
         where id = p_id and watched_until is not null and (lease_token is null or lease_until < v_now)
        returning tenant, csr_id into v_tenant, v_csr;
      end if;
    when 'authorization' then
      v_orders := acme_private.orders_of(p_id);
      perform acme_private.lock_with_csrs(v_orders);
      update acme_private.authorization
         set claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text
       where id = p_id and (lease_token is null or lease_until < v_now)
      returning tenant, account_id into v_tenant, v_account;
      v_orders := array(select o.id from acme_private."order" o
                         where o.id = any (v_orders) and found and o.state = 'authorizing' and o.lease_token is null);
    when 'csr' then
      update acme_private.csr_state
         set state = case when state in ('queued', 'renewing') then 'retrying' else state end, queued_at = null,
             claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text, updated_at = v_now
       where csr_id = p_id and order_id is null
      returning tenant, csr_id, account_id into v_tenant, v_csr, v_account;
    when 'account' then
      update acme_private.account_state
         set claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text
       where account_id = p_id and (lease_token is null or lease_until < v_now)
      returning account_id into v_account;
    when 'certificate' then
      update acme_private.certificate
         set claims = 0, lease_token = null, lease_until = null, lease_worker = null,
             next_attempt_at = v_until, reason_code = 'set_aside', reason = v_text
       where id = p_id and state = 'revoking' and (lease_token is null or lease_until < v_now)
      returning tenant, csr_id, id into v_tenant, v_csr, v_certificate;
  end case;
  if coalesce(v_csr, v_account, v_certificate) is null then
    return;
  end if;
  if cardinality(v_orders) > 0 then
    perform acme_private.note('set_aside', o.tenant, o.csr_id, o.id, o.account_id, null, p_worker,
                              jsonb_build_object('kind', p_kind, 'id', p_id, 'reason', v_text))
       from acme_private."order" o
      where o.id = any (v_orders);
  else
    perform acme_private.note('set_aside', v_tenant, v_csr, null, v_account, v_certificate, p_worker,
                              jsonb_build_object('kind', p_kind, 'id', p_id, 'reason', v_text));
  end if;
  perform acme_private.end_orders(p_worker, v_orders, 'set_aside', 'set_aside', v_text, null, null, 0);
end
$$;
comment on function acme_private.set_aside(bigint, text, bigint, text) is
  'Leaves a row that cannot be worked on alone for an hour; an order ends, and gives its place back.';
