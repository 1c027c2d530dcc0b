-- The audit trail. No foreign keys: it outlives what it speaks of.
--
-- Events are read in the order (epoch, xid, id): ids alone are not in the order in which they become visible. A
-- transaction's number says when it can be passed (nothing below pg_snapshot_xmin is still to come), but starts anew
-- with each cluster. Hence the epoch: all events of an older one were committed before the first of the next was made
-- (acme_private.raise_epoch sees to that), and need no such test.

create table acme_private.event (
  id bigint generated always as identity,
  -- the same number as acme_private.epoch, as a constant: free for an insert, and no old snapshot can give a past one
  epoch bigint not null default 1,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp(),
  tenant text,
  event text not null,
  csr_id bigint,
  order_id bigint,
  account_id bigint,
  certificate_id bigint,
  worker_id bigint,
  detail jsonb,
  -- The order of reading is the key, in place of an index on id that nothing would use.
  constraint event_pkey primary key (epoch, xid, id)
);
create index event_csr_idx on acme_private.event (csr_id, id) where csr_id is not null;
create index event_account_idx on acme_private.event (account_id, id) where csr_id is null;
-- An application's new events may be among a million of others'.
create index event_tenant_idx on acme_private.event (tenant, epoch, xid, id);

-- One row: the current epoch.
create table acme_private.epoch (
  is_only boolean default true
    constraint epoch_pkey primary key
    constraint epoch_is_only_check check (is_only),
  epoch bigint not null default 1,
  raised_at timestamptz not null default now()
);
insert into acme_private.epoch default values;
