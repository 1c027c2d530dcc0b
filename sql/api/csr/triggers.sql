-- The triggers on acme.csr: they refuse bad input, keep csr_state in step, and wake a worker.

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
-- a foreign key (sql/tables/06_csr.sql): its check of each new row is a query and a row lock,
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
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'acme.csr cannot be truncated: what belongs to its rows would stay.' using hint = 'Use delete.';
end
$$;

create or replace trigger _100_truncate before truncate on acme.csr
  for each statement execute function acme_private.tg_csr__truncate();

-- A private key is refused before anything else is checked: where no row-level security holds, PostgreSQL
-- shows the row that breaks a constraint. So is what is too long, before it is stored.
create or replace function acme_private.tg_csr__no_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.csr_sha256(new.pem, new.ref);
  return new;
end
$$;

create or replace trigger _100_no_key before insert on acme.csr
  for each row when (octet_length(new.pem) > 65536 or strpos(new.pem, 'PRIVATE KEY') > 0)
  execute function acme_private.tg_csr__no_key();

-- Everything else of a csr is of this CSR: its hash, its names, its key.
create or replace function acme_private.tg_csr__pem() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'The pem of csr % cannot change: it is what the csr is.', old.id
    using errcode = 'object_not_in_prerequisite_state', hint = 'Insert the other certificate signing request as a row of its own, and cancel this one.';
end
$$;
comment on function acme_private.tg_csr__pem() is 'Refuses another pem for a csr.';

create or replace trigger _090_pem before update of pem on acme.csr
  for each row when (old.pem is distinct from new.pem) execute function acme_private.tg_csr__pem();

-- What a constraint would refuse is said in a sentence first, which does not repeat the row. An account that other
-- tenants alone use is answered as an unknown one: the condition, which was parsed here, calls a function of acme_private
-- with the caller's role.
create or replace function acme_private.tg_csr__account() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
begin
  raise exception using errcode = 'foreign_key_violation', constraint = 'csr_account_fkey',
    message = format('There is no account %s.', regexp_replace(left(new.account, 300),
      '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]', '?', 'g')),
    hint = 'Insert it into acme.account first, or name none: then the default account orders.';
end
$$;

create or replace trigger _120_account before insert or update of account on acme.csr
  for each row when (new.account is not null and acme_private.usable_account(new.account, current_user) is null)
  execute function acme_private.tg_csr__account();

-- Rows that are right cost no call: what was found to be there is not looked for again in the transaction (the foreign key
-- is what holds). With the caller's rights, which see the names of solvers.
create or replace function acme_private.tg_csr__solver() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
begin
  if not exists (select from acme.solver s where s.name = new.solver) then
    raise exception using errcode = 'foreign_key_violation', constraint = 'csr_solver_fkey',
      message = format('There is no solver %s.', regexp_replace(left(new.solver, 300),
        '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]', '?', 'g')),
      hint = 'Insert it into acme.solver first, or name none: then the most specific one serves each name.';
  end if;
  perform set_config('acme_private.known_solver', new.solver, true);
  return new;
end
$$;

create or replace trigger _120_solver before insert or update of solver on acme.csr
  for each row when (new.solver is not null and new.solver is distinct from current_setting('acme_private.known_solver', true))
  execute function acme_private.tg_csr__solver();

create or replace function acme_private.tg_csr__check() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
declare
  v_constraint text;
  v_text text;
begin
  select x.name, x.sentence into v_constraint, v_text
    from (values
      ('csr_ref_is_short', length(new.ref) not between 1 and 500,
       format('A ref has 1 to 500 characters, and this one %s.', length(new.ref))),
      ('csr_profile_is_short', length(new.profile) not between 1 and 100,
       format('The name of a profile has 1 to 100 characters, and this one %s.', length(new.profile))),
      ('csr_preferred_chain_is_short', length(new.preferred_chain) not between 1 and 300,
       format('A preferred_chain has 1 to 300 characters, and this one %s.', length(new.preferred_chain))),
      ('csr_tenant_is_plain', length(new.tenant) not between 1 and 200,
       format('The name of a tenant has 1 to 200 characters, and this one %s.', length(new.tenant))),
      ('csr_renew_reason_is_plain', length(new.renew_reason) > 500,
       format('A renew_reason has at most 500 characters, and this one %s.', length(new.renew_reason))),
      ('csr_cancel_reason_is_plain', length(new.cancel_reason) > 500,
       format('A cancel_reason has at most 500 characters, and this one %s.', length(new.cancel_reason))),
      ('csr_renewal_is_known', new.renewal not in ('reuse', 'off'),
       format('renewal is %L; it must be reuse or off.', left(new.renewal, 100))),
      ('csr_labels_is_object', jsonb_typeof(new.labels) <> 'object',
       'labels must be a JSON object, such as {"team": "shop"}.'),
      ('csr_labels_are_plain', octet_length(new.labels::text) > 16384,
       format('labels have at most 16384 bytes, and these %s.', octet_length(new.labels::text))),
      ('csr_priority_is_bounded', new.priority not between -1000000 and 1000000,
       format('priority is between -1000000 and 1000000, and this one %s.', new.priority)),
      ('csr_validity_is_positive', new.validity <= interval '0', 'validity must be longer than nothing.'),
      ('csr_validity_ends_after_start', new.validity <= new.validity_start,
       'validity must be longer than validity_start.')
    ) x (name, is_broken, sentence)
   where x.is_broken
   limit 1;
  if not found then
    select 'csr_' || x.name || '_is_bounded', format('%s is at most 100 years.', x.name)
      into v_constraint, v_text
      from (values ('validity', new.validity), ('validity_start', new.validity_start)) x (name, value)
     where not (extract(year from x.value) between -100 and 100 and extract(day from x.value) between -36600 and 36600
                and extract(hour from x.value) between -878400 and 878400)
     limit 1;
  end if;
  if not found then
    -- Then it is what the text contains.
    select 'csr_' || x.name || '_is_plain',
           format('%s has a control character, or one that turns the direction of text. Leave it out.', x.name)
      into v_constraint, v_text
      from (values ('tenant', new.tenant), ('ref', new.ref), ('profile', new.profile), ('preferred_chain', new.preferred_chain),
                   ('renew_reason', new.renew_reason), ('cancel_reason', new.cancel_reason)) x (name, value)
     where x.value ~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'
     limit 1;
  end if;
  raise exception using errcode = 'check_violation', constraint = coalesce(v_constraint, 'csr_labels_are_plain'),
    message = coalesce(v_text, 'labels has a control character, or one that turns the direction of text. Leave it out.');
end
$$;

create or replace trigger _130_check
  before insert or update of tenant, ref, profile, preferred_chain, renewal, priority, labels, validity, validity_start, renew_reason,
    cancel_reason on acme.csr
  for each row when (length(new.ref) not between 1 and 500 or length(new.profile) not between 1 and 100
                     or length(new.preferred_chain) not between 1 and 300 or new.renewal not in ('reuse', 'off')
                     or length(new.tenant) not between 1 and 200 or length(new.renew_reason) > 500
                     or length(new.cancel_reason) > 500 or new.priority not between -1000000 and 1000000
                     or jsonb_typeof(new.labels) <> 'object' or new.validity <= interval '0'
                     or new.validity <= new.validity_start
                     or not (extract(year from new.validity) between -100 and 100
                             and extract(day from new.validity) between -36600 and 36600
                             and extract(hour from new.validity) between -878400 and 878400)
                     or not (extract(year from new.validity_start) between -100 and 100
                             and extract(day from new.validity_start) between -36600 and 36600
                             and extract(hour from new.validity_start) between -878400 and 878400)
                     or new.labels <> '{}' and (octet_length(new.labels::text) > 16384 or new.labels::text
                       ~ '[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|(^|[^\\])(\\\\)*\\[bfnrtu]')
                     or concat(new.ref, new.profile, new.preferred_chain, new.tenant, new.renew_reason, new.cancel_reason)
                       ~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]')
  execute function acme_private.tg_csr__check();

-- version counts the changes that workers heed; a request remembers the version that made it.
create or replace function acme_private.tg_csr__version() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
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

create or replace function acme_private.tg_csr__adopt() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_problem text := acme_private.chain_problem(new.chain_pem);
begin
  if v_problem is not null then
    raise exception using
      errcode = 'invalid_parameter_value',
      message = case when new.ref is null then v_problem else format('ref %L: %s', new.ref, v_problem) end;
  end if;
  insert into acme_private.adoption (csr_id, chain_pem) values (new.id, new.chain_pem);
  new.chain_pem := null;
  return new;
end
$$;

create or replace trigger _110_adopt before insert on acme.csr
  for each row when (new.chain_pem is not null) execute function acme_private.tg_csr__adopt();
