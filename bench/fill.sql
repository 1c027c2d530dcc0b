-- Fills a migrated database with what many issued csrs leave behind: one finished order, authorization,
-- challenge, record, current certificate, owned name and event each. For benchmarks and the tests of
-- plans; never for a database that anyone needs.
--
--   set pgacme_fill.rows = '1000000';
--   \i bench/fill.sql
--   vacuum analyze;
--
-- Plain SQL without triggers, as superuser. Half of the csrs belong to the tenant fill-0, the rest to 999
-- others. Certificates are short in the main table, as they are in reality: PostgreSQL keeps texts of
-- that length apart, or compressed as here. Renewals are spread over 60 days, the first due tomorrow.
-- Their server and accounts take no orders: a benchmark brings its own.

set session_replication_role = replica;

insert into acme.server (name, directory_url, paused_at, pause_reason, refused_csr_features, blocks_revoked_keys)
values ('fill', 'https://fill.example.org/dir', now(), 'rows of a benchmark', '{}', false)
on conflict do nothing;
insert into acme.account (name, server, is_default)
select 'fill-' || n, 'fill', false
  from generate_series(0, 3) n
on conflict do nothing;
insert into acme_private.account_state (account_id, server_id, state, url)
select a.id, s.id, 'valid', 'https://fill.example.org/account/' || a.id
  from acme.account a
  join acme.server s on s.name = a.server
 where a.server = 'fill'
on conflict do nothing;

-- The same id in every table. n counts from 1.
create temporary table fill as
select b.base + n as id,
       n,
       case when n % 2 = 0 then 'fill-0' else 'fill-' || n % 1000 end as tenant,
       format('host-%s.fill-%s.example.org', b.base + n, n % 1000) as name,
       sha256(convert_to('csr ' || b.base + n, 'UTF8')) as hash,
       a.ids[1 + n % 4] as account_id,
       a.server_id,
       now() - n % 60 * interval '1 day' as at
  from (select greatest(
          (select max(id) from acme.csr), (select max(id) from acme_private."order"),
          (select max(id) from acme_private.authorization), (select max(id) from acme_private.challenge),
          (select max(id) from acme_private.record), (select max(id) from acme_private.certificate),
          (select max(id) from acme_private.event), 0) as base) b
 cross join (select array_agg(account_id) as ids, min(s.server_id) as server_id
               from acme_private.account_state s
               join acme.account c on c.id = s.account_id
              where c.server = 'fill') a
 cross join generate_series(1, current_setting('pgacme_fill.rows')::int) n;
analyze fill;

insert into acme.csr (id, tenant, ref, pem, account, created_at) overriding system value
select id, tenant, 'ref-' || id,
       E'-----BEGIN CERTIFICATE REQUEST-----\n' || encode('\x3081e0'::bytea || hash || hash || hash || hash || hash || hash || hash, 'base64')
         || E'\n-----END CERTIFICATE REQUEST-----\n',
       'fill-' || n % 4, at
  from fill;
insert into acme_private.csr_state (csr_id, tenant, ref, der_sha256, state, identifiers, identifiers_key, spki_sha256, server_id,
                                    account_id, certificate_id, queued_at, renew_at, created_at, updated_at)
select id, tenant, 'ref-' || id, hash, 'issued', array[name], sha256(convert_to(name, 'UTF8')), hash, server_id,
       account_id, id, at, at + interval '61 days', at, at
  from fill;
insert into acme_private."order" (id, csr_id, tenant, server_id, account_id, state, identifiers, identifiers_key, url, finalize_url,
                                  certificate_url, expires_at, created_at, finished_at) overriding system value
select id, id, tenant, server_id, account_id, 'issued', array[name], sha256(convert_to(name, 'UTF8')),
       'https://fill.example.org/order/' || id, 'https://fill.example.org/finalize/' || id,
       'https://fill.example.org/certificate/' || id, at + interval '7 days', at, at
  from fill;
insert into acme_private.authorization (id, account_id, url, tenant, state, identifier, expires_at, created_at, updated_at)
  overriding system value
select id, account_id, 'https://fill.example.org/authorization/' || id, tenant, 'valid', name, at + interval '30 days', at, at
  from fill;
insert into acme_private.order_authorization (order_id, authorization_id)
select id, id
  from fill;
insert into acme_private.challenge (id, authorization_id, tenant, url, type, token, key_authorization, state, created_at)
  overriding system value
select id, id, tenant, 'https://fill.example.org/challenge/' || id, 'http-01', encode(hash, 'hex'),
       encode(hash, 'hex') || '.' || encode(hash, 'hex'), 'valid', at
  from fill;
insert into acme_private.record (id, challenge_id, tenant, solver, method, type, identifier, token, value, state, created_at, updated_at)
  overriding system value
select id, id, tenant, 'http-01', 'responder', 'http-01', name, encode(hash, 'hex'),
       encode(hash, 'hex') || '.' || encode(hash, 'hex'), 'removed', at, at
  from fill;
insert into acme_private.certificate (id, csr_id, tenant, order_id, identifiers, leaf_pem, chain_pem, subject, issuer, serial,
                                      not_before, not_after, spki_sha256, fingerprint_sha256, created_at, planned_renewal_at)
  overriding system value
select id, id, tenant, id, array[name], repeat(encode(hash, 'hex'), 24), repeat(encode(hash, 'hex'), 56), 'CN=' || name, 'CN=Fill',
       encode(hash, 'hex'), at, at + interval '90 days', hash, hash, at, at + interval '61 days'
  from fill;
insert into acme_private.certificate_name (name, certificate_id, tenant)
select name, id, tenant
  from fill;
insert into acme_private.tenant_name (name, registered_domain, tenant, owner_since, proved_at)
select name, 'example.org', tenant, at, at
  from fill
on conflict do nothing;
insert into acme_private.event (id, tenant, event, csr_id, order_id, account_id, certificate_id, detail, at)
  overriding system value
select id, tenant, 'issued', id, id, account_id, id, jsonb_build_object('serial', encode(hash, 'hex')), at
  from fill;

select setval(pg_get_serial_sequence(s.name, 'id'), (select max(id) from fill))
  from (values ('acme.csr'), ('acme_private."order"'), ('acme_private.authorization'), ('acme_private.challenge'),
               ('acme_private.record'), ('acme_private.certificate'), ('acme_private.event')) s (name);
drop table fill;
set session_replication_role = default;
