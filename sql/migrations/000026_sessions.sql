-- How workers see that one of them is dead: by its session in pg_stat_activity, which nobody can forge.

alter table acme_private.worker
  -- Whose session it is: with backend_pid and the beginning it names one session for ever. null: the beginning
  -- is not for acme_owner to see, which is no member of pg_read_all_stats.
  add column backend_user oid,
  add column backend_start timestamptz;
