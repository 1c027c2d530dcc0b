-- A csr may ask for the start of its certificates' validity, as for the end. Checks the table: a second with a million rows.

alter table acme.csr
  add column validity_start interval,
  -- A month counts 30 days here.
  add constraint csr_validity_ends_after_start check (validity > validity_start);
