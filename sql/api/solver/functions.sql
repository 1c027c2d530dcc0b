-- Solvers: which one serves a name, and what is published.

-- Which solver serves a name: the one the csr names, whatever its own names say, else the most
-- specific. null: none can.
-- http-01 proves no wildcard (RFC 8555 §8.3).
create or replace function acme_private.solver_for(p_solver text, p_identifier text) returns acme.solver
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_solver acme.solver;
begin
  select s.* into v_solver
    from acme.solver s
   cross join lateral (
     select max(case when n = '*' then 0 else length(n) end) as specific
       from unnest(s.names) n
      where n = '*' or n = p_identifier or right(p_identifier, length(n) + 1) = '.' || n
   ) fit
   where (p_solver is null or s.name = p_solver)
     and (p_solver is not null or fit.specific is not null)
     and not (s.challenge_type = 'http-01' and p_identifier like '*.%')
   order by fit.specific desc, s.id
   limit 1;
  return v_solver;
end
$$;

create or replace function acme.http01_response(token text, host text default null) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select r.value
    from acme.record r
   where r.token = http01_response.token
     and r.type = 'http-01'
     and r.state in ('published', 'removing')
     and length(http01_response.token) <= 512
   -- Two CAs may give the same token; a proxy may have replaced the Host header.
   order by (r.identifier = rtrim(lower(http01_response.host), '.')) desc nulls last, r.created_at desc
   limit 1
$$;
comment on function acme.http01_response(text, text) is
  'The body to answer for /.well-known/acme-challenge/<token> (RFC 8555 §8.3); null: answer 404. host: the name that was asked, which tells equal tokens of two CAs apart.';

create or replace function acme.challenge_published(id bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme.record r set state = 'published' where r.id = challenge_published.id and r.method = 'manual' and r.state = 'intended';
  if not found then
    raise exception 'There is nothing to publish with the id %.', id
      using errcode = 'no_data_found', hint = 'See acme.challenge_todo.';
  end if;
end
$$;
comment on function acme.challenge_published(bigint) is
  'Says that a row of challenge_todo has been published by hand; the server is then asked to look.';

create or replace function acme.challenge_removed(id bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
  update acme.record r set state = 'removed' where r.id = challenge_removed.id and r.method = 'manual' and r.state = 'removing';
  if not found then
    raise exception 'There is nothing to remove with the id %.', id
      using errcode = 'no_data_found', hint = 'See acme.challenge_todo.';
  end if;
end
$$;
comment on function acme.challenge_removed(bigint) is
  'Says that what a row of challenge_todo asked to remove is gone.';
