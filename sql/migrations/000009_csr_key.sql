-- Deleting a csr is left to a trigger (_500_delete on acme.csr). PostgreSQL checks a foreign key again,
-- with a lock on the row that it refers to, when a row is updated twice in one transaction: an
-- application that had its own row of acme.csr locked, or was deleting it, held up the dispatcher.
alter table acme_private.csr_state drop constraint csr_state_csr_id_fkey;
