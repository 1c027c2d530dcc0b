-- A domain changes hands: what this database has to do with it ends.

create or replace function acme_private.is_within(p_identifier text, p_domain text) returns boolean
language sql immutable parallel safe
return regexp_replace(p_identifier, '^\*\.', '') = p_domain or right(p_identifier, length(p_domain) + 1) = '.' || p_domain;

-- The domain as identifiers have it; else a sentence. With the rights of the caller, for whom schema acme alone is there.
create or replace function acme_private.domain_to_release(p_name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
declare
  v_domain text := lower(regexp_replace(p_name, '\.$', ''));
  v_owned text;
begin
  if v_domain is null or v_domain !~ '^[a-z0-9_-]+(\.[a-z0-9_-]+)+$' and v_domain !~ '^[0-9a-f:]*:[0-9a-f:.]*$' then
    raise exception '% is no domain to release.', coalesce(quote_literal(left(p_name, 80)), 'null')
      using errcode = 'invalid_parameter_value',
            hint = 'Give a domain such as example.com, without *, in ASCII (xn--…); everything below it is released with it.';
  end if;
  select o.registered_domain into v_owned
    from acme.name_owner o
   where right(o.name, length(v_domain) + 1) = '.' || v_domain
     and right(v_domain, length(o.registered_domain)) <> o.registered_domain
   limit 1;
  if found then
    raise exception '% is a suffix under which domains are registered, such as %; it is not released as a whole.', v_domain, v_owned
      using errcode = 'invalid_parameter_value', hint = 'Release each domain by itself; see acme.name_owner.';
  end if;
  return v_domain;
end
$$;

-- Frees a domain and what is below it, as far as it belongs to the tenant that p_role, the caller's current_user, acts for; an
-- administrator those of every tenant. As the owner: a right to update the table would be a right to lock it.
create or replace function acme_private.free_names(p_domain text, p_role name) returns table (name text, tenant text)
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  update acme_private.tenant_name t
     set owner_since = null, proved_at = null, unused_since = null, checked_at = acme_private.clock()
   where t.owner_since is not null
     and (reverse(t.name) collate "C" = reverse(p_domain) or acme_private.is_below(t.name, p_domain))
     and (t.tenant = (select acme_private.tenant_of(p_role)) or pg_has_role(p_role, 'acme_admin', 'usage'))
  returning t.name, t.tenant
$$;
comment on function acme_private.free_names(text, name) is
  'Frees the names of a domain that a role may free; returns them.';

create or replace function acme.release_domain(name text, revoke boolean default false)
  returns table (kind text, id bigint, what text, done text)
language sql volatile
begin atomic
  -- All parts see the database as it was before. Bound here and now, since applications have no schema
  -- acme_private; row-level security says what they reach.
  with domain as (
    select acme_private.domain_to_release(release_domain.name) as name
  ), csrs as (
    select s.csr_id, s.state, s.account_id, s.identifiers, o.state as order_state, d.name as domain,
           array(select i from unnest(s.identifiers) i where not acme_private.is_within(i, d.name)) as others
      from acme_private.csr_state s
     cross join domain d
      left join acme_private."order" o on o.id = s.order_id
     where s.state not in ('cancelled', 'rejected')
       and exists (select from unnest(s.identifiers) i where acme_private.is_within(i, d.name))
  ), cancelled as (
    update acme.csr c
       set cancel_request = c.version + 1, cancel_reason = format('The domain %s was released.', k.domain)
      from csrs k
     where c.id = k.csr_id and c.cancel_request is null
    returning c.id
  ), authorizations as (
    select a.id, a.account_id, case when a.is_wildcard then '*.' else '' end || a.identifier as identifier
      from acme_private.authorization a
     cross join domain d
     where a.state in ('new', 'pending', 'valid', 'deactivating') and acme_private.is_within(a.identifier, d.name)
       and (a.expires_at is null or a.expires_at > acme_private.clock())
  ), deactivated as (
    insert into acme.deactivation_request (authorization_id)
    select a.id from authorizations a
    returning deactivation_request.id
  ), certificates as (
    select k.id, k.csr_id, k.order_id, k.account_id, k.identifiers, k.state, k.not_after
      from acme_private.certificate k
     cross join domain d
     where k.state in ('current', 'superseded', 'revoking') and k.not_after > acme_private.clock()
       and exists (select from unnest(k.identifiers) i where acme_private.is_within(i, d.name))
  ), revoked as (
    insert into acme.revocation_request (certificate_id, reason)
    select k.id, 'cessationOfOperation' from certificates k where release_domain.revoke and k.state <> 'revoking'
    returning revocation_request.id
  ), freed as (
    select r.name, r.tenant
      from domain d
     cross join lateral acme_private.free_names(d.name, current_user) r
  ), accounts as (
    select distinct u.account_id
      from (select account_id from csrs
            union all
            select account_id from authorizations
            union all
            select coalesce(o.account_id, k.account_id) from certificates k left join acme_private."order" o on o.id = k.order_id) u
     where u.account_id is not null
  )
  select r.kind, r.id, r.what, r.done
    from (
      select 1 as rank, 'csr' as kind, k.csr_id as id, array_to_string(k.identifiers, ', ') as what,
             'is stopped'
               || case when k.order_state in ('finalizing', 'downloading')
                       then '; the certificate that the server is making is stored first: call release_domain again then' else '' end
               || case when k.others <> '{}'
                       then format('; it has other names too (%s): insert a CSR for those', array_to_string(k.others, ', ')) else '' end as done
        from csrs k
      union all
      select 2, 'csr', s.csr_id, null, 'is not read yet; call release_domain again in a moment'
        from acme_private.csr_state s where s.state = 'received'
      union all
      select 3, 'authorization', a.id, a.identifier, 'is deactivated' from authorizations a
      union all
      select 4, 'certificate', k.id, array_to_string(k.identifiers, ', '),
             case when k.state = 'revoking' then 'is being revoked already'
                  when release_domain.revoke then 'is revoked (cessationOfOperation)'
                  else format('is good until %s; select acme.revoke_certificate(%s, ''cessationOfOperation'') ends it',
                              to_char(k.not_after, 'YYYY-MM-DD'), k.id) end
        from certificates k
      union all
      select 5, 'record', x.id, x.identifier,
             'was published by hand: remove it, see acme.challenge_todo'
        from acme_private.record x
       cross join domain d
       where x.method = 'manual' and x.state in ('published', 'removing') and acme_private.is_within(x.identifier, d.name)
      union all
      select 6, 'dns', null, d.name,
             format('remove what names the account %s from DNS: CAA records (accounturi) and _validation-persist TXT records with %s',
                    a.name, a.url)
        from accounts u
       cross join lateral acme_private.account_shown(u.account_id) a
       cross join domain d
       where a.url is not null
      union all
      select 7, 'name', null, f.name, format('belongs to tenant %s no longer', f.tenant) from freed f
    ) r
   order by r.rank, r.what, r.id;
end;
comment on function acme.release_domain(text, boolean) is
  'Ends what there is for a domain and everything below it, as when it is sold: its csrs are cancelled, its authorizations deactivated, its names free for other tenants. revoke: its certificates are revoked too; else they are listed. Returns a row for each thing: what was done, and what is left to do.';
