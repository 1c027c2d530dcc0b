-- Who ordered a certificate that was adopted, for what a renewal replaces (RFC 9773 §5). Fast.

alter table acme_private.account_state
  -- It came by an import: what another client ordered may be its.
  add column is_imported boolean not null default false;
update acme_private.account_state a
   set is_imported = true
 where exists (
   select from acme_private.event e
    where e.account_id = a.account_id and e.csr_id is null and e.event = 'account_imported');

alter table acme_private.certificate
  -- Of an adopted one, whose order is not here: the imported account that its adoption names. Null: nobody knows.
  add column account_id bigint;
