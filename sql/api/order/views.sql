-- What applications read. All views run with the reader's rights (security_invoker): row-level
-- security of the tables below decides which rows are seen.

create or replace view acme."order" with (security_invoker = true) as
select o.id, o.csr_id, o.tenant, o.server_id, o.account_id, o.state, o.identifiers, o.profile,
       o.url, o.finalize_url, o.certificate_url, o.expires_at, o.next_attempt_at, o.attempts,
       o.reason_code, o.reason, o.last_problem, o.created_at, o.finished_at
  from acme_private."order" o;
comment on view acme."order" is 'ACME orders (RFC 8555 §7.1.3): one try each to get a certificate for a csr.';

create or replace view acme.order_authorization with (security_invoker = true) as
select oa.order_id, oa.authorization_id
  from acme_private.order_authorization oa;
comment on view acme.order_authorization is 'Which authorizations an order needs.';
