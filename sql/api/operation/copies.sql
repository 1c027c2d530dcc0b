-- A copy of the database (a clone under a new name, dump and restore, another PGACME_ENVIRONMENT) has the
-- accounts and the orders of its original. It is held: workers get no claims, until adopt_database().
--
-- Nothing is remembered between calls: what is, is compared with what was set up at each gate through
-- which work comes to a worker (claim, dispatch, attend, pass_on). A flag would be copied with the
-- database, and a worker that reconnects may find itself on a copy. One look costs 0.03 ms, half of it
-- for pg_control_system(), which everybody may call and which reads a file of 8 kB.

-- Must this worker get no work? A worker that has not reported its environment yet is not compared.
create or replace function acme_private.is_held(p_worker bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select i.system_identifier <> c.system_identifier::text
           or i.database_name <> current_database()
           or exists (select from acme_private.worker w
                       where w.id = p_worker and w.environment <> coalesce(i.environment, ''))
      from acme_private.installation i
     cross join pg_control_system() c);
end
$$;

-- The same as a sentence; null: nothing differs. p_environment: '' is none, null is not compared.
create or replace function acme_private.hold_sentence(p_environment text) returns text
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_elsewhere boolean;
  v_differences text;
begin
  select x.is_elsewhere, concat_ws(', ',
           case when i.system_identifier <> c.system_identifier::text then 'on another PostgreSQL cluster' end,
           case when i.database_name <> current_database()
                then format('under the name %s (here %s)', i.database_name, current_database()) end,
           case when p_environment <> coalesce(i.environment, '')
                then format('%s (its worker has %s)', coalesce('with PGACME_ENVIRONMENT ' || i.environment, 'without PGACME_ENVIRONMENT'),
                            coalesce(nullif(p_environment, ''), 'none')) end)
    into v_is_elsewhere, v_differences
    from acme_private.installation i
   cross join pg_control_system() c
   cross join lateral (
     select i.system_identifier <> c.system_identifier::text or i.database_name <> current_database() as is_elsewhere
   ) x;
  if v_differences <> '' then
    return format('The database is held as a copy: it was set up %s. Nothing goes to a CA from here until pgacme adopt-database is run%s.',
                  v_differences, case when not v_is_elsewhere then ', or the worker has the right PGACME_ENVIRONMENT' end);
  end if;
  return null;
end
$$;

-- For whoever looks at the database from outside of a worker: is it a copy, or are all the workers that
-- run of another environment?
create or replace function acme_private.hold() returns text
language plpgsql stable parallel safe security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return acme_private.hold_sentence((
    select w.environment
      from acme_private.worker w
     cross join acme_private.installation i
     where w.stopped_at is null and w.lost_at is null and w.heartbeat_at > now() - interval '30 seconds'
     order by coalesce(w.environment = coalesce(i.environment, ''), true) desc, w.id desc
     limit 1));
end
$$;
comment on function acme_private.hold() is
  'Why nothing goes to a CA from this database, as a sentence; null: it is the one that was set up.';

-- A worker says which environment it is of, and hears why it gets no work; null: it does get some. While
-- it is held this is its sign of life, too.
create or replace function acme_private.worker_hold(p_worker bigint, p_environment text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update acme_private.worker
     set environment = coalesce(p_environment, ''), heartbeat_at = clock_timestamp()
   where id = p_worker and stopped_at is null and lost_at is null;
  return acme_private.hold_sentence(coalesce(p_environment, ''));
end
$$;
comment on function acme_private.worker_hold(bigint, text) is
  'Records a worker''s PGACME_ENVIRONMENT and says why it gets no work; null: it gets some.';

-- Makes what is what was set up. Returns both as {was, is}; null: nothing differed, nothing was done.
-- Granted to nobody: acme_owner says what the database is, as it did at the first migrate.
create or replace function acme_private.adopt_database(p_environment text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_was jsonb;
  v_is jsonb;
begin
  perform from acme_private.installation for update;
  select jsonb_build_object('system_identifier', i.system_identifier, 'database_name', i.database_name, 'environment', i.environment),
         jsonb_build_object('system_identifier', c.system_identifier::text, 'database_name', current_database(), 'environment', p_environment)
    into v_was, v_is
    from acme_private.installation i
   cross join pg_control_system() c;
  if v_was = v_is then
    return null;
  end if;
  update acme_private.installation
     set system_identifier = v_is ->> 'system_identifier', database_name = v_is ->> 'database_name', environment = p_environment;
  -- Events go other ways from here on than in the original: readers of its events must not go on here.
  perform acme_private.raise_epoch();
  perform acme_private.note('database_adopted', null, p_detail => jsonb_build_object('was', v_was, 'is', v_is));
  -- Whatever was woken while the database was held found nothing to do. The caller has reconcile() wake the
  -- rest in a transaction of its own: raise_epoch() keeps commits of workers waiting until this one ends,
  -- and reconcile() waits for what they hold.
  perform acme_private.wake_dispatch();
  return jsonb_build_object('was', v_was, 'is', v_is);
end
$$;
comment on function acme_private.adopt_database(text) is
  'Makes a copied database one of its own, for workers of this environment. For acme_owner: pgacme adopt-database.';
