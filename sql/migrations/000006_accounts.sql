-- The life of an account after its registration: changes that reach the server, binding to an external
-- account, key roll-over, deactivation.

alter table acme.account
  add column eab_kid text
    constraint account_eab_kid_is_short check (length(eab_kid) between 1 and 500),
  -- Only on its way in: a trigger moves it to acme_private.account_eab.
  add column eab_hmac text,
  -- What the server is told, or asked, of the account; the other changes of version are ours.
  add column details_version bigint not null default 1,
  add column terms_request bigint,
  add column verify_request bigint,
  add column roll_over_request bigint,
  add column deactivate_request bigint;

alter table acme_private.account_state
  -- acme.account.version as of what the server was told, and as of the last roll-over.
  add column told_version bigint not null default 1,
  add column rolled_version bigint not null default 1,
  -- Since when it rolls over or is to be deactivated.
  add column since timestamptz,
  -- When the server last knew the key and gave this URL for it.
  add column verified_at timestamptz,
  -- RFC 7638, of the current key: how logs and events call it.
  add column thumbprint text,
  drop constraint account_state_is_known,
  add constraint account_state_is_known check (state in ('new', 'registering', 'valid', 'rolling_over', 'deactivating',
    'deactivated', 'revoked'));
update acme.account set details_version = version;
update acme_private.account_state s
   set told_version = a.version, rolled_version = a.version,
       thumbprint = (select k.thumbprint from acme_private.account_key k where k.account_id = a.id)
  from acme.account a
 where a.id = s.account_id;

-- One current key for each account; while it rolls over also the one that it is to have. What was replaced
-- is known by its hashes alone: a key that was an account's is never one again (RFC 8555 §11.1). What a server
-- was sent and did not take is kept, sealed.
alter table acme_private.account_key
  drop constraint account_key_pkey,
  add column id bigint generated always as identity primary key,
  add column state text not null default 'current'
    constraint account_key_state_is_known check (state in ('current', 'pending', 'retired')),
  add column retired_at timestamptz,
  -- Of a pending one: what standbys must have of the log, and since when the server may know it.
  add column position pg_lsn,
  add column sent_at timestamptz,
  alter column jwe drop not null,
  add constraint account_key_in_use_is_kept check (state = 'retired' or jwe is not null);
create unique index account_key_current_key on acme_private.account_key (account_id) where state = 'current';
create unique index account_key_pending_key on acme_private.account_key (account_id) where state = 'pending';
create index account_key_account_idx on acme_private.account_key (account_id);

-- Why it was cancelled, where not an application asked for it.
alter table acme.csr add column cancel_reason text;

-- The HMAC key of an external account binding, sealed. Nobody is granted anything here.
create table acme_private.account_eab (
  account_id bigint primary key references acme.account (id) on delete cascade deferrable initially deferred,
  jwe text not null
);

-- Live orders of one account: what a roll-over or a deactivation waits for.
create index order_live_account_idx on acme_private."order" (account_id) where is_live;

insert into acme_private.transition (kind, from_state, to_state) values
  ('account', 'valid', 'rolling_over'), ('account', 'rolling_over', 'valid'),
  ('account', 'rolling_over', 'registering'), ('account', 'rolling_over', 'deactivated'), ('account', 'rolling_over', 'revoked'),
  ('account', 'valid', 'deactivating'), ('account', 'rolling_over', 'deactivating'), ('account', 'registering', 'deactivating'),
  ('account', 'deactivating', 'deactivated'), ('account', 'deactivating', 'revoked'),
  ('account', 'new', 'deactivated');

insert into acme_private.step (kind, state, step) values
  ('account', 'rolling_over', 'register'),
  ('account', 'deactivating', 'register');
