-- Trigger functions that several tables share.

-- The names that people give: one that the constraint would refuse. Arguments: what it is, and how long it may be.
create or replace function acme_private.tg_check_name() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'check_violation', constraint = tg_table_name || '_name_is_plain',
    message = case when new.name is null then format('There is no name for %s', tg_argv[0])
                   else format('%s cannot be the name of %s', to_json(left(new.name, 100)), tg_argv[0]) end
              || format(': give one of lower-case letters, digits, dots, dashes and underscores, at most %s, that begins with a letter or a digit.',
                        tg_argv[1]);
end
$$;

create or replace trigger _090_name before insert or update of name on acme.server
  for each row when (new.name is null or new.name !~ '^[a-z0-9][a-z0-9._-]{0,62}$')
  execute function acme_private.tg_check_name('a server', '63');

create or replace trigger _090_name before insert or update of name on acme.solver
  for each row when (new.name is null or new.name !~ '^[a-z0-9][a-z0-9._-]{0,62}$')
  execute function acme_private.tg_check_name('a solver', '63');

create or replace trigger _090_name before insert or update of name on acme.account
  for each row when (new.name is null or new.name !~ '^[a-z0-9][a-z0-9._-]{0,252}$')
  execute function acme_private.tg_check_name('an account', '253');

-- A new name that another row has. (An insert that meets a name may be about to become an update, on conflict: what would
-- say that in a sentence comes before PostgreSQL knows.) The argument: what it is.
create or replace function acme_private.tg_check_new_name() returns trigger
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_taken boolean;
begin
  execute format('select exists (select from %I.%I where name = $1)', tg_table_schema, tg_table_name) into v_is_taken using new.name;
  if v_is_taken then
    raise exception using errcode = 'unique_violation', constraint = tg_table_name || '_name_key',
      message = format('There is a %s %s already.', tg_argv[0], new.name), hint = 'Give it another name.';
  end if;
  return new;
end
$$;
comment on function acme_private.tg_check_new_name() is 'Says in a sentence that a name is taken.';

create or replace trigger _092_name before update of name on acme.server
  for each row when (new.name <> old.name) execute function acme_private.tg_check_new_name('server');

create or replace trigger _092_name before update of name on acme.solver
  for each row when (new.name <> old.name) execute function acme_private.tg_check_new_name('solver');
