-- The policy of accounts: where a server has an account for each registered domain, a csr that names none is
-- given that of its domain when it is accepted, and the account is made if there is none yet.

-- The account of a registered domain. Only for judge(): it holds the lock that makes two of them one after the
-- other, and wakes who registers those that were made.
create or replace function acme_private.account_of_domain(
  p_worker bigint, p_csr bigint, p_default bigint, p_domain text, out account_id bigint, out is_made boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_server text := (select a.server from acme.account a where a.id = p_default);
  v_name text := p_domain;
  v_try int := 1;
begin
  is_made := false;
  select a.id into account_id
    from acme.account_domain d
    join acme.account a on a.name = d.account
   where d.server = v_server and d.domain = p_domain;
  if found then
    perform acme_private.show_account(account_id, p_csr);
    return;
  end if;
  -- Names are unique over all servers.
  while exists (select from acme.account a where a.name = v_name and a.server <> v_server) loop
    v_try := v_try + 1;
    v_name := p_domain || '_' || v_server || case when v_try > 2 then '_' || v_try else '' end;
  end loop;
  select a.id into account_id from acme.account a where a.name = v_name;
  if not found then
    insert into acme.account (name, server, contact, terms_agreed, key_algorithm, is_default)
    select v_name, a.server, a.contact, a.terms_agreed, a.key_algorithm, false
      from acme.account a
     where a.id = p_default
    returning id into account_id;
    -- Whoever agreed for the default account agreed to what it was asked for.
    update acme_private.account_state n
       set agreed_terms_url = d.agreed_terms_url
      from acme_private.account_state d
     where n.account_id = account_of_domain.account_id and d.account_id = p_default;
    is_made := true;
    perform acme_private.note('account_made', null, null, null, account_id, null, p_worker,
                              jsonb_build_object('domain', p_domain, 'csr_id', p_csr));
  end if;
  insert into acme.account_domain (server, domain, account) values (v_server, p_domain, v_name);
  perform acme_private.show_account(account_id, p_csr);
end
$$;

-- What to say where one account cannot be told from the names; null: it can.
create or replace function acme_private.domains_problem(p_domains text[], p_server text) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_distinct text[] := array(select distinct d from unnest(p_domains) d order by d);
begin
  if cardinality(v_distinct) <= 1 then
    return null;
  end if;
  return format('Its names belong to %s registered domains (%s%s), and the server %s has an account for each (server.account_policy). Make one CSR for each domain, or name an account for all of them in csr.account.',
    cardinality(v_distinct), array_to_string(v_distinct[:5], ', '), case when cardinality(v_distinct) > 5 then ', …' else '' end, p_server);
end
$$;
