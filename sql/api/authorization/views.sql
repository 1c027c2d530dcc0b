-- Authorizations and challenges, as applications read them.

create or replace view acme.authorization with (security_invoker = true) as
select a.id, a.tenant, a.account_id, a.url, a.state, a.identifier, a.is_wildcard, a.expires_at,
       a.next_attempt_at, a.attempts, a.reason_code, a.reason, a.last_problem, a.created_at, a.updated_at,
       a.is_preauthorization
  from acme_private.authorization a;
comment on view acme.authorization is
  'ACME authorizations (RFC 8555 §7.1.4); orders share them. Those that acme.preauthorize asked for are there before any order.';
comment on column acme.authorization.id is 'Given by the database.';
comment on column acme.authorization.tenant is 'The tenant that it belongs to.';
comment on column acme.authorization.account_id is 'The account whose authorization it is.';
comment on column acme.authorization.url is 'Its URL at the server; null: not made yet.';
comment on column acme.authorization.state is 'new, pending, valid, deactivating, invalid, deactivated, expired, revoked (RFC 8555 §7.1.6).';
comment on column acme.authorization.identifier is 'The name or address that it authorizes, without *.';
comment on column acme.authorization.is_wildcard is 'True: for the wildcard of identifier.';
comment on column acme.authorization.expires_at is 'When it expires at the server; null: that is not known.';
comment on column acme.authorization.next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme.authorization.attempts is 'How many attempts in a row met a transient error.';
comment on column acme.authorization.reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme.authorization.reason is 'The same as a sentence.';
comment on column acme.authorization.last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme.authorization.created_at is 'When it was inserted.';
comment on column acme.authorization.updated_at is 'When its state changed last.';
comment on column acme.authorization.is_preauthorization is 'True: acme.preauthorize asked for it.';

create or replace view acme.challenge with (security_invoker = true) as
select c.id, c.authorization_id, c.tenant, c.url, c.type, c.token, c.state, c.error, c.created_at
  from acme_private.challenge c;
comment on view acme.challenge is 'ACME challenges that were chosen to prove an authorization (RFC 8555 §8).';
comment on column acme.challenge.id is 'Given by the database.';
comment on column acme.challenge.authorization_id is 'The authorization, by its id in acme.authorization.';
comment on column acme.challenge.tenant is 'The tenant that it belongs to.';
comment on column acme.challenge.url is 'Its URL at the server.';
comment on column acme.challenge.type is 'http-01 … (RFC 8555 §8).';
comment on column acme.challenge.token is 'The token (RFC 8555 §8.3).';
comment on column acme.challenge.state is 'pending, processing, valid, invalid.';
comment on column acme.challenge.error is 'Why its validation failed (RFC 8555 §8).';
comment on column acme.challenge.created_at is 'When it was inserted.';
