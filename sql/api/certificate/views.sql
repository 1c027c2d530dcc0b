-- Certificates, as applications read them.

-- (That one has expired is read off its end: nothing has to write a row for it.)
create or replace view acme.certificate with (security_invoker = true) as
select c.id, c.csr_id, c.tenant, c.order_id,
       case when c.state in ('current', 'superseded') and c.not_after <= acme_private.clock() then 'expired' else c.state end as state,
       c.identifiers, c.leaf_pem, c.chain_pem, c.subject, c.issuer,
       c.serial, c.not_before, c.not_after, c.spki_sha256, c.fingerprint_sha256, c.revoked_at, c.created_at,
       c.revocation_reason, c.revoke_when_replaced, c.revoking_since, c.next_attempt_at, c.attempts, c.reason_code, c.reason,
       c.last_problem, c.is_unwanted
  from acme_private.certificate c;
comment on view acme.certificate is
  'Every certificate that was issued, also the superseded, revoked and expired ones; where one is being revoked, how that goes.';
comment on column acme.certificate.id is 'Given by the database.';
comment on column acme.certificate.csr_id is 'The csr, by its id in acme.csr.';
comment on column acme.certificate.tenant is 'The tenant that it belongs to.';
comment on column acme.certificate.order_id is 'The order that brought it; null: adopted.';
comment on column acme.certificate.state is 'current, superseded, revoking, revoked or expired.';
comment on column acme.certificate.identifiers is 'Its names, sorted.';
comment on column acme.certificate.leaf_pem is 'The certificate in PEM.';
comment on column acme.certificate.chain_pem is 'The certificate and its issuers in PEM: what a server is configured with.';
comment on column acme.certificate.subject is 'The subject (RFC 4514); usually empty.';
comment on column acme.certificate.issuer is 'The issuer (RFC 4514).';
comment on column acme.certificate.serial is 'The serial number in hexadecimal.';
comment on column acme.certificate.not_before is 'From when it is valid.';
comment on column acme.certificate.not_after is 'Until when it is good: its own end, or that of an issuer in its chain which ends before (roots excepted).';
comment on column acme.certificate.spki_sha256 is 'The SHA-256 of its SubjectPublicKeyInfo: identifies the key pair.';
comment on column acme.certificate.fingerprint_sha256 is 'The SHA-256 of the certificate in DER form.';
comment on column acme.certificate.revoked_at is 'When it was revoked; null: it was not.';
comment on column acme.certificate.created_at is 'When it was stored.';
comment on column acme.certificate.revocation_reason is 'Why it is or was revoked (RFC 5280 §5.3.1).';
comment on column acme.certificate.revoke_when_replaced is 'True: revoked as soon as a newer one is stored.';
comment on column acme.certificate.revoking_since is 'Since when its revocation is under way.';
comment on column acme.certificate.next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme.certificate.attempts is 'How many attempts in a row met a transient error.';
comment on column acme.certificate.reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme.certificate.reason is 'The same as a sentence.';
comment on column acme.certificate.last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme.certificate.is_unwanted is
  'True: it came after its csr was cancelled. Nobody serves it; acme.revoke_certificate revokes it.';

create or replace view acme.blocked_key with (security_invoker = true) as
select b.spki_sha256, b.tenant, b.certificate_id, b.reason, b.created_at
  from acme_private.blocked_key b;
comment on view acme.blocked_key is
  'Keys that are used for no certificate any more, by the SHA-256 of their SubjectPublicKeyInfo. acme_admin may delete one that was blocked by mistake; acme.retry() then lets its csrs go on.';
comment on column acme.blocked_key.spki_sha256 is 'The SHA-256 of the SubjectPublicKeyInfo.';
comment on column acme.blocked_key.tenant is 'The tenant whose report blocked it.';
comment on column acme.blocked_key.certificate_id is 'The certificate that was reported.';
comment on column acme.blocked_key.reason is 'The revocation reason.';
comment on column acme.blocked_key.created_at is 'When it was blocked.';

create or replace view acme.certificate_name with (security_invoker = true) as
select n.name, n.certificate_id, n.tenant
  from acme_private.certificate_name n;
comment on view acme.certificate_name is 'The names of the current certificates, a row each.';
comment on column acme.certificate_name.name is 'A name of it.';
comment on column acme.certificate_name.certificate_id is 'The certificate, by its id in acme.certificate.';
comment on column acme.certificate_name.tenant is 'The tenant that it belongs to.';

-- (Joined by csr_id as well, so that one csr's is found from either side by index; and the tenant is that of the index of refs.)
create or replace view acme.current_certificate with (security_invoker = true) as
select c.csr_id, s.ref, s.tenant, c.id as certificate_id, c.identifiers, c.leaf_pem, c.chain_pem,
       c.not_before, c.not_after, c.issuer, c.serial, c.spki_sha256, c.fingerprint_sha256, c.revoked_at,
       c.not_after <= acme_private.clock() as is_expired
  from acme_private.csr_state s
  join acme_private.certificate c on c.csr_id = s.csr_id and c.id = s.certificate_id;
comment on view acme.current_certificate is
  'The certificate to serve for each csr, with its chain; also an expired one, which is_expired says.';
comment on column acme.current_certificate.csr_id is 'The csr, by its id in acme.csr.';
comment on column acme.current_certificate.ref is 'The application''s own key (acme.csr.ref).';
comment on column acme.current_certificate.tenant is 'The tenant that it belongs to.';
comment on column acme.current_certificate.certificate_id is 'The certificate, by its id in acme.certificate.';
comment on column acme.current_certificate.identifiers is 'Its names, sorted.';
comment on column acme.current_certificate.leaf_pem is 'The certificate in PEM.';
comment on column acme.current_certificate.chain_pem is 'The certificate and its issuers in PEM: what a server is configured with.';
comment on column acme.current_certificate.not_before is 'From when it is valid.';
comment on column acme.current_certificate.not_after is 'Until when it is valid.';
comment on column acme.current_certificate.issuer is 'The issuer (RFC 4514).';
comment on column acme.current_certificate.serial is 'The serial number in hexadecimal.';
comment on column acme.current_certificate.spki_sha256 is 'The SHA-256 of its SubjectPublicKeyInfo: identifies the key pair.';
comment on column acme.current_certificate.fingerprint_sha256 is 'The SHA-256 of the certificate in DER form.';
comment on column acme.current_certificate.revoked_at is 'When it was revoked; null: it was not.';
comment on column acme.current_certificate.is_expired is 'Whether it has expired. It is served until there is a newer one.';

-- An index that begins with the name would tell a tenant of others' names, and one that begins with the tenant does not serve
-- readers of all: so it is looked up by the owner, in an index that no query of a tenant can use.
create or replace function acme_private.certificates_named(p_names text[], p_role name)
returns table (certificate_id bigint, name text)
-- (No statistics are kept of names: sql/tables/14_statistics.sql.)
language plpgsql stable security definer rows 2 set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
  v_tenant text collate "default" := acme_private.tenant_seen(p_role);
begin
  return query
  select n.certificate_id, n.name
    from acme_private.certificate_name n
   where reverse(n.name) = any (array(select reverse(x collate "default") from unnest(p_names) x)) and (v_tenant is null or n.tenant = v_tenant);
end
$$;
comment on function acme_private.certificates_named(text[], name) is
  'The current certificates for any of these names that a role may see.';

create or replace function acme.certificate_for(name text, spki bytea default null) returns setof acme.current_certificate
language sql stable
begin atomic
  -- an exact name first, then the wildcard above it; of several the one that lasts longest
  select c.*
    from acme_private.certificates_named(
           array[lower(rtrim(certificate_for.name, '.')),
                 regexp_replace(lower(rtrim(certificate_for.name, '.')), '^[^.]+', '*')], current_user) n
    join acme.current_certificate c on c.certificate_id = n.certificate_id
   where (spki is null or c.spki_sha256 = spki)
   order by (n.name like '*.%'), c.not_before desc, c.certificate_id desc
   limit 1;
end;
comment on function acme.certificate_for(text, bytea) is
  'The certificate to serve for a host name: exact before wildcard, the newest first; spki: only one whose public key has this SHA-256.';
