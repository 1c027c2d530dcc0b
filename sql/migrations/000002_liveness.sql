-- How workers see that one of them is dead: each holds an advisory lock on a connection of its own.

alter table acme_private.worker
  -- The backend of that connection. null: a worker that holds none, from before this migration; its
  -- leases run out by themselves.
  add column backend_pid int,
  -- What graphile-worker calls this worker's pool: the jobs that it has taken are locked under it.
  add column pool_id text,
  -- When another worker found it dead and freed what it held.
  add column lost_at timestamptz;
