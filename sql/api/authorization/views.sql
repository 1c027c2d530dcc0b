-- Authorizations and challenges, as applications read them.

create or replace view acme.authorization with (security_invoker = true) as
select a.id, a.tenant, a.account_id, a.url, a.state, a.identifier, a.is_wildcard, a.expires_at,
       a.next_attempt_at, a.attempts, a.reason_code, a.reason, a.last_problem, a.created_at, a.updated_at,
       a.is_preauthorization
  from acme_private.authorization a;
comment on view acme.authorization is
  'ACME authorizations (RFC 8555 §7.1.4); orders share them. Those that acme.preauthorize asked for are there before any order.';

create or replace view acme.challenge with (security_invoker = true) as
select c.id, c.authorization_id, c.tenant, c.url, c.type, c.token, c.state, c.error, c.created_at
  from acme_private.challenge c;
comment on view acme.challenge is 'ACME challenges that were chosen to prove an authorization (RFC 8555 §8).';
