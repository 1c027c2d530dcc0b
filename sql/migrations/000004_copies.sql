-- A copy of the database is told from what was set up by acme_private.installation. Cluster and name can
-- be seen in SQL; the environment is a worker's, who says it here when it starts.
-- '': it has none. null: a worker of an earlier version, which does not say.
alter table acme_private.worker
  add column environment text;
