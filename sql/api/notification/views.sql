-- Events, as applications read them.

create or replace view acme.event with (security_invoker = true) as
select e.id, e.xid, e.at, e.tenant, e.event, e.csr_id, e.order_id, e.account_id, e.certificate_id, e.worker_id, e.detail,
       e.epoch
  from acme_private.event e;
comment on view acme.event is 'The audit trail: what was done, seen and decided, a line each.';
comment on column acme.event.id is 'Given by the database; not in the order of commits. Read events with acme.changes.';
comment on column acme.event.xid is 'The transaction that wrote it.';
comment on column acme.event.at is 'When it was written.';
comment on column acme.event.tenant is 'The tenant; null: of the installation.';
comment on column acme.event.event is 'What happened; docs/sql.md lists the events.';
comment on column acme.event.csr_id is 'The csr that it is of.';
comment on column acme.event.order_id is 'The order that it is of.';
comment on column acme.event.account_id is 'The account that it is of.';
comment on column acme.event.certificate_id is 'The certificate that it is of.';
comment on column acme.event.worker_id is 'The worker that wrote it.';
comment on column acme.event.detail is 'What else is known, as JSON.';
comment on column acme.event.epoch is 'Counts restores of the database: part of the order of events.';
