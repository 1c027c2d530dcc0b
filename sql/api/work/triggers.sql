-- State changes: which are allowed, and the wake-up of a worker.

-- Refuses a state that may not follow. The table acme_private.transition is the truth.
create or replace function acme_private.tg_check_transition() returns trigger
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from acme_private.transition t
     where t.kind = tg_argv[0] and t.from_state = old.state and t.to_state = new.state
  ) then
    raise exception '% cannot go from % to %', tg_argv[0], old.state, left(new.state, 60)
      using errcode = 'check_violation', hint = 'See acme_private.transition and docs/state-machine.md.';
  end if;
  return new;
end
$$;

-- The triggers know what is allowed, so that only what is not costs a call: ten of them for each certificate.
do $$
declare
  r record;
begin
  for r in
    select t.kind, case t.kind when 'csr' then 'csr_state' when 'account' then 'account_state' else t.kind end as table_name,
           array_agg(t.from_state || '>' || t.to_state order by t.from_state, t.to_state) as allowed
      from acme_private.transition t
     group by t.kind
  loop
    execute format(
      'create or replace trigger _200_transition before update on acme_private.%I for each row '
      'when (old.state is distinct from new.state and (old.state || ''>'' || new.state) <> all (%L::text[])) '
      'execute function acme_private.tg_check_transition(%L)', r.table_name, r.allowed, r.kind);
  end loop;
end
$$;

-- Whoever moves a row that nobody holds, also a DBA in psql, gets it worked on.
create or replace function acme_private.tg_wake() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_step text := (select m.step from acme_private.step m where m.kind = tg_argv[0] and m.state = new.state);
begin
  -- The workers' functions see to what follows themselves (acme_private.begin_work).
  if v_step is null or current_setting('acme_private.quiet', true) = 'on' then
    return null;
  elsif v_step = 'dispatch' then
    perform acme_private.wake_dispatch();
  else
    perform acme_private.wake_rows(v_step, tg_argv[0], array[(to_jsonb(new) ->> tg_argv[1])::bigint]);
  end if;
  return null;
end
$$;

create or replace trigger _500_wake after update on acme_private.csr_state
  for each row when (old.lease_token is null and new.lease_token is null and old.state is distinct from new.state)
  execute function acme_private.tg_wake('csr', 'csr_id');

create or replace trigger _500_wake after update on acme_private."order"
  for each row when (old.lease_token is null and new.lease_token is null and old.state is distinct from new.state)
  execute function acme_private.tg_wake('order', 'id');

create or replace trigger _500_wake after update on acme_private.authorization
  for each row when (old.lease_token is null and new.lease_token is null and old.state is distinct from new.state)
  execute function acme_private.tg_wake('authorization', 'id');

create or replace trigger _500_wake after update on acme_private.certificate
  for each row when (old.lease_token is null and new.lease_token is null and old.state is distinct from new.state)
  execute function acme_private.tg_wake('certificate', 'id');

create or replace trigger _500_wake after update on acme_private.account_state
  for each row when (old.lease_token is null and new.lease_token is null and old.state is distinct from new.state)
  execute function acme_private.tg_wake('account', 'account_id');

create or replace trigger _500_insert after insert on acme_private.authorization
  for each row when (new.state = 'new') execute function acme_private.tg_wake('authorization', 'id');
