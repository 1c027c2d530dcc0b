-- For speed with many rows, at INSERT and with a million of them (docs/performance.md). Fast, whatever
-- the number of rows.

-- Checked by a query and a row lock for each new row. That a csr_state goes with its csr is what triggers
-- see to (sql/api/30_triggers.sql). That a server stays while it is needed follows from its accounts:
-- each csr_state and each order names an account of it, and accounts restrict both.
alter table acme_private.csr_state drop constraint csr_state_csr_id_fkey;
alter table acme_private.csr_state drop constraint csr_state_server_id_fkey;
alter table acme_private."order" drop constraint order_server_id_fkey;

-- For the foreign key, when a solver is renamed or deleted.
create index csr_solver_idx on acme.csr (solver) where solver is not null;
