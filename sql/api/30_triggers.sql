-- The triggers on what applications and administrators write: they refuse what cannot be, keep the
-- workers' rows beside theirs, and wake a worker. Those on the workers' tables: 10_rules, 20_queue.

-- Is this pem nothing but one block, as tools write it? body: what stands between its lines BEGIN and END,
-- der: that decoded. True only where csr_problem(pem) has nothing to say; false says nothing. Built of
-- cheap calls and without branches, so that PostgreSQL inlines it: 1 instead of 17 microseconds a row.
-- (That pem holds no private key is what the trigger _100_no_key sees to.)
create or replace function acme_private.is_plain_csr(pem text, body text, der bytea) returns boolean
language sql immutable parallel safe
as $$
  select starts_with(pem, '-----BEGIN CERTIFICATE REQUEST-----')
     -- 35 signs before the body, 33 after it and at most the end of the line: there is nothing else.
     and octet_length(pem) - octet_length(body) between 68 and 70
     and split_part(pem, '-----', 4) = 'END CERTIFICATE REQUEST'
     and octet_length(pem) <= 65536
     -- decode takes padding anywhere
     and strpos(rtrim(body, E'=\r\n'), '=') = 0
     -- X.690 §8.1, as in csr_problem
     and case when octet_length(der) < 4 or get_byte(der, 0) <> 48 then false
              when get_byte(der, 1) = 129 then octet_length(der) = 3 + get_byte(der, 2)
              when get_byte(der, 1) = 130 then octet_length(der) = 4 + get_byte(der, 2) * 256 + get_byte(der, 3)
              else false end
$$;

-- One trigger a statement, whatever the number of rows: the state rows, the duplicates, one wake-up.
-- docs/performance.md says what each part of it costs.
create or replace function acme_private.tg_csr__insert() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_done boolean := false;
  v_inserted bigint;
  v_expected bigint;
  v_row record;
  v_other bigint;
  v_is_same boolean;
begin
  -- Many rows are nearly always plain and new, all of them. Where one is not, the careful way below says
  -- what it is. Few rows go that way at once: an application that inserts row by row shall not have a
  -- second subtransaction in each statement (over 64 in a transaction make all others slower).
  if (select count(*) from (select from new_rows limit 20) few) = 20 then
    begin
      insert into acme_private.csr_state (csr_id, tenant, ref, der_sha256, priority, created_at)
      select n.id, n.tenant, n.ref,
             case when acme_private.is_plain_csr(n.pem, n.body, n.der) then sha256(n.der)
                  else acme_private.csr_sha256(n.pem, n.ref) end,
             n.priority, n.created_at
        -- offset 0: each part is made once
        from (select b.*, decode(b.body, 'base64') as der
                from (select r.id, r.tenant, r.ref, r.pem, r.priority, r.created_at,
                             split_part(r.pem, '-----', 3) as body
                        from new_rows r
                      offset 0) b
              offset 0) n;
      v_is_done := true;
    exception when invalid_parameter_value or unique_violation then
      null;
    end;
  end if;

  if not v_is_done then
    insert into acme_private.csr_state (csr_id, tenant, ref, der_sha256, priority, created_at)
    select n.id, n.tenant, n.ref, acme_private.csr_sha256(n.pem, n.ref), n.priority, n.created_at
      from new_rows n
    on conflict do nothing;
    get diagnostics v_inserted = row_count;
    select count(*) into v_expected from new_rows;
    if v_inserted < v_expected then
      -- The first row that was not taken, and what stands in its way: by index, however many rows there are.
      select n.tenant, n.ref, acme_private.csr_sha256(n.pem, n.ref) as der_sha256
        into v_row
        from new_rows n
       where not exists (select from acme_private.csr_state x where x.csr_id = n.id)
       order by n.id
       limit 1;
      select s.csr_id into v_other
        from acme_private.csr_state s
       where s.tenant = v_row.tenant and s.der_sha256 = v_row.der_sha256 and s.is_live;
      v_is_same := found;
      if not v_is_same then
        select s.csr_id into v_other
          from acme_private.csr_state s
         where s.tenant = v_row.tenant and s.ref = v_row.ref and s.is_live;
      end if;
      if v_other is null then
        raise exception 'The csr that stood in the way has ended at this very moment. Insert again.'
          using errcode = 'serialization_failure';
      elsif exists (select from new_rows m where m.id = v_other) then
        raise exception using errcode = 'unique_violation',
          message = 'The statement inserts the same certificate signing request or the same ref twice.',
          hint = 'Insert each request once.';
      elsif v_is_same then
        raise exception using errcode = 'unique_violation',
          message = format('This certificate signing request is already csr %s.', v_other),
          constraint = 'csr_is_one', detail = format('csr_id=%s', v_other),
          hint = format('acme.request(pem) returns the existing row; acme.renew(%s) orders a new certificate for it.', v_other);
      else
        raise exception using errcode = 'unique_violation',
          message = format('The ref %L already belongs to csr %s.', v_row.ref, v_other),
          constraint = 'csr_ref_is_one', detail = format('csr_id=%s', v_other),
          hint = format('Cancel it first (acme.cancel(%s)), or use another ref.', v_other);
      end if;
    end if;
    v_is_done := v_expected > 0;
  end if;
  if v_is_done then
    perform acme_private.wake_dispatch();
  end if;
  return null;
end
$$;
create or replace trigger _500_insert after insert on acme.csr
  referencing new table as new_rows
  for each statement execute function acme_private.tg_csr__insert();

-- What belongs to a deleted csr goes with it, locked in the workers' order: csr states, then orders. Not
-- a foreign key (sql/migrations/000005_growth.sql): its check of each new row is a query and a row lock,
-- a fifth of what an INSERT of many rows costs, and it made the dispatcher wait for whoever had a row of
-- acme.csr locked. A worker that has an order locked may still ask for a share of its csr's state, hence
-- "no key" until the orders are locked.
create or replace function acme_private.tg_csr__delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform from acme_private.csr_state s
   where s.csr_id in (select d.id from old_rows d)
   order by s.csr_id
     for no key update;
  perform from acme_private."order" o
   where o.csr_id in (select d.id from old_rows d)
   order by o.id
     for update;
  delete from acme_private.csr_state s using old_rows d where s.csr_id = d.id;
  delete from acme_private.request q using old_rows d where q.csr_id = d.id;
  delete from acme_private.adoption a using old_rows d where a.csr_id = d.id;
  return null;
end
$$;
create or replace trigger _500_delete after delete on acme.csr
  referencing old table as old_rows
  for each statement execute function acme_private.tg_csr__delete();

-- Nothing would go with the rows.
create or replace function acme_private.tg_csr__truncate() returns trigger
language plpgsql volatile
as $$
begin
  raise exception 'acme.csr cannot be truncated: what belongs to its rows would stay.' using hint = 'Use delete.';
end
$$;
create or replace trigger _100_truncate before truncate on acme.csr
  for each statement execute function acme_private.tg_csr__truncate();

-- A private key is refused before anything else is checked: where no row-level security holds, PostgreSQL
-- shows the row that breaks a constraint.
create or replace function acme_private.tg_csr__no_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.csr_sha256(new.pem, new.ref);
  return new;
end
$$;
create or replace trigger _100_no_key before insert or update of pem on acme.csr
  for each row when (strpos(new.pem, 'PRIVATE KEY') > 0) execute function acme_private.tg_csr__no_key();

-- version counts the changes that workers heed; a request remembers the version that made it.
create or replace function acme_private.tg_csr__version() returns trigger
language plpgsql volatile
as $$
begin
  new.version := old.version
    + case when (new.retry_request, new.renew_request, new.cancel_request, new.renewal, new.priority, new.account)
                is distinct from (old.retry_request, old.renew_request, old.cancel_request, old.renewal, old.priority, old.account)
           then 1 else 0 end;
  new.touched_xid := pg_current_xact_id();
  if new.retry_request is distinct from old.retry_request then new.retry_request := new.version; end if;
  if new.renew_request is distinct from old.renew_request then new.renew_request := new.version; end if;
  if new.cancel_request is distinct from old.cancel_request then
    new.cancel_request := coalesce(old.cancel_request, new.version);
  end if;
  return new;
end
$$;
create or replace trigger _100_version before update on acme.csr
  for each row when (old.* is distinct from new.*) execute function acme_private.tg_csr__version();

create or replace function acme_private.tg_csr__update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[] := array(
    select n.id
      from new_rows n
      join old_rows o using (id)
     where n.version <> o.version);
begin
  if cardinality(v_ids) > 0 then
    insert into acme_private.request (csr_id) select unnest(v_ids);
    perform acme_private.wake_rows('attend', 'csr', v_ids);
  end if;
  return null;
end
$$;
create or replace trigger _500_update after update on acme.csr
  referencing old table as old_rows new table as new_rows
  for each statement execute function acme_private.tg_csr__update();

create or replace function acme_private.tg_server__update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if new.directory_url <> old.directory_url
     and exists (select from acme_private.account_state a where a.server_id = old.id) then
    raise exception 'The directory_url of server % cannot change: it has accounts, and their keys must not go elsewhere.', old.name
      using hint = 'Insert a new server with the other URL.';
  end if;
  new.version := old.version + 1;
  return new;
end
$$;
create or replace trigger _100_version before update on acme.server
  for each row when (old.* is distinct from new.*) execute function acme_private.tg_server__update();

create or replace function acme_private.tg_server__wake() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.wake_dispatch();
  -- What was asked of its accounts meanwhile.
  if old.paused_at is not null and new.paused_at is null then
    perform acme_private.wake_rows('register', 'account', array(
      select s.account_id from acme_private.account_state s
       where s.server_id = new.id and s.lease_token is null and acme_private.has_account_work(s.account_id)));
  end if;
  return null;
end
$$;
create or replace trigger _500_wake after update on acme.server
  for each row when (old.paused_at is distinct from new.paused_at
                     or old.max_orders_in_flight is distinct from new.max_orders_in_flight)
  execute function acme_private.tg_server__wake();

-- What a person published can be answered for.
create or replace function acme_private.tg_record__published() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.wake_rows('prove', 'authorization', array(
    select c.authorization_id from acme_private.challenge c where c.id = new.challenge_id));
  return null;
end
$$;
create or replace trigger _500_published after update on acme_private.record
  for each row when (old.state = 'intended' and new.state = 'published')
  execute function acme_private.tg_record__published();
