-- The triggers on solvers and records.

create or replace function acme_private.tg_solver__check() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  if new.challenge_type not in ('http-01') then
    raise exception using errcode = 'check_violation', constraint = 'solver_challenge_type_is_known',
      message = format('challenge_type is %L; it must be http-01.', left(new.challenge_type, 100));
  elsif new.method not in ('responder', 'manual') then
    raise exception using errcode = 'check_violation', constraint = 'solver_method_is_known',
      message = format('method is %L; it must be responder or manual.', left(new.method, 100));
  end if;
  return new;
end
$$;
comment on function acme_private.tg_solver__check() is 'Says in a sentence what a solver cannot have.';

create or replace trigger _090_check before insert or update on acme.solver
  for each row execute function acme_private.tg_solver__check();

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

create or replace function acme_private.tg_solver__delete() returns trigger
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_csr bigint := (select min(c.id) from acme.csr c where c.solver = old.name);
begin
  if v_csr is not null then
    raise exception using errcode = 'foreign_key_violation', constraint = 'csr_solver_fkey',
      message = format('The solver %s is named by csrs, csr %s among them, and cannot be deleted.', old.name, v_csr),
      hint = format('They are: select id, ref, tenant from acme.csr where solver = %L;', old.name);
  end if;
  return old;
end
$$;
comment on function acme_private.tg_solver__delete() is 'Says in a sentence that csrs name a solver.';

create or replace trigger _100_delete before delete on acme.solver
  for each row execute function acme_private.tg_solver__delete();
