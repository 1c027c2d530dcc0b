-- How workers see that one of them is dead: each holds an advisory lock on a connection of its own. And
-- fewer commits for each certificate.

alter table acme_private.worker
  -- The backend of that connection. null: a worker that holds none, from before this migration; its
  -- leases run out by themselves.
  add column backend_pid int,
  -- What graphile-worker calls this worker's pool: the jobs that it has taken are locked under it.
  add column pool_id text,
  -- When another worker found it dead and freed what it held.
  add column lost_at timestamptz;

-- A worker that finalized goes on to the certificate without a commit between the two: a look at the
-- order tells after a crash what came of it.
insert into acme_private.transition (kind, from_state, to_state) values
  ('order', 'ready', 'issued'), ('order', 'finalizing', 'issued');
