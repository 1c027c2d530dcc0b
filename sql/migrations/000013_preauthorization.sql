-- Authorizations that are asked for before there is an order (RFC 8555 §7.4.1). The check and an index of one
-- table are made anew, seconds with a million rows.

alter table acme_private.authorization
  -- It is proved for its own sake: acme.preauthorize asked for it.
  add column is_preauthorization boolean not null default false,
  add column solver text,
  -- The server has none yet.
  alter column url drop not null,
  drop constraint authorization_state_is_known,
  add constraint authorization_state_is_known check (state in ('new', 'pending', 'valid', 'deactivating', 'invalid',
    'deactivated', 'expired', 'revoked')),
  add constraint authorization_made_has_url check (url is not null or is_preauthorization or state in ('deactivated')),
  add constraint authorization_new_has_name check (state <> 'new' or identifier is not null);
create index authorization_open_idx_2 on acme_private.authorization (id) where state in ('new', 'pending', 'deactivating');
drop index acme_private.authorization_open_idx;
alter index acme_private.authorization_open_idx_2 rename to authorization_open_idx;
create index authorization_preauthorization_idx on acme_private.authorization (account_id, tenant) where is_preauthorization;

insert into acme_private.transition (kind, from_state, to_state) values
  ('authorization', 'new', 'pending'), ('authorization', 'new', 'invalid'), ('authorization', 'new', 'expired'),
  ('authorization', 'new', 'deactivated');

insert into acme_private.step (kind, state, step) values
  ('authorization', 'new', 'prove');
