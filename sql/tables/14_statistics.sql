-- ANALYZE keeps samples of values, and EXPLAIN's estimates for a tenant's query are made from all tenants' samples where the
-- comparison is leakproof, as those of text and bytea are: by trying values one finds the samples. So nothing is kept of
-- columns with names, addresses and sentences. Nothing is planned by them but look-ups by index.

alter table acme.csr
  alter column ref set statistics 0,
  alter column pem set statistics 0,
  alter column chain_pem set statistics 0,
  alter column account set statistics 0,
  alter column profile set statistics 0,
  alter column preferred_chain set statistics 0,
  alter column renew_reason set statistics 0,
  alter column cancel_reason set statistics 0,
  alter column labels set statistics 0;
alter table acme_private.csr_state
  alter column ref set statistics 0,
  alter column profile set statistics 0,
  alter column reason set statistics 0,
  alter column last_problem set statistics 0;
alter table acme_private."order"
  alter column profile set statistics 0,
  alter column url set statistics 0,
  alter column finalize_url set statistics 0,
  alter column certificate_url set statistics 0,
  alter column reason set statistics 0,
  alter column last_problem set statistics 0;
alter index acme_private.order_live_names_key alter column 3 set statistics 0;
alter table acme_private.authorization
  alter column url set statistics 0,
  alter column identifier set statistics 0,
  alter column reason set statistics 0,
  alter column last_problem set statistics 0;
alter index acme_private.authorization_url_key alter column 2 set statistics 0;
alter index acme_private.authorization_identifier_idx alter column 2 set statistics 0;
alter table acme_private.challenge
  alter column url set statistics 0,
  alter column token set statistics 0,
  alter column error set statistics 0;
alter index acme_private.challenge_url_key alter column 2 set statistics 0;
alter table acme_private.record
  alter column identifier set statistics 0,
  alter column token set statistics 0,
  alter column value set statistics 0;
alter table acme_private.certificate
  alter column leaf_pem set statistics 0,
  alter column chain_pem set statistics 0,
  alter column subject set statistics 0,
  alter column issuer set statistics 0,
  alter column serial set statistics 0,
  alter column spki_sha256 set statistics 0,
  alter column fingerprint_sha256 set statistics 0,
  alter column reason set statistics 0,
  alter column last_problem set statistics 0;
alter table acme_private.certificate_name
  alter column name set statistics 0;
alter index acme_private.certificate_name_reverse_idx alter column 1 set statistics 0;
alter table acme_private.event
  alter column detail set statistics 0;
alter table acme_private.closure
  alter column reason set statistics 0;
alter table acme.revocation_request
  alter column reason set statistics 0,
  alter column requested_by set statistics 0;
alter table acme.deactivation_request
  alter column requested_by set statistics 0;
