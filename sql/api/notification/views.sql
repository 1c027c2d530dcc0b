-- Events, as applications read them.

create or replace view acme.event with (security_invoker = true) as
select e.id, e.xid, e.at, e.tenant, e.event, e.csr_id, e.order_id, e.account_id, e.certificate_id, e.worker_id, e.detail,
       e.epoch
  from acme_private.event e;
comment on view acme.event is 'The audit trail: what was done, seen and decided, a line each.';
