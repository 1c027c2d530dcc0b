-- What applications read. All views run with the reader's rights (security_invoker): row-level
-- security of the tables below decides which rows are seen.

create or replace view acme."order" with (security_invoker = true) as
select o.id, o.csr_id, o.tenant, o.server_id, o.account_id, o.state, o.identifiers, o.profile,
       o.url, o.finalize_url, o.certificate_url, o.expires_at, o.next_attempt_at, o.attempts,
       o.reason_code, o.reason, o.last_problem, o.created_at, o.finished_at
  from acme_private."order" o;
comment on view acme."order" is 'ACME orders (RFC 8555 §7.1.3): one try each to get a certificate for a csr.';
comment on column acme."order".id is 'Given by the database.';
comment on column acme."order".csr_id is 'The csr, by its id in acme.csr.';
comment on column acme."order".tenant is 'The tenant that it belongs to.';
comment on column acme."order".server_id is 'The server, by its id in acme.server.';
comment on column acme."order".account_id is 'The account that ordered it.';
comment on column acme."order".state is 'creating, authorizing, ready, finalizing, downloading, issued, failed, cancelled.';
comment on column acme."order".identifiers is 'Its names, sorted.';
comment on column acme."order".profile is 'The profile that is asked for; null: the server''s default.';
comment on column acme."order".url is 'Its URL at the server.';
comment on column acme."order".finalize_url is 'Where its CSR is sent (RFC 8555 §7.4).';
comment on column acme."order".certificate_url is 'Where its certificate is.';
comment on column acme."order".expires_at is 'When it expires at the server.';
comment on column acme."order".next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme."order".attempts is 'How many attempts in a row met a transient error.';
comment on column acme."order".reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme."order".reason is 'The same as a sentence.';
comment on column acme."order".last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme."order".created_at is 'When it was inserted.';
comment on column acme."order".finished_at is 'When it ended; null: it is under way.';

create or replace view acme.order_authorization with (security_invoker = true) as
select oa.order_id, oa.authorization_id
  from acme_private.order_authorization oa;
comment on view acme.order_authorization is 'Which authorizations an order needs.';
comment on column acme.order_authorization.order_id is 'The order, by its id in acme.order.';
comment on column acme.order_authorization.authorization_id is 'An authorization of it, by its id in acme.authorization.';
