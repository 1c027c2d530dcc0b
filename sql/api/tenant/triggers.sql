-- A sentence for what the constraint would refuse.
create or replace function acme_private.tg_check_tenant() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
begin
  raise exception using errcode = 'check_violation', constraint = tg_table_name || '_tenant_is_plain',
    message = format('%s cannot be a tenant: give one of 1 to 200 characters, none of them a control character or one that is not seen.',
                     coalesce(quote_literal(regexp_replace(left(new.tenant, 100),
                       '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]', '?', 'g')), 'null')),
    hint = 'Where it is the name of a login, an administrator gives that login another tenant in acme.tenant_role.';
end
$$;

create or replace trigger _125_tenant before insert on acme.csr
  for each row when (acme_private.is_plain_tenant(new.tenant) is not true)
  execute function acme_private.tg_check_tenant();

create or replace trigger _125_tenant before insert or update of tenant on acme.tenant_role
  for each row when (acme_private.is_plain_tenant(new.tenant) is not true)
  execute function acme_private.tg_check_tenant();

-- regrole takes any number.
create or replace function acme_private.tg_tenant_role__check() returns trigger
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_roles r where r.oid = new.role) then
    raise exception 'There is no role %.', new.role using errcode = 'undefined_object';
  end if;
  return new;
end
$$;

create or replace trigger _100_check before insert or update of role on acme.tenant_role
  for each row execute function acme_private.tg_tenant_role__check();
