-- What sessions of anyone can do to pgacme that no grant takes from them, and whose they are.

-- Since when an event waits for a transaction that began to write before it; null: none waits.
create or replace function acme_private.changes_frozen_since() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select e.at
    from acme_private.event e
   where (e.epoch, e.xid) >= (select n.epoch, pg_snapshot_xmin(pg_current_snapshot()) from acme_private.epoch n)
   order by e.epoch, e.xid, e.id
   limit 1
$$;
comment on function acme_private.changes_frozen_since() is
  'Since when acme.changes holds an event back for a transaction that is still open; null: it holds none back.';

-- Who has the oldest transaction that writes, in whatever database: its number is a lock, which everyone may see.
create or replace function acme_private.oldest_writer()
returns table (pid int, login text, database text, since timestamptz, prepared text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select l.pid, a.usename::text, a.datname::text, a.xact_start, null
    from pg_locks l
    left join pg_stat_activity a on a.pid = l.pid
   where l.locktype = 'transactionid' and l.granted and l.mode = 'ExclusiveLock' and l.pid is not null
     and l.transactionid = pg_snapshot_xmin(pg_current_snapshot())::xid
  union all
  select null, p.owner::text, p.database::text, p.prepared, p.gid
    from pg_prepared_xacts p
   where p.transaction = pg_snapshot_xmin(pg_current_snapshot())::xid
  limit 1
$$;
comment on function acme_private.oldest_writer() is
  'The session, or the prepared transaction, whose transaction that writes is the oldest one of the server.';

-- Who keeps the server's queue of notifications from being emptied: a session that listens reads them between
-- transactions only. Which sessions listen nobody can see; the oldest open transaction of this database is the
-- one to look at. Without pg_read_all_stats no beginning is seen, and so none is named.
create or replace function acme_private.oldest_transaction()
returns table (pid int, login text, since timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select a.pid, a.usename::text, a.xact_start
    from pg_stat_activity a
   where a.datname = current_database() and a.backend_type = 'client backend' and a.xact_start is not null
     and a.pid <> pg_backend_pid()
   order by a.xact_start
   limit 1
$$;
comment on function acme_private.oldest_transaction() is
  'The session of this database whose transaction is the oldest one, as far as acme_owner may see.';

-- Logins that may leave a transaction open for as long as they like. p_default: what the server sets for a login
-- that has no setting of its own, as the caller sees it.
create or replace function acme_private.unbounded_logins(p_default text) returns text[]
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(quote_ident(r.rolname) order by r.rolname), '{}')
    from pg_roles r
   cross join lateral (
     select coalesce((
       select split_part(c.entry, '=', 2)
         from pg_db_role_setting s
        cross join lateral unnest(s.setconfig) c (entry)
        where s.setrole in (r.oid, 0) and s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
          and c.entry like 'idle_in_transaction_session_timeout=%'
        -- (that of the login in this database, of the login, of the database)
        order by s.setrole <> 0 desc, s.setdatabase <> 0 desc
        limit 1), p_default) as timeout
   ) is_set
   where r.rolcanlogin and not r.rolsuper
     and is_set.timeout ~ '^0'
     and (pg_has_role(r.oid, 'acme_app', 'member') or pg_has_role(r.oid, 'acme_reader', 'member'))
$$;
comment on function acme_private.unbounded_logins(text) is
  'The logins of applications whose transactions no time-out ends (idle_in_transaction_session_timeout).';
