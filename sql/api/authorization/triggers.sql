-- The triggers on authorizations and on requests to deactivate one.

-- Authorizations are given up on request (RFC 8555 §7.5.2). Applications insert into acme.deactivation_request, by
-- acme.deactivate_authorization(); a worker takes the requests away when it claims the authorization, moves it to
-- deactivating, and asks the server.

-- With the rights of whoever inserts: an authorization of another tenant is none that they can see.
create or replace function acme_private.tg_deactivation_request__insert() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_tenant text;
  v_state text;
begin
  select a.tenant, a.state into v_tenant, v_state from acme.authorization a where a.id = new.authorization_id;
  if not found then
    raise exception 'There is no authorization %.', new.authorization_id
      using errcode = 'no_data_found', hint = 'See acme.authorization.';
  elsif v_state not in ('new', 'pending', 'valid', 'deactivating') then
    raise exception 'Authorization % is % already, and proves nothing.', new.authorization_id, v_state
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  new.tenant := v_tenant;
  return new;
end
$$;

create or replace trigger _100_insert before insert on acme.deactivation_request
  for each row execute function acme_private.tg_deactivation_request__insert();

create or replace function acme_private.tg_deactivation_request__wake() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.wake_rows('prove', 'authorization', array(select distinct n.authorization_id from new_rows n));
  return null;
end
$$;

create or replace trigger _500_wake after insert on acme.deactivation_request
  referencing new table as new_rows
  for each statement execute function acme_private.tg_deactivation_request__wake();

-- Nobody asks for more than a server will look at soon. (Transactions side by side do not count each other's.)
create or replace function acme_private.tg_authorization__bound() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if (select count(*) from acme_private.authorization a
       where a.tenant = new.tenant and a.is_preauthorization and a.state in ('new', 'pending')) >= 100 then
    raise exception 'Tenant % has 100 pre-authorizations under way, and may have no more.', quote_literal(new.tenant)
      using errcode = 'configuration_limit_exceeded',
            hint = 'Ask again when some of them are valid or have failed (acme.authorization), or give some up: acme.deactivate_authorization(id).';
  end if;
  return new;
end
$$;
comment on function acme_private.tg_authorization__bound() is 'At most 100 pre-authorizations of a tenant are under way.';

create or replace trigger _100_bound before insert on acme_private.authorization
  for each row when (new.is_preauthorization) execute function acme_private.tg_authorization__bound();
