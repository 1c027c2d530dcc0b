-- For speed with many rows, at INSERT and with a million of them (docs/performance.md). Fast, whatever
-- the number of rows.

-- Checked by a query and a row lock for each new row; and again when a row is updated twice in one
-- transaction, so that an application that had its own row of acme.csr locked, or was deleting it, held
-- up the dispatcher. That a csr_state goes with its csr is what a trigger sees to (sql/api/30_triggers.sql).
alter table acme_private.csr_state drop constraint csr_state_csr_id_fkey;

-- Each certificate locked the row of its account three times over, and all that were under way at once
-- the same row: PostgreSQL keeps the list of those who do, and writes it anew for each. A trigger keeps
-- an account that is needed (sql/api/30_triggers.sql), and an account keeps its server.
alter table acme_private.csr_state drop constraint csr_state_account_id_fkey;
alter table acme_private.csr_state drop constraint csr_state_server_id_fkey;
alter table acme_private."order" drop constraint order_account_id_fkey;
alter table acme_private."order" drop constraint order_server_id_fkey;
alter table acme_private.authorization drop constraint authorization_account_id_fkey;
-- For those keys alone, and written anew with each change of a csr's state.
drop index acme_private.csr_state_account_idx;

-- For the foreign key, when a solver is renamed or deleted.
create index csr_solver_idx on acme.csr (solver) where solver is not null;

-- csr_status and current_certificate by ref: csr_state_ref_key holds the live ones only.
create index csr_state_ref_idx on acme_private.csr_state (ref) where ref is not null;

-- Who holds a name above or below another one. By registered domain alone every name of a platform that
-- gives each customer a subdomain was read for each new one. Reversed, what is below a name is a range.
drop index acme_private.identifier_claim_domain_idx;
create index identifier_claim_reverse_idx on acme_private.identifier_claim (reverse(name) collate "C");

-- What moves with every certificate leaves dead entries in the small indexes that every step reads (live
-- orders, queued csrs). The default, a fifth of the table, would let 200,000 of them gather among a
-- million finished rows.
alter table acme_private.csr_state set
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02);
alter table acme_private."order" set
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02);
alter table acme_private.authorization set
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02);
alter table acme_private.challenge set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
alter table acme_private.record set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
alter table acme_private.request set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
alter table acme_private.account_state set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 100);
