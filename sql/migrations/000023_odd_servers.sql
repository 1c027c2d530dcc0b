-- What servers do beside the protocol: URLs that are not known for a moment, orders that lag behind their
-- authorizations, and orders that stay in processing when nobody wants their certificate any more.

alter table acme_private."order"
  -- since when the server has it: a URL that is minutes old may be unknown to one of its replicas
  add column made_at timestamptz,
  -- Its csr was cancelled when the server had the CSR: it is polled until then, and what comes is stored as unwanted.
  -- It is not live: it holds no slot, no names, and is not its csr's order any more.
  add column watched_until timestamptz,
  add constraint order_watched_is_cancelled check (watched_until is null or state = 'cancelled');
create index order_watched_idx on acme_private."order" (id) where watched_until is not null;

alter table acme_private.certificate
  -- came after its csr was cancelled: it is nobody's current certificate, and never was
  add column is_unwanted boolean not null default false;

insert into acme_private.transition (kind, from_state, to_state) values
  ('order', 'finalizing', 'cancelled'), ('order', 'downloading', 'cancelled');
