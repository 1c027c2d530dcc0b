-- The triggers on acme.server.

-- What the constraints of the administrators' tables would refuse is said in a sentence, which does not repeat the row.
create or replace function acme_private.tg_server__check() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_constraint text;
  v_text text;
begin
  select x.name, x.sentence into v_constraint, v_text
    from (values
      ('server_account_policy_is_known', new.account_policy not in ('single', 'per_registered_domain'),
       format('account_policy is %L; it must be single or per_registered_domain.', left(new.account_policy, 100))),
      ('server_directory_url_is_https',
       (new.directory_url ~ '^https://[^/?#@[:space:]]+([/?][^#[:space:]]*)?$') is not true,
       'directory_url must be the https URL of the server''s directory, such as https://acme-v02.api.letsencrypt.org/directory, without a user name, a fragment or white space.'),
      ('server_ca_bundle_is_pem', not (new.ca_bundle ~ '-----BEGIN CERTIFICATE-----' and new.ca_bundle !~ 'PRIVATE KEY'),
       'ca_bundle must be certificates in PEM form, and no private key.'),
      ('server_max_names_is_positive', new.max_names <= 0, 'max_names must be 1 or more.'),
      ('server_max_orders_in_flight_is_positive', new.max_orders_in_flight <= 0, 'max_orders_in_flight must be 1 or more.')
    ) x (name, is_broken, sentence)
   where x.is_broken
   limit 1;
  if found then
    raise exception using errcode = 'check_violation', constraint = v_constraint, message = v_text;
  end if;
  return new;
end
$$;
comment on function acme_private.tg_server__check() is 'Says in a sentence what a server cannot have.';

create or replace trigger _090_check before insert or update on acme.server
  for each row execute function acme_private.tg_server__check();

-- What is known of some CAs, where a new server does not say it. Let's Encrypt leaves clientAuth out and issues,
-- Google refuses it.
create or replace function acme_private.tg_server__known_ca() returns trigger
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_host text := lower(substring(new.directory_url from '^https://([^/?:]+)'));
begin
  new.refused_csr_features := coalesce(new.refused_csr_features, case
    when v_host like '%.api.letsencrypt.org' then '{must_staple}'::text[]
    when v_host like '%api.pki.goog' then '{client_auth_eku}'
    else '{}' end);
  new.blocks_revoked_keys := coalesce(new.blocks_revoked_keys, v_host like '%.api.letsencrypt.org', false);
  return new;
end
$$;

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

create or replace function acme_private.tg_server__delete() returns trigger
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_count int;
  v_names text;
begin
  select count(*), string_agg(a.name, ', ' order by a.id) filter (where a.place <= 5) into v_count, v_names
    from (select x.id, x.name, row_number() over (order by x.id) as place from acme.account x where x.server = old.name) a;
  if v_count > 0 then
    raise exception using errcode = 'foreign_key_violation', constraint = 'account_server_fkey',
      message = format('The server %s has %s (%s%s) and cannot be deleted.', old.name,
                       case v_count when 1 then 'an account' else v_count || ' accounts' end, v_names, case when v_count > 5 then ', …' end),
      hint = 'acme.pause(''server'', name, reason) ends its use. Accounts without csrs and orders can be deleted first.';
  end if;
  return old;
end
$$;
comment on function acme_private.tg_server__delete() is 'Says in a sentence that a server has accounts.';

create or replace trigger _100_delete before delete on acme.server
  for each row execute function acme_private.tg_server__delete();
