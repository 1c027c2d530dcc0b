import type postgres from 'postgres';

/** What a shadow says when it is called, as a notice: it is heard also where the transaction fails. */
export const CALLED = 'shadow called: ';

/**
 * Fills a schema with what a session finds before PostgreSQL's own when the schema is first in its search_path:
 * every operator, every function and view that a body of pgacme names, and types. A boolean shadow says yes,
 * others answer as the original does; each tells that it was called. Returns how many there are.
 */
export async function makeShadows(sql: postgres.Sql, schema: string): Promise<number> {
  const make = sql.unsafe(`
    do $make$
    declare
      r record;
      v_type text;
    begin
      for r in
        select format('%s(%s)', o.oprname, concat_ws(', ', nullif(o.oprleft, 0)::regtype, o.oprright::regtype)) as called,
               o.oprname, o.oprleft, o.oprright, o.oprresult, row_number() over (order by o.oid) as n
          from pg_operator o
         where o.oprnamespace = 'pg_catalog'::regnamespace
      loop
        begin
          execute format('create function ${schema}.op_%s(%s) returns %s language plpgsql as %L', r.n,
            concat_ws(', ', nullif(r.oprleft, 0)::regtype, r.oprright::regtype), r.oprresult::regtype,
            format('begin raise notice %L; return %s; end', '${CALLED}' || replace(r.called, '%', '%%'),
              case when r.oprresult = 'bool'::regtype then 'true'
                   when r.oprleft = 0 then format('operator(pg_catalog.%s) $1', r.oprname)
                   else format('$1 operator(pg_catalog.%s) $2', r.oprname) end));
          execute format('create operator ${schema}.%s (%s rightarg = %s, function = ${schema}.op_%s)', r.oprname,
            case when r.oprleft = 0 then '' else format('leftarg = %s,', r.oprleft::regtype) end, r.oprright::regtype, r.n);
        exception when others then
          null; -- of a pseudo-type that plpgsql does not take
        end;
      end loop;
      for r in
        select p.oid::regprocedure::text as called, p.proname, p.oid, p.prorettype, p.proretset, p.pronargs
          from pg_proc p
         where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and p.provariadic = 0
           and p.proname in (select m[1]
                               from pg_proc b
                              cross join regexp_matches(b.prosrc, '\\m([a-z_][a-z0-9_]*)\\s*\\(', 'g') m
                              where b.pronamespace in ('acme'::regnamespace, 'acme_private'::regnamespace))
      loop
        begin
          execute format('create function ${schema}.%I(%s) returns %s language plpgsql as %L', r.proname,
            pg_get_function_identity_arguments(r.oid), pg_get_function_result(r.oid),
            format('begin raise notice %L; %s; end', '${CALLED}' || replace(r.called, '%', '%%'),
              case when r.proretset then 'return' when r.prorettype = 'void'::regtype then 'return'
                   when r.prorettype = 'bool'::regtype then 'return true'
                   else format('return pg_catalog.%I(%s)', r.proname,
                               (select string_agg('$' || i, ', ') from generate_series(1, r.pronargs) i)) end));
        exception when others then
          null;
        end;
      end loop;
      for r in
        select c.relname
          from pg_class c
         where c.relnamespace = 'pg_catalog'::regnamespace
           and c.relname in (select m[1]
                               from pg_proc b
                              cross join regexp_matches(b.prosrc, '\\m(?:from|join)\\s+(pg_\\w+)', 'g') m
                              where b.pronamespace in ('acme'::regnamespace, 'acme_private'::regnamespace))
      loop
        execute format('create view ${schema}.%I as select *, ${schema}.seen(null::pg_catalog.text, %L) from pg_catalog.%I', r.relname,
                       r.relname, r.relname);
        execute format('grant select on ${schema}.%I to public', r.relname);
      end loop;
      foreach v_type in array array['text', 'int4', 'int8', 'timestamptz', 'interval', 'jsonb', 'bytea', 'uuid', 'xid8', 'name'] loop
        execute format('create domain ${schema}.%I as pg_catalog.%I check (${schema}.seen(value::pg_catalog.text, %L))',
                       v_type, v_type, 'type ' || v_type);
      end loop;
    end
    $make$`);
  await sql.unsafe(`
    create schema ${schema};
    grant usage on schema ${schema} to public;
    create function ${schema}.seen(pg_catalog.text, pg_catalog.text) returns boolean language plpgsql
      as $$ begin raise notice '${CALLED}%', $2; return true; end $$`);
  await make;
  const [made] = await sql<[{ count: number }]>`
    select (select count(*) from pg_operator where oprnamespace = ${schema}::regnamespace)::int
           + (select count(*) from pg_proc where pronamespace = ${schema}::regnamespace)::int as count`;
  return made.count;
}
