-- Events: writing one, and reading them in an order in which none is ever skipped.

-- One line of the audit trail; those that an application waits for are also announced. Any login can listen, so that the
-- notification says nothing but that something happened; PostgreSQL makes one of all those of a transaction.
create or replace function acme_private.note(
  p_event text, p_tenant text, p_csr bigint default null, p_order bigint default null, p_account bigint default null,
  p_certificate bigint default null, p_worker bigint default null, p_detail jsonb default null
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  insert into acme_private.event (event, tenant, csr_id, order_id, account_id, certificate_id, worker_id, detail)
  values (p_event, p_tenant, p_csr, p_order, p_account, p_certificate, p_worker, p_detail);
  if p_event in ('issued', 'rejected', 'retrying', 'needs_person', 'needs_new_csr', 'failed', 'cancelled',
                 'certificate_revoked') then
    perform pg_notify('acme', '');
  end if;
end
$$;

-- acme.changes: the events in an order in which none is ever skipped.

create or replace function acme_private.cursor_text(epoch bigint, xid xid8, id bigint) returns text
language sql immutable parallel safe
return epoch::text || '.' || xid::text || '.' || id::text;

-- One part of a cursor: 1 the epoch, 2 the transaction, 3 the event. It runs as the owner only to know the
-- current epoch, with which a cursor of the future is told from one that is merely old.
create or replace function acme_private.cursor_part(p_cursor text, p_part int) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
declare
  v_parts bigint[];
  v_epoch bigint;
begin
  if coalesce(p_cursor, '') = '' then
    return 0;
  end if;
  begin
    v_parts := string_to_array(p_cursor, '.')::bigint[];
  exception when data_exception then
    v_parts := null;
  end;
  if v_parts is null or p_cursor !~ '^[0-9]+\.[0-9]+\.[0-9]+$' then
    raise exception 'This is not a cursor of acme.changes: %.', quote_literal(left(p_cursor, 60))
      using errcode = 'invalid_parameter_value',
            hint = 'Give the cursor of the last row that you have dealt with, as it is, or '''' to begin with the first event.';
  end if;
  select e.epoch into v_epoch from acme_private.epoch e;
  -- A standby may only be late, and will catch up.
  if (v_parts[1] > v_epoch
      or v_parts[1] = v_epoch and v_parts[2] >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
     and not pg_is_in_recovery() then
    raise exception 'The cursor % is ahead of this database: it comes from another one, or this one was restored from before it.',
        quote_literal(p_cursor)
      using errcode = 'invalid_parameter_value',
            hint = 'Begin anew with the cursor '''': what this database has now may differ from what was read.';
  end if;
  return v_parts[p_part];
end
$$;
comment on function acme_private.cursor_part(text, int) is 'Reads a cursor of acme.changes; refuses what is none.';

-- Inlined into the caller's query, so that the planner sees the index, the limit and the row-level security.
-- Both bounds are row comparisons: together one range of the index (epoch, xid, id), for an application of
-- (tenant, epoch, xid, id). The upper bound is where transactions may still be under way; in older epochs
-- none is.
create or replace function acme.changes(after text default '', max int default 1000)
returns table (
  cursor text, at timestamptz, event text, csr_id bigint, ref text, order_id bigint, account_id bigint,
  certificate_id bigint, tenant text, detail jsonb
)
language sql stable
begin atomic
  select acme_private.cursor_text(e.epoch, e.xid, e.id), e.at, e.event, e.csr_id, s.ref, e.order_id, e.account_id,
         e.certificate_id, e.tenant, e.detail
    from (
      select *
        from acme_private.event x
       where (x.epoch, x.xid, x.id) > (
               (select acme_private.cursor_part(changes.after, 1)),
               (select acme_private.cursor_part(changes.after, 2)::text::xid8),
               (select acme_private.cursor_part(changes.after, 3)))
         and (x.epoch, x.xid) < (
               (select n.epoch from acme_private.epoch n),
               (select pg_snapshot_xmin(pg_current_snapshot())))
       order by x.epoch, x.xid, x.id
       limit greatest(changes.max, 0)
    ) e
    left join acme_private.csr_state s on s.csr_id = e.csr_id
   order by e.epoch, e.xid, e.id;
end;
comment on function acme.changes(text, int) is
  'The events after a cursor (each row has its own; '''' is the beginning), at most max, in an order in which none is ever skipped. An event comes once every transaction that began to write before its own has ended.';

-- To be called in the transaction that takes a restored database into use (adopt_database), before it
-- writes an event or locks what writers of events lock: it waits until every transaction that has written
-- one has ended, and keeps others waiting until the commit. The number is taken from the clock, so that two restores of one backup do not get the same.
create or replace function acme_private.raise_epoch() returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_epoch bigint;
begin
  lock table acme_private.event in access exclusive mode;
  update acme_private.epoch e
     set epoch = greatest(e.epoch + 1, extract(epoch from clock_timestamp())::bigint), raised_at = clock_timestamp()
  returning e.epoch into v_epoch;
  execute format('alter table acme_private.event alter column epoch set default %s', v_epoch);
  return v_epoch;
end
$$;
comment on function acme_private.raise_epoch() is
  'Begins a new epoch of events, after a restore: readers of acme.changes get all that is written from now on, whatever its transactions are numbered.';

create or replace function acme_private.last_event(p_csr bigint) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (select e.event from acme_private.event e where e.csr_id = p_csr order by e.id desc limit 1);
end
$$;
comment on function acme_private.last_event(bigint) is 'The last event of a csr.';

-- Was a csr rejected for these reasons before, and has nothing but a retry come since?
create or replace function acme_private.was_rejected_for(p_csr bigint, p_reasons jsonb) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
    select e.event = 'rejected' and e.detail -> 'reasons' = p_reasons
      from acme_private.event e
     where e.csr_id = p_csr and e.event <> 'retry_asked'
     order by e.id desc
     limit 1), false);
end
$$;
comment on function acme_private.was_rejected_for(bigint, jsonb) is
  'Whether the last event of a csr, but for retries, is that it was rejected for these reasons.';

create or replace function acme_private.last_event_at(p_csr bigint) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (select e.at from acme_private.event e where e.csr_id = p_csr order by e.id desc limit 1);
end
$$;
