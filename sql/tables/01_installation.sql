-- pgacme's tables, in the order in which they are created. Schema acme is what applications see;
-- acme_private belongs to the workers. Two rules shape them (docs/design.md):
--   * Applications write acme.csr; workers write acme_private.csr_state. Never the same row.
--   * Columns that change often (state, times, lease) are apart from long ones (PEM text).
--
-- The tables of work (account_state, csr_state, "order", authorization, certificate) share these columns:
--   next_attempt_at     do nothing before this time; null: do it when something wakes a worker
--   attempts            attempts in a row that met a transient error
--   waiting_since       since when a server has been busy with it: it is polled less and less often
--   reason_code, reason, last_problem   why it waits or ended
--   lease_token, lease_until, lease_worker   the lease of the worker that holds it
--   claims              leases taken since the last commit: a row that kills workers is quarantined
--
-- EXPLAIN (ANALYZE) counts the rows that an index finds and row-level security then removes. So an index of a table that
-- applications read begins with the tenant where it has names. One of states or times has the tenant among its keys.
-- The others hold ids only, or are of no use to a tenant's query: their condition names a column that applications may not
-- select (is_live of an order), or they hold reverse(name), which is not leakproof and so is compared after the tenant is.
-- (test/sql/names-of-others.test.ts)

create schema acme;
create schema acme_private;
comment on schema acme is 'pgacme: certificate requests, certificates and their state. For applications and administrators.';
comment on schema acme_private is 'pgacme: the state and the functions of the workers. Nothing here is a public interface.';

-- What has run: sql/tables, then each file of sql/migrations. sql/api is one entry, which runs again when its hash changes.
create table acme_private.migration (
  name text
    constraint migration_pkey primary key,
  sha256 text not null,
  applied_at timestamptz not null default now()
);

-- One row: the recorded identity of this database, by which a copy is recognised (sql/api/operation/copies.sql).
create table acme_private.installation (
  is_only boolean default true
    constraint installation_pkey primary key
    constraint installation_is_only_check check (is_only),
  system_identifier text not null,
  database_name text not null,
  -- PGACME_ENVIRONMENT of the first migrate; null: none
  environment text,
  -- the schema of graphile-worker
  worker_schema text not null,
  created_at timestamptz not null default now()
);

-- Locks between workers are rows: any login can take an advisory lock.
create table acme_private.lock (
  name text
    constraint lock_pkey primary key
);
insert into acme_private.lock (name) values ('dispatch'), ('reconcile');

-- Processes that signed in.
create table acme_private.worker (
  id bigint generated always as identity
    constraint worker_pkey primary key,
  host text not null,
  pid int not null,
  version text not null,
  -- '': it has none; null: it has not reported one yet
  environment text,
  concurrency int not null,
  -- Its session, by which another worker sees that it is lost: nobody can forge pg_stat_activity. backend_start is null
  -- where acme_owner may not see it (pg_read_all_stats).
  backend_pid int,
  backend_user oid,
  backend_start timestamptz,
  -- graphile-worker's name for this worker's pool: jobs that it has taken are locked under it.
  pool_id text,
  started_at timestamptz not null default now(),
  heartbeat_at timestamptz not null default now(),
  -- where it answers http-01, as host:port; null: it does not
  http01 text,
  -- whether its sealing key opens the account keys of this database; null: there was none when it started
  opens_keys boolean,
  -- how far its clock was ahead of the database's at its last sign of life; negative: behind
  clock_ahead interval,
  -- when it signed out
  stopped_at timestamptz,
  -- when another worker found it lost and released what it held
  lost_at timestamptz
);

-- Where the last turn of something that goes round the tenants ended.
create table acme_private.turn (
  name text
    constraint turn_pkey primary key,
  tenant text not null default ''
);
insert into acme_private.turn (name) values ('judge');

-- What admitting a csr brought: its order, where it was in the turns of (account, tenant), and its claim.
create type acme_private.admitted as (order_id bigint, account_id bigint, tenant text, claim jsonb);
