-- A database that was restored from a backup looks at what its servers have that it does not know. Fast.

alter table acme_private.account_state
  -- Since when its list of orders is to be read; it gets no new orders before. Null: there is nothing to read.
  add column reread_since timestamptz,
  -- How many orders the list had (null: it was not read yet), and how many certificates were found by it.
  add column reread_listed int,
  add column reread_found int not null default 0;

-- Orders of accounts' lists that the database does not know and no worker has looked at yet.
create table acme_private.listed_order (
  account_id bigint not null references acme.account (id) on delete cascade,
  url text not null,
  primary key (account_id, url)
);

-- A certificate that is found is the csr's, whatever it waited for.
insert into acme_private.transition (kind, from_state, to_state) values
  ('csr', 'queued', 'issued'), ('csr', 'retrying', 'issued'), ('csr', 'needs_person', 'issued');
