-- What acme.changes() and acme.stuck need.
--
-- Events are read in the order (epoch, xid, id): a sequence alone is no order in which they become
-- visible. A transaction's number says when it can be passed by (nothing below pg_snapshot_xmin is still
-- to come), but starts anew with each cluster: a dump that is restored elsewhere has events with numbers
-- that are yet to come there. Therefore the epoch: all events of an older one were committed before the
-- first of the next was made (acme_private.raise_epoch sees to that), and need no such test.

-- The current epoch. The default of event.epoch is the same number, as a constant: it costs an insert
-- nothing, and no snapshot can show a session an old one.
create table acme_private.epoch (
  is_only boolean primary key default true check (is_only),
  epoch bigint not null default 1,
  raised_at timestamptz not null default now()
);
insert into acme_private.epoch default values;

alter table acme_private.event add column epoch bigint not null default 1;

-- The primary key was (id), which nothing looks up: in its place this order costs no further index. With
-- the tenant in front it serves applications, whose own new events may stand among a million of others'.
alter table acme_private.event
  drop constraint event_pkey,
  add constraint event_pkey primary key (epoch, xid, id);
create index event_tenant_idx on acme_private.event (tenant, epoch, xid, id);
