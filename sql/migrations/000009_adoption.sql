-- Certificates that another client ordered are taken in, with the CSR that they were ordered with.

alter table acme.csr
  -- Only on its way in: a trigger moves it to acme_private.adoption.
  add column chain_pem text
    constraint csr_chain_pem_is_moved check (chain_pem is null);

-- Chains that a worker has not looked at yet, or found not to be the csr's. No foreign key, as for all that
-- is inserted with a csr (000005_growth.sql): a trigger deletes what belongs to a deleted one.
create table acme_private.adoption (
  csr_id bigint primary key,
  chain_pem text not null,
  created_at timestamptz not null default now()
);

-- Null: no order of ours brought it.
alter table acme_private.certificate alter column order_id drop not null;

insert into acme_private.transition (kind, from_state, to_state) values
  ('csr', 'received', 'issued');
