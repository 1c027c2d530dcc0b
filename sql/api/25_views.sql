-- What applications read. All views run with the reader's rights (security_invoker): row-level
-- security of the tables below decides which rows are seen.

create or replace view acme."order" with (security_invoker = true) as
select o.id, o.csr_id, o.tenant, o.server_id, o.account_id, o.state, o.identifiers, o.profile,
       o.url, o.finalize_url, o.certificate_url, o.expires_at, o.next_attempt_at, o.attempts,
       o.reason_code, o.reason, o.last_problem, o.created_at, o.finished_at
  from acme_private."order" o;
comment on view acme."order" is 'ACME orders (RFC 8555 §7.1.3): one try each to get a certificate for a csr.';

create or replace view acme.authorization with (security_invoker = true) as
select a.id, a.tenant, a.account_id, a.url, a.state, a.identifier, a.is_wildcard, a.expires_at,
       a.next_attempt_at, a.attempts, a.reason_code, a.reason, a.last_problem, a.created_at, a.updated_at,
       a.is_preauthorization
  from acme_private.authorization a;
comment on view acme.authorization is
  'ACME authorizations (RFC 8555 §7.1.4); orders share them. Those that acme.preauthorize asked for are there before any order.';

create or replace view acme.order_authorization with (security_invoker = true) as
select oa.order_id, oa.authorization_id
  from acme_private.order_authorization oa;
comment on view acme.order_authorization is 'Which authorizations an order needs.';

create or replace view acme.challenge with (security_invoker = true) as
select c.id, c.authorization_id, c.tenant, c.url, c.type, c.token, c.state, c.error, c.created_at
  from acme_private.challenge c;
comment on view acme.challenge is 'ACME challenges that were chosen to prove an authorization (RFC 8555 §8).';

create or replace view acme.record with (security_invoker = true) as
select r.id, r.challenge_id, r.tenant, r.solver, r.method, r.type, r.identifier, r.token, r.value, r.state,
       r.created_at, r.updated_at
  from acme_private.record r;
comment on view acme.record is 'What is, was or will be published for challenges.';

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

create or replace view acme.identifier_claim with (security_invoker = true) as
select i.name, i.registered_domain, i.tenant, i.created_at
  from acme_private.identifier_claim i;
comment on view acme.identifier_claim is
  'Which tenant an identifier belongs to; a wildcard belongs to whom its base does.';

create or replace view acme.event with (security_invoker = true) as
select e.id, e.xid, e.at, e.tenant, e.event, e.csr_id, e.order_id, e.account_id, e.certificate_id, e.worker_id, e.detail,
       e.epoch
  from acme_private.event e;
comment on view acme.event is 'The audit trail: what was done, seen and decided, a line each.';

-- (Joined by csr_id as well, so that one csr's is found from either side by index.)
create or replace view acme.current_certificate with (security_invoker = true) as
select c.csr_id, s.ref, c.tenant, c.id as certificate_id, c.identifiers, c.leaf_pem, c.chain_pem,
       c.not_before, c.not_after, c.issuer, c.serial, c.spki_sha256, c.fingerprint_sha256, c.revoked_at
  from acme_private.csr_state s
  join acme_private.certificate c on c.csr_id = s.csr_id and c.id = s.certificate_id;
comment on view acme.current_certificate is 'The certificate to serve for each csr, with its chain.';

-- Where each csr stands. Three states are read off what it waits for, so that closing a server for
-- 30,000 queued csrs writes one row: paused, limited, and retrying while a remote is in trouble.
create or replace view acme.csr_status with (security_invoker = true) as
select s.csr_id as id,
       s.ref,
       s.tenant,
       s.identifiers,
       case
         when w.code = 'limited' then 'limited'
         when w.code in ('server_paused', 'account_paused') then 'paused'
         when w.code = 'database_copied' and s.state in ('received', 'queued', 'ordering', 'renewing', 'retrying') then 'paused'
         when s.state = 'ordering' and w.code in ('remote_trouble', 'secret_key_wrong', 'account_not_ready') then 'retrying'
         else s.state
       end as state,
       w.code as reason_code,
       w.text as reason,
       case when s.state in ('issued', 'cancelled', 'rejected', 'failed', 'needs_person', 'needs_new_csr') or w.code = 'database_copied' then null
            else coalesce(w.next_attempt_at, o.next_attempt_at, s.next_attempt_at) end as next_attempt_at,
       s.attempts,
       coalesce(case when o.is_live then coalesce(o.last_problem, a.last_problem) end, s.last_problem) as last_problem,
       s.certificate_id,
       s.certificate_id is not null as has_certificate,
       k.not_before,
       k.not_after,
       s.renew_at,
       s.renewal_reason,
       acc.name as account,
       srv.name as server,
       s.profile,
       o.url as order_url,
       c.version > s.seen_version as has_pending_request,
       c.created_at,
       s.updated_at,
       k.revoked_at
  from acme.csr c
  join acme_private.csr_state s on s.csr_id = c.id
  left join acme_private."order" o on o.id = s.order_id
  left join acme_private.certificate k on k.id = s.certificate_id
  left join acme.account acc on acc.id = s.account_id
  left join acme.server srv on srv.id = s.server_id
  left join acme_private.account_state ast on ast.account_id = s.account_id
  left join lateral (
    select x.reason_code, x.reason, x.next_attempt_at, x.last_problem
      from acme_private.order_authorization oa
      join acme_private.authorization x on x.id = oa.authorization_id
     where oa.order_id = s.order_id and o.state = 'authorizing' and x.state = 'pending' and x.reason_code is not null
     order by x.id
     limit 1
  ) a on true
  left join lateral (
    select l.until, l.reason
      from acme_private.closure l
     where l.server_id = s.server_id and (l.account_id is null or l.account_id = s.account_id)
       and l.until > acme_private.clock()
     order by l.until desc
     limit 1
  ) l on s.state in ('queued', 'renewing') and s.order_id is null
 -- once for each query
 cross join acme_private.hold() h (reason)
 cross join lateral (
    select case
             when h.reason is not null
                  and (s.state in ('received', 'queued', 'ordering', 'renewing', 'retrying')
                       or c.version > s.seen_version and s.state not in ('cancelled', 'rejected')) then 'database_copied'
             when c.cancel_request is not null and s.state not in ('cancelled', 'rejected') then 'cancel_requested'
             when s.state = 'received' and coalesce(c.account, d.name) is null then 'no_account'
             when s.state = 'received' then coalesce(s.reason_code, 'waiting_for_worker')
             when s.state in ('queued', 'renewing') and s.order_id is null then
               case
                 when srv.paused_at is not null then 'server_paused'
                 when acc.paused_at is not null then 'account_paused'
                 when ast.state is distinct from 'valid' or ast.reread_since is not null then 'account_not_ready'
                 when l.until is not null then 'limited'
                 else coalesce(s.reason_code, 'waiting_for_room')
               end
             when s.state in ('ordering', 'renewing') then
               coalesce(o.reason_code, a.reason_code, case when o.is_parked then 'waiting_for_publication' end)
             -- How the revocation of its certificate goes, or why it was refused.
             when s.state in ('issued', 'cancelled') and (k.state = 'revoking' or k.reason_code is not null) then
               coalesce(k.reason_code, 'revoking')
             when s.state in ('issued', 'cancelled') and k.revoked_at is null
                  and k.id in (select q.certificate_id from acme.revocation_request q where not q.after_replacement) then 'revoking'
             -- It ends with that, whatever else it waits for.
             when s.state in ('retrying', 'needs_person', 'failed')
                  and (k.ends_csr and k.state = 'revoking'
                       or k.id in (select q.certificate_id from acme.revocation_request q where q.ends_csr)) then
               coalesce(case when k.ends_csr then k.reason_code end, 'revoking')
             when s.state = 'issued' then null
             else s.reason_code
           end as code
      from (select 1) one
      left join acme.account d on d.is_default
 ) r
 cross join lateral (
    select r.code,
           case r.code
             when 'database_copied' then h.reason
             when 'cancel_requested' then 'Cancelling was asked for and is under way.'
             when 'no_account' then 'There is no ACME account to order with. Insert one into acme.account; the first one serves every csr that names none.'
             when 'waiting_for_worker' then 'No worker has looked at it yet. If this lasts, look at acme.worker_status: is one running?'
             when 'server_paused' then format('The server %s is paused: %s', srv.name, srv.pause_reason)
             when 'account_paused' then format('The account %s is paused: %s', acc.name, acc.pause_reason)
             when 'account_not_ready' then format('The account %s is %s%s', acc.name,
               case when ast.state = 'valid' then 'looked at first' else ast.state end,
               coalesce(case ast.reason_code when 'waiting_for_orders' then ': its orders under way come to their end first.'
                                             else ': ' || ast.reason end, case ast.state when 'new' then ' and not registered yet.' when 'registering' then ' and not registered yet.' else '.' end))
             when 'waiting_for_room' then format('It waits its turn among the orders in flight (at most %s for server %s).', srv.max_orders_in_flight, srv.name)
             when 'waiting_for_publication' then 'Something is to be published by hand; see acme.challenge_todo.'
             when 'limited' then coalesce(l.reason, o.reason, a.reason, k.reason, s.reason)
             when 'revoking' then 'Its certificate is being revoked.'
             else coalesce(case when s.state in ('issued', 'cancelled') or k.ends_csr then k.reason end, case when s.order_id is not null then coalesce(o.reason, a.reason) end, s.reason)
           end as text,
           case when r.code in ('server_paused', 'account_paused') then null
                else coalesce(l.until, a.next_attempt_at) end as next_attempt_at
 ) w;
comment on view acme.csr_status is
  'Where each csr stands: its state, why, and when it is tried next. docs/sql.md lists the states and reason codes.';

create or replace view acme.account_status with (security_invoker = true) as
select a.id, a.name, a.server,
       case when p.code is not null then 'paused'
            -- (one that is valid goes on meanwhile)
            when s.next_attempt_at = 'infinity' and s.state <> 'valid' then 'needs_person'
            else s.state end as state,
       coalesce(p.code, s.reason_code) as reason_code,
       case p.code when 'account_paused' then a.pause_reason when 'server_paused' then v.pause_reason else s.reason end as reason,
       nullif(s.next_attempt_at, 'infinity') as next_attempt_at, s.attempts, s.last_problem, s.url, a.contact, a.terms_agreed, s.terms_url,
       a.is_default, s.registered_at, s.updated_at, s.thumbprint, a.eab_kid, s.verified_at,
       -- (of a closed one nobody can be told)
       not p.is_closed and p.is_untold as has_pending_change, s.agreed_terms_url
  from acme.account a
  join acme_private.account_state s on s.account_id = a.id
  join acme.server v on v.id = s.server_id
 cross join lateral (
    select s.state in ('deactivated', 'revoked') as is_closed,
           a.details_version > s.told_version or coalesce(a.roll_over_request > s.rolled_version, false) as is_untold
 ) f
 cross join lateral (
    select f.*,
           case when f.is_closed then null
                when a.paused_at is not null then 'account_paused'
                -- Nothing is begun with it meanwhile.
                when v.paused_at is not null and (s.state <> 'valid' or f.is_untold or s.reread_since is not null) then 'server_paused'
           end as code
 ) p;
comment on view acme.account_status is 'Where each ACME account stands at its server.';

create or replace view acme.challenge_todo with (security_invoker = true) as
select r.id,
       case r.state when 'intended' then 'publish' else 'remove' end as action,
       r.type,
       r.identifier,
       case r.type when 'http-01' then format('http://%s/.well-known/acme-challenge/%s', r.identifier, r.token) end as location,
       r.value,
       r.tenant,
       o.csr_id,
       a.expires_at,
       r.created_at
  from acme_private.record r
  left join acme_private.challenge c on c.id = r.challenge_id
  left join acme_private.authorization a on a.id = c.authorization_id
  left join lateral (
    select x.csr_id
      from acme_private.order_authorization oa
      join acme_private."order" x on x.id = oa.order_id
     where oa.authorization_id = c.authorization_id
     order by x.id desc
     limit 1
  ) o on true
 where r.method = 'manual'
   and r.state in ('intended', 'removing');
comment on view acme.challenge_todo is
  'What is to be published or removed by hand. When it is done: acme.challenge_published(id), acme.challenge_removed(id).';

create or replace view acme.worker_status with (security_invoker = true) as
select w.id, w.host, w.pid, w.version, w.concurrency, w.started_at, w.heartbeat_at,
       case when w.stopped_at is not null then 'stopped'
            when w.lost_at is not null then 'lost'
            when w.heartbeat_at < now() - interval '30 seconds' then 'silent'
            else 'running' end as state
  from acme_private.worker w;
comment on view acme.worker_status is
  'The workers: running, stopped in good order, lost (found dead; what it held was freed), or silent (no sign of life for 30 s).';

comment on table acme.server is 'ACME servers: one row for each directory (RFC 8555 §7.1.1). Written by acme_admin.';
comment on column acme.server.id is 'Given by the database.';
comment on column acme.server.name is 'How accounts and functions call it: lower-case letters, digits, dot, dash, underscore.';
comment on column acme.server.directory_url is 'The directory''s URL; fixed once the server has an account.';
comment on column acme.server.ca_bundle is 'PEM certificates to trust for this server''s TLS, besides the system''s.';
comment on column acme.server.allowed_hosts is 'Hosts (host or host:port) besides the directory''s own that its URLs may point at.';
comment on column acme.server.key_types is 'Key types of CSRs that this server takes.';
comment on column acme.server.max_names is 'How many names one certificate may have here.';
comment on column acme.server.max_orders_in_flight is 'How many orders may be under way at once, over all workers.';
comment on column acme.server.account_policy is
  'Which account serves a csr that names none, if the default account is of this server: single: that one; per_registered_domain: the one that acme.account_domain has for its domain, made if there is none.';
comment on column acme.server.paused_at is 'Since when it gets no new orders, and nothing is begun with its accounts; null: it is open. Set by acme.pause.';
comment on column acme.server.pause_reason is 'Why it is paused: shown to all who wait.';
comment on column acme.server.version is 'Counts the changes of this row.';
comment on column acme.server.created_at is 'When it was inserted.';
comment on table acme.account is 'ACME accounts (RFC 8555 §7.1.2). A new row registers itself. Written by acme_admin.';
comment on column acme.account.id is 'Given by the database.';
comment on column acme.account.name is 'How csrs and functions call it; it cannot change, since its key is sealed for it.';
comment on column acme.account.server is 'The server where it is registered, by name.';
comment on column acme.account.contact is 'Contact URLs, for example {mailto:ops@example.org}.';
comment on column acme.account.terms_agreed is 'True once a person agreed to the server''s terms of service.';
comment on column acme.account.key_algorithm is 'The kind of account key that a worker makes (RFC 7518 §3.1).';
comment on column acme.account.version is 'Counts the changes of this row that workers act on.';
comment on column acme.account.eab_kid is 'The key identifier of an external account binding, from the CA (RFC 8555 §7.3.4).';
comment on column acme.account.eab_hmac is
  'The key of the external account binding, sealed by pgacme seal. Only on its way in: it is kept elsewhere, and null when read.';
comment on column acme.account.details_version is 'The version at which contact, terms or binding changed last.';
comment on column acme.account.terms_request is 'The version at which somebody agreed to the terms of service last, by acme.agree_terms or terms_agreed.';
comment on column acme.account.verify_request is 'The version at which acme.verify_account was called last.';
comment on column acme.account.roll_over_request is 'The version at which acme.roll_over_key was called last.';
comment on column acme.account.deactivate_request is 'The version at which acme.deactivate_account was called; it cannot be taken back.';
comment on column acme.account.is_default is 'Serves the csrs that name no account, or is the model of those that do (server.account_policy); the first account gets it.';
comment on column acme.account.paused_at is 'Since when it gets no new orders; null: it is open. Set by acme.pause.';
comment on column acme.account.pause_reason is 'Why it is paused: shown to all who wait.';
comment on column acme.account.created_at is 'When it was inserted.';
comment on table acme.account_domain is
  'Which account serves which registered domain of a server whose account_policy is per_registered_domain. Filled when such a csr is accepted; acme_admin may write it as well.';
comment on column acme.account_domain.server is 'The server, by name.';
comment on column acme.account_domain.domain is 'The registered domain, such as example.org or example.co.uk.';
comment on column acme.account_domain.account is 'The account that new csrs of this domain get, if they name none.';
comment on column acme.account_domain.created_at is 'When it was inserted.';
comment on table acme.solver is 'How challenges get published, and for which names. Written by acme_admin.';
comment on column acme.solver.id is 'Given by the database.';
comment on column acme.solver.name is 'How csrs call it: lower-case letters, digits, dot, dash, underscore.';
comment on column acme.solver.challenge_type is 'The challenge type that it answers (RFC 8555 §8).';
comment on column acme.solver.method is
  'responder: the built-in responder, or your server by http01_response(); manual: by hand, see challenge_todo.';
comment on column acme.solver.names is 'Domains it serves, each with everything below it; * is all. The most specific solver wins.';
comment on column acme.solver.created_at is 'When it was inserted.';
comment on table acme.csr is 'Certificate signing requests, as applications inserted them. Where each stands: csr_status.';
comment on column acme.csr.id is 'Given by the database; your tables may reference it.';
comment on column acme.csr.tenant is 'On whose behalf it was inserted: the setting acme.tenant, else the role.';
comment on column acme.csr.ref is 'The application''s own key; one live csr of a tenant has it.';
comment on column acme.csr.pem is 'The PKCS #10 request in PEM (RFC 2986, RFC 7468). Never a private key.';
comment on column acme.csr.account is 'The account to order with; null: the default account, or that of its registered domain (server.account_policy).';
comment on column acme.csr.profile is 'The profile to ask the server for; null: the server''s default.';
comment on column acme.csr.solver is 'The solver to use for all its names; null: the most specific one.';
comment on column acme.csr.preferred_chain is
  'Of several chains that the server offers, the one whose top (its last certificate, or the issuer of that) has this common name, or a key with this SHA-256 in hex; null, or if none has: the server''s default.';
comment on column acme.csr.validity is
  'How long a new certificate is to be good: its notAfter is asked for as now plus this. Only where the server takes that; null: the server''s default.';
comment on column acme.csr.validity_start is
  'When a new certificate is to become good: its notBefore is asked for as now plus this. Only where the server takes that; null: the server''s default.';
comment on column acme.csr.renewal is 'reuse: renew with this same CSR; off: do not renew.';
comment on column acme.csr.priority is 'Within a tenant, higher goes first.';
comment on column acme.csr.labels is 'Anything of yours, as a JSON object.';
comment on column acme.csr.version is 'Counts the changes of this row.';
comment on column acme.csr.retry_request is 'The version at which acme.retry was called last.';
comment on column acme.csr.renew_request is 'The version at which acme.renew was called last.';
comment on column acme.csr.renew_reason is 'What acme.renew was told.';
comment on column acme.csr.cancel_request is 'The version at which acme.cancel, or acme.release_domain, was called first; it cannot be taken back.';
comment on column acme.csr.cancel_reason is 'Why it was cancelled, in a sentence; null: it was asked for.';
comment on column acme.csr.inserted_xid is 'The transaction that inserted it: acme.wait refuses there.';
comment on column acme.csr.touched_xid is 'The transaction that changed it last: acme.wait refuses there.';
comment on column acme.csr.created_at is 'When it was inserted.';
comment on table acme.revocation_request is
  'Revocations that were asked for and that no worker has seen yet. Inserted into by acme.revoke and acme.revoke_certificate; workers take the rows away.';
comment on column acme.revocation_request.id is 'Given by the database.';
comment on column acme.revocation_request.tenant is 'The certificate''s.';
comment on column acme.revocation_request.certificate_id is 'The certificate to revoke, by its id in acme.certificate.';
comment on column acme.revocation_request.reason is 'Why, by the names of RFC 5280 §5.3.1.';
comment on column acme.revocation_request.after_replacement is 'True: only once a newer certificate of the same csr is stored.';
comment on column acme.revocation_request.ends_csr is
  'True: its csr is not renewed meanwhile, and ends when the certificate is revoked.';
comment on column acme.revocation_request.requested_by is 'The login that asked.';
comment on column acme.revocation_request.created_at is 'When it was asked for.';
comment on table acme.deactivation_request is
  'Deactivations of authorizations that were asked for and that no worker has seen yet. Inserted into by acme.deactivate_authorization and acme.release_domain; workers take the rows away.';
comment on column acme.deactivation_request.id is 'Given by the database.';
comment on column acme.deactivation_request.tenant is 'The authorization''s.';
comment on column acme.deactivation_request.authorization_id is 'The authorization to give up, by its id in acme.authorization.';
comment on column acme.deactivation_request.requested_by is 'The login that asked.';
comment on column acme.deactivation_request.created_at is 'When it was asked for.';
