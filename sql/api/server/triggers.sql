-- The triggers on acme.server.

create or replace function acme_private.tg_server__policy() returns trigger
language plpgsql immutable
as $$
begin
  raise exception using errcode = 'check_violation', constraint = 'server_account_policy_is_known',
    message = format('account_policy is %L; it must be single or per_registered_domain.', left(new.account_policy, 100));
end
$$;

create or replace trigger _090_policy before insert or update of account_policy on acme.server
  for each row when (new.account_policy not in ('single', 'per_registered_domain'))
  execute function acme_private.tg_server__policy();

create or replace trigger _095_known_ca before insert or update on acme.server
  for each row when (new.refused_csr_features is null or new.blocks_revoked_keys is null)
  execute function acme_private.tg_server__known_ca();

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
