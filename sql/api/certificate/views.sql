-- Certificates, as applications read them.

-- (That one has expired is read off its end: nothing has to write a row for it.)
create or replace view acme.certificate with (security_invoker = true) as
select c.id, c.csr_id, c.tenant, c.order_id,
       case when c.state in ('current', 'superseded') and c.not_after <= acme_private.clock() then 'expired' else c.state end as state,
       c.identifiers, c.leaf_pem, c.chain_pem, c.subject, c.issuer,
       c.serial, c.not_before, c.not_after, c.spki_sha256, c.fingerprint_sha256, c.revoked_at, c.created_at,
       c.revocation_reason, c.revoke_when_replaced, c.revoking_since, c.next_attempt_at, c.attempts, c.reason_code, c.reason,
       c.last_problem
  from acme_private.certificate c;
comment on view acme.certificate is
  'Every certificate that was issued, also the superseded, revoked and expired ones; where one is being revoked, how that goes.';

create or replace view acme.blocked_key with (security_invoker = true) as
select b.spki_sha256, b.tenant, b.certificate_id, b.reason, b.created_at
  from acme_private.blocked_key b;
comment on view acme.blocked_key is
  'Keys that are used for no certificate any more, by the SHA-256 of their SubjectPublicKeyInfo. acme_admin may delete one that was blocked by mistake; acme.retry() then lets its csrs go on.';

create or replace view acme.certificate_name with (security_invoker = true) as
select n.name, n.certificate_id, n.tenant
  from acme_private.certificate_name n;
comment on view acme.certificate_name is 'The names of the current certificates, a row each.';

-- (Joined by csr_id as well, so that one csr's is found from either side by index.)
create or replace view acme.current_certificate with (security_invoker = true) as
select c.csr_id, s.ref, c.tenant, c.id as certificate_id, c.identifiers, c.leaf_pem, c.chain_pem,
       c.not_before, c.not_after, c.issuer, c.serial, c.spki_sha256, c.fingerprint_sha256, c.revoked_at
  from acme_private.csr_state s
  join acme_private.certificate c on c.csr_id = s.csr_id and c.id = s.certificate_id;
comment on view acme.current_certificate is 'The certificate to serve for each csr, with its chain.';

create or replace function acme.certificate_for(name text, spki bytea default null) returns setof acme.current_certificate
language sql stable
as $$
  -- an exact name first, then the wildcard above it; of several the one that lasts longest
  select c.*
    from acme.certificate_name n
    join acme.current_certificate c on c.certificate_id = n.certificate_id
   where n.name in (lower(rtrim(certificate_for.name, '.')),
                    regexp_replace(lower(rtrim(certificate_for.name, '.')), '^[^.]+', '*'))
     and (spki is null or c.spki_sha256 = spki)
   order by (n.name like '*.%'), c.not_before desc, c.certificate_id desc
   limit 1
$$;
comment on function acme.certificate_for(text, bytea) is
  'The certificate to serve for a host name: exact before wildcard, the newest first; spki: only one whose public key has this SHA-256.';
