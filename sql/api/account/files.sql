-- Accounts that leave and come as files. Granted to nobody: `pgacme account export` and `import` act as
-- acme_owner, who alone reads keys.

-- An account with its sealed key, as it is to be written into a file. Who took it is told in the audit trail.
create or replace function acme_private.export_account(p_name text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_account jsonb;
  v_id bigint;
begin
  select a.id,
         jsonb_build_object(
           'name', a.name, 'state', s.state, 'url', s.url, 'contact', a.contact, 'terms_agreed', a.terms_agreed,
           'eab_kid', a.eab_kid, 'thumbprint', k.thumbprint, 'jwe', k.jwe,
           -- (also while it waits for its orders, and where a key may still be the server's)
           'is_rolling_over', s.state = 'rolling_over'
             or exists (select from acme_private.account_key p where p.account_id = a.id and p.state = 'pending'),
           'server', jsonb_build_object('name', v.name, 'directory_url', v.directory_url, 'ca_bundle', v.ca_bundle,
                                        'allowed_hosts', v.allowed_hosts),
           -- What is published for good and names the account: it has to be there for the next owner too.
           'records', (select coalesce(jsonb_agg(distinct format('%s %s %s', r.identifier, r.type, r.value)), '[]')
                         from acme_private.record r
                        where r.state in ('published', 'removing') and r.type like 'dns-persist%'
                          and strpos(r.value, 'accounturi=' || s.url) > 0))
    into v_id, v_account
    from acme.account a
    join acme_private.account_state s on s.account_id = a.id
    join acme.server v on v.name = a.server
    left join acme_private.account_key k on k.account_id = a.id and k.state = 'current'
   where a.name = p_name;
  if not found then
    raise exception 'There is no account %.', quote_nullable(p_name)
      using errcode = 'no_data_found', hint = 'See acme.account_status.';
  end if;
  -- Only where there is something that can be exported: a sealed key, and one that stays.
  if acme_private.jwe_header(v_account ->> 'jwe') is not null and not (v_account ->> 'is_rolling_over')::boolean then
    perform acme_private.note('account_exported', null, p_account => v_id,
                              p_detail => jsonb_build_object('thumbprint', v_account ->> 'thumbprint', 'by', session_user));
  end if;
  return v_account;
end
$$;
comment on function acme_private.export_account(text) is
  'An account with its sealed key, for pgacme account export; noted as an event.';

-- What is there for an account that is to be imported: the server of that name or URL, and what stands in its way.
create or replace function acme_private.import_facts(p_name text, p_server text, p_directory_url text, p_thumbprint text)
  returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'server_by_name', (select jsonb_build_object('name', v.name, 'directory_url', v.directory_url, 'ca_bundle', v.ca_bundle,
                                                 'allowed_hosts', v.allowed_hosts)
                         from acme.server v where v.name = p_server),
    -- of several the oldest: its name is the one that is known
    'server_by_url', (select jsonb_build_object('name', v.name, 'directory_url', v.directory_url, 'ca_bundle', v.ca_bundle,
                                                'allowed_hosts', v.allowed_hosts)
                        from acme.server v where v.directory_url = p_directory_url order by v.id limit 1),
    'is_name_taken', exists (select from acme.account a where a.name = p_name),
    'key_of', (select jsonb_build_object('account', a.name, 'state', k.state)
                 from acme_private.account_key k
                 join acme.account a on a.id = k.account_id
                where k.thumbprint = p_thumbprint))
$$;
comment on function acme_private.import_facts(text, text, text, text) is
  'The server that an account to be imported is of, and what stands in its way.';

-- An account that the server was asked about, with its sealed key: valid from here on. facts: {name, server:
-- {name, directory_url, ca_bundle, allowed_hosts}, url, contact, terms_agreed, terms_url, eab_kid, key_algorithm, jwe, thumbprint,
-- spki_sha256, client}.
create or replace function acme_private.import_account(p_facts jsonb) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_account bigint;
  v_server text := p_facts -> 'server' ->> 'name';
begin
  insert into acme.server (name, directory_url, ca_bundle, allowed_hosts)
  values (v_server, p_facts -> 'server' ->> 'directory_url', p_facts -> 'server' ->> 'ca_bundle',
          array(select jsonb_array_elements_text(p_facts -> 'server' -> 'allowed_hosts')))
  on conflict (name) do nothing;
  if (select v.directory_url from acme.server v where v.name = v_server) is distinct from p_facts -> 'server' ->> 'directory_url' then
    raise exception 'The server % has another directory_url by now.', v_server using errcode = 'serialization_failure';
  end if;
  insert into acme.account (name, server, contact, terms_agreed, key_algorithm, eab_kid)
  values (p_facts ->> 'name', v_server, array(select jsonb_array_elements_text(p_facts -> 'contact')),
          (p_facts ->> 'terms_agreed')::boolean, p_facts ->> 'key_algorithm', p_facts ->> 'eab_kid')
  returning id into v_account;
  insert into acme_private.account_key (account_id, jwe, thumbprint, spki_sha256)
  values (v_account, p_facts ->> 'jwe', p_facts ->> 'thumbprint', decode(p_facts ->> 'spki_sha256', 'hex'));
  -- The states are walked through as they would be by registering.
  update acme_private.account_state set state = 'registering' where account_id = v_account;
  update acme_private.account_state
     set state = 'valid', url = p_facts ->> 'url', terms_url = p_facts ->> 'terms_url',
         agreed_terms_url = p_facts ->> 'terms_url', thumbprint = p_facts ->> 'thumbprint',
         told_version = (select a.version from acme.account a where a.id = v_account), registered_at = v_now,
         verified_at = v_now, is_imported = true, version = version + 1, updated_at = v_now
   where account_id = v_account;
  perform acme_private.note('account_imported', null, p_account => v_account,
                            p_detail => jsonb_build_object('url', p_facts ->> 'url', 'thumbprint', p_facts ->> 'thumbprint',
                                                           'client', p_facts ->> 'client', 'by', session_user));
  return v_account;
end
$$;
comment on function acme_private.import_account(jsonb) is
  'Inserts an account that was verified with its server, and its sealed key, for pgacme account import.';
