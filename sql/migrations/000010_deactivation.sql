-- Authorizations that are given up on request (RFC 8555 §7.5.2), as when a domain is sold. The check and an
-- index of one table are made anew, seconds with a million rows.

-- What applications asked for and no worker has seen yet; workers take the rows away. No foreign key: it would
-- lock the workers' row for as long as the application's transaction lasts.
create table acme.deactivation_request (
  id bigint generated always as identity primary key,
  -- The authorization's: acme_private.tg_deactivation_request__insert
  tenant text not null,
  authorization_id bigint not null,
  requested_by text not null default session_user,
  created_at timestamptz not null default now()
);
create index deactivation_request_authorization_idx on acme.deactivation_request (authorization_id);

alter table acme_private.authorization
  drop constraint authorization_state_is_known,
  add constraint authorization_state_is_known check (state in ('pending', 'valid', 'deactivating', 'invalid',
    'deactivated', 'expired', 'revoked'));
create index authorization_open_idx on acme_private.authorization (id) where state in ('pending', 'deactivating');
drop index acme_private.authorization_pending_idx;

insert into acme_private.transition (kind, from_state, to_state) values
  ('authorization', 'pending', 'deactivating'), ('authorization', 'valid', 'deactivating'),
  ('authorization', 'deactivating', 'deactivated'), ('authorization', 'deactivating', 'invalid'),
  ('authorization', 'deactivating', 'expired'), ('authorization', 'deactivating', 'revoked');

insert into acme_private.step (kind, state, step) values
  ('authorization', 'deactivating', 'prove');
