-- Who may do what (docs/security.md has the matrix; a test holds it against the database).
--   acme_app        inserts csrs and reads what became of them: its own tenant's rows
--   acme_multi_tenant  the same for the tenant that its setting acme.tenant names: it has what acme_app has
--   acme_reader     reads every tenant's certificates and status
--   acme_responder  reads challenge answers, nothing else
--   acme_admin      all of that for every tenant, and writes server, account, solver
--   acme_worker     the step functions
-- Everything is granted anew here, so that what is not named is not granted.

revoke all on all tables in schema acme, acme_private from public, acme_app, acme_multi_tenant, acme_reader, acme_responder, acme_admin, acme_worker;
revoke all on all functions in schema acme, acme_private from public, acme_app, acme_multi_tenant, acme_reader, acme_responder, acme_admin, acme_worker;
alter default privileges for role acme_owner in schema acme revoke execute on functions from public;
alter default privileges for role acme_owner in schema acme_private revoke execute on functions from public;
grant usage on schema acme to acme_app, acme_reader, acme_responder, acme_admin, acme_worker;

-- acme_app and the others reach acme_private only through the views and functions of acme, which name
-- its objects for them: they have no usage on it.
grant usage on schema acme_private to acme_worker;

-- acme_multi_tenant is a member of acme_app, and acme_admin of both (migrate makes it so); policies below widen that to
-- all tenants for acme_admin.
-- Nothing that acme_app holds lets it lock a table: no right to update, delete or truncate on a whole table (LOCK asks for
-- one of these), no references (a foreign key locks the table that it refers to), no trigger.

grant execute on function
  acme.version(), acme.csr_problem(text)
  to acme_app, acme_reader, acme_responder, acme_worker;

-- What acme.csr_status and acme.certificate_for() call for their reader.
grant execute on function
  acme_private.hold(), acme_private.account_shown(bigint), acme_private.account_name(bigint), acme_private.has_default_account(),
  acme_private.csr_with_same_names(bigint), acme_private.certificates_named(text[], name)
  to acme_app, acme_reader;
grant execute on function
  acme_private.usable_accounts(name), acme_private.usable_account(text, name)
  to acme_app;
grant execute on function acme_private.clock() to acme_app, acme_reader, acme_responder, acme_worker;

-- What row-level security, and the default and the check of acme.csr.tenant, call.
grant execute on function acme_private.current_tenant(), acme_private.tenant_of(name), acme_private.is_plain_tenant(text) to acme_app;
grant execute on function
  acme.request(text, text, text, text, text), acme.retry(bigint), acme.renew(bigint, text), acme.cancel(bigint),
  acme.wait(bigint, interval), acme.challenge_published(bigint), acme.challenge_removed(bigint),
  acme.revoke(bigint, text, boolean), acme.revoke_certificate(bigint, text), acme.deactivate_authorization(bigint),
  acme.release_domain(text, boolean), acme.preauthorize(text, text, text),
  acme.current_tenant(), acme.cancel_when_deleted()
  to acme_app;

-- What it calls with the rights of its caller.
grant execute on function
  acme_private.is_within(text, text), acme_private.domain_to_release(text), acme_private.name_to_preauthorize(text, text, text, jsonb),
  acme_private.free_names(text, name)
  to acme_app;
grant execute on function acme_private.name_owners(name) to acme_app, acme_reader;
grant execute on function acme.explain(bigint), acme.certificate_for(text, bytea), acme.changes(text, int)
  to acme_app, acme_reader;

-- What changes() and the view stuck call with the rights of their reader.
grant execute on function
  acme_private.cursor_text(bigint, xid8, bigint), acme_private.cursor_part(text, int),
  acme_private.stuck_rows(name)
  to acme_app, acme_reader;

-- What the view attention calls with the rights of its reader.
grant execute on function
  acme_private.is_watcher(), acme_private.is_watcher(name), acme_private.attention_candidates(name),
  acme_private.time_text(timestamptz), acme_private.with_full_stop(text), acme_private.without_address(text, text),
  acme_private.expiry_severity(boolean, timestamptz, timestamptz, timestamptz),
  acme_private.attention_account(), acme_private.attention_server(), acme_private.attention_worker(),
  acme_private.attention_sessions(), acme_private.attention_rows()
  to acme_app, acme_reader;
grant select on
  acme.attention, acme.attention_code, acme.attention_settings,
  acme_private.attention_csr, acme_private.attention_stuck
  to acme_app, acme_reader;
grant update (renewal_warning, renewal_critical, lifetime_warning, lifetime_critical, server_warning, server_critical,
              cooldown_warning, worker_critical, clock_warning, clock_critical, changes_warning, changes_critical,
              notify_queue_warning, notify_queue_critical, has_own_responder)
  on acme.attention_settings to acme_admin;
grant select (planned_renewal_at) on acme_private.certificate to acme_app, acme_reader;
grant execute on function acme_private.is_session_of(acme_private.worker) to acme_reader, acme_admin;
grant execute on function acme.http01_response(text, text) to acme_responder, acme_worker;
grant execute on function
  acme.pause(text, text, text), acme.resume(text, text), acme.certificate_was_revoked(bigint, text),
  acme.agree_terms(text), acme.verify_account(text), acme.roll_over_key(text), acme.deactivate_account(text),
  acme.replace_account(text, text), acme.move_name(text, text)
  to acme_admin;

-- What they call with the rights of their caller.
grant execute on function
  acme_private.ask_account(text, text), acme_private.certificate_was_revoked(bigint, text), acme_private.move_name(text, text)
  to acme_admin;
grant insert (ref, pem, account, profile, solver, renewal, priority, labels, preferred_chain, validity, validity_start)
  on acme.csr to acme_app;
grant update (renewal, priority, labels, preferred_chain, validity, validity_start, retry_request, renew_request, renew_reason,
              cancel_request, cancel_reason) on acme.csr to acme_app;
grant select on acme.csr to acme_app;
grant select on acme.csr to acme_reader;
grant select (id, name, directory_url, paused_at, pause_reason, max_orders_in_flight, account_policy) on acme.server to acme_app, acme_reader;
grant select on acme.usable_account to acme_app;
grant select on acme.account to acme_reader;
grant select on acme.solver to acme_app, acme_reader;
grant select, insert (name, directory_url, ca_bundle, allowed_hosts, key_types, max_names, max_orders_in_flight, account_policy,
                      refused_csr_features, blocks_revoked_keys),
  update (name, directory_url, ca_bundle, allowed_hosts, key_types, max_names, max_orders_in_flight, account_policy, paused_at,
          pause_reason, refused_csr_features, blocks_revoked_keys),
  delete on acme.server to acme_admin;
grant select, insert (name, server, contact, terms_agreed, key_algorithm, is_default, eab_kid, eab_hmac),
  update (contact, terms_agreed, is_default, eab_kid, eab_hmac, paused_at, pause_reason, terms_request, verify_request,
          roll_over_request, deactivate_request), delete on acme.account to acme_admin;
grant select on acme.account_domain to acme_reader;
grant select on acme.tenant_role to acme_reader;
grant select, insert (role, tenant), update (tenant), delete on acme.tenant_role to acme_admin;
grant select, insert (server, domain, account), update (account), delete on acme.account_domain to acme_admin;
grant update (account), insert (chain_pem) on acme.csr to acme_admin;

-- What proves control of a name is the server's asking; who adopts vouches for it.
grant execute on function acme.adopt(text, text, text, text) to acme_admin;
grant select, insert (name, challenge_type, method, names), update (name, names), delete on acme.solver to acme_admin;
grant select on
  acme."order", acme.authorization, acme.order_authorization, acme.challenge, acme.record, acme.certificate,
  acme.certificate_name, acme.event, acme.csr_status, acme.current_certificate, acme.challenge_todo,
  acme.stuck
  to acme_app, acme_reader;
grant update (state) on acme.record to acme_app;
grant select (token, type, state, identifier, value, created_at) on acme.record to acme_responder, acme_worker;
grant select, insert (certificate_id, reason, after_replacement, ends_csr) on acme.revocation_request to acme_app;
grant select on acme.revocation_request, acme.deactivation_request to acme_reader;
grant select, insert (authorization_id) on acme.deactivation_request to acme_app;
grant select on acme.blocked_key to acme_reader;
grant select, delete on acme.blocked_key to acme_admin;
grant select on acme.account_status, acme.worker_status to acme_reader, acme_admin;
grant select on acme.server_feature to acme_app, acme_reader;
grant select on acme.name_owner to acme_app, acme_reader;

-- What the views read, column by column: never a lease, never a key.
grant select (csr_id, tenant, ref, state, identifiers, server_id, account_id, profile, priority, order_id, certificate_id,
              renew_at, renewal_reason, is_renewal, seen_version, next_attempt_at, attempts, reason_code, reason, last_problem, queued_at,
              created_at, updated_at)
  on acme_private.csr_state to acme_app, acme_reader;
grant select (id, csr_id, tenant, server_id, account_id, state, is_parked, identifiers, profile, url, finalize_url,
              certificate_url, expires_at, next_attempt_at, attempts, reason_code, reason, last_problem, created_at, finished_at)
  on acme_private."order" to acme_app, acme_reader;
grant select (id, tenant, account_id, url, state, identifier, is_wildcard, expires_at, next_attempt_at, attempts, reason_code,
              reason, last_problem, created_at, updated_at, is_preauthorization)
  on acme_private.authorization to acme_app, acme_reader;

-- By acme.preauthorize.
grant insert (account_id, tenant, identifier, solver, state, is_preauthorization) on acme_private.authorization to acme_app;
grant select (id, csr_id, tenant, order_id, account_id, state, identifiers, leaf_pem, chain_pem, subject, issuer, serial, not_before, not_after,
              spki_sha256, fingerprint_sha256, revoked_at, created_at, revocation_reason, revoke_when_replaced, ends_csr,
              revoking_since, next_attempt_at, attempts, reason_code, reason, last_problem, planned_renewal_at, is_unwanted)
  on acme_private.certificate to acme_app, acme_reader;
grant select on acme_private.order_authorization, acme_private.certificate_name, acme_private.event
  to acme_app, acme_reader;
grant select on acme_private.blocked_key to acme_reader;
grant select, delete on acme_private.blocked_key to acme_admin;
grant select (id, authorization_id, tenant, url, type, token, state, error, created_at)
  on acme_private.challenge to acme_app, acme_reader;
grant select (id, challenge_id, tenant, solver, method, type, identifier, token, value, state, created_at, updated_at)
  on acme_private.record to acme_app, acme_reader;
grant update (state) on acme_private.record to acme_app;

-- A view asks its reader for every column that it names: the few that they may read are said above.
grant select on acme_private.record to acme_responder, acme_worker;
grant select (server_id, account_id, scope, until, reason) on acme_private.closure to acme_app;
grant select (id, server_id, account_id, scope, value, limit_name, since, until, reason) on acme_private.closure to acme_reader, acme_admin;
grant select on acme.cooldown to acme_reader, acme_admin;
grant select on acme.resume_request to acme_reader, acme_admin;
grant insert (scope, name) on acme.resume_request to acme_admin;
grant select on acme.paused_csr, acme_private.paused_csr to acme_admin;

grant select (account_id, server_id, state, url, terms_url, registered_at, next_attempt_at, attempts, reason_code, reason,
              last_problem, updated_at, thumbprint, verified_at, told_version, rolled_version, reread_since, agreed_terms_url, doubted_at)
  on acme_private.account_state to acme_reader, acme_admin;
grant select (epoch) on acme_private.epoch to acme_app, acme_reader;
grant select on acme_private.server_fact, acme_private.feature, acme_private.documented_feature to acme_app, acme_reader;
grant select on acme_private.worker to acme_reader, acme_admin;

-- The workers' functions. Inner functions run inside these, as their owner.
grant execute on function
  acme_private.claim(bigint, text, bigint),
  acme_private.release(text, bigint, uuid),
  acme_private.dispatch(bigint, uuid, jsonb, int),
  acme_private.attend(bigint, bigint, int),
  acme_private.account_for_worker(bigint),
  acme_private.account_key_stored(bigint, bigint, uuid, text, text, bytea),
  acme_private.account_registered(bigint, bigint, uuid, text, text, text),
  acme_private.account_updated(bigint, bigint, uuid, jsonb),
  acme_private.account_pending_key(bigint, bigint, uuid, text, text, bytea),
  acme_private.account_key_ready(bigint, bigint, uuid),
  acme_private.account_rolled_over(bigint, bigint, uuid),
  acme_private.account_roll_over_refused(bigint, bigint, uuid, jsonb),
  acme_private.account_key_found(bigint, bigint, uuid, bigint),
  acme_private.account_deactivated(bigint, bigint, uuid, text),
  acme_private.orders_listed(bigint, bigint, uuid, jsonb, text),
  acme_private.csrs_of_orders(bigint, jsonb),
  acme_private.orders_read(bigint, bigint, uuid, jsonb),
  acme_private.order_created(bigint, bigint, uuid, jsonb, int),
  acme_private.authorization_named(bigint, bigint, uuid, text),
  acme_private.authorization_created(bigint, bigint, uuid, text, int),
  acme_private.challenge_intended(bigint, bigint, uuid, text, jsonb),
  acme_private.authorization_proved(bigint, bigint, uuid, jsonb, int),
  acme_private.authorization_deactivated(bigint, bigint, uuid, text, int),
  acme_private.order_finalized(bigint, bigint, uuid, text, boolean, bigint, int),
  acme_private.certificate_stored(bigint, bigint, uuid, jsonb, int),
  acme_private.renewal_window(bigint, bigint, uuid, jsonb, int),
  acme_private.certificate_revoked(bigint, bigint, uuid, bigint, boolean),
  acme_private.accounts_for_revocation(bigint, bigint),
  acme_private.abandoned_authorizations(bigint),
  acme_private.order_cancelled(bigint, bigint, uuid, bigint[], int),
  acme_private.step_failed(bigint, text, bigint, uuid, jsonb, int),
  acme_private.reconcile(),
  acme_private.worker_schema(),
  acme_private.server_facts_stored(bigint, bigint, text, jsonb),
  acme_private.servers_to_look_at(bigint),
  acme_private.server_to_probe(text),
  acme_private.doctor(),
  acme_private.worker_begin(text, int, text, int, bigint),
  acme_private.worker_beat(bigint, text, interval, timestamptz),
  acme_private.worker_started_with(bigint, text, boolean),
  acme_private.keys_to_open(),
  acme_private.server_answered(bigint, text),
  acme_private.worker_end(bigint),
  acme_private.unknown_leases(bigint, uuid[], interval),
  acme_private.unbounded_logins(text),
  acme_private.worker_hold(bigint, text)
  to acme_worker;

-- Row-level security by tenant on every table that an application can read. Owners (the functions
-- above) are not bound by it. drop and create, since policies know no "or replace".
do $$
declare
  v_table text;
begin
  foreach v_table in array array['acme.csr', 'acme.revocation_request', 'acme.deactivation_request',
                                 'acme_private.csr_state', 'acme_private."order"', 'acme_private.authorization',
                                 'acme_private.challenge', 'acme_private.record', 'acme_private.certificate',
                                 'acme_private.certificate_name', 'acme_private.event']
  loop
    execute format('alter table %s enable row level security', v_table);
    execute format('drop policy if exists own_tenant on %s', v_table);
    execute format('create policy own_tenant on %s for all to acme_app using (tenant = (select acme_private.current_tenant())) with check (tenant = (select acme_private.current_tenant()))', v_table);
    execute format('drop policy if exists every_tenant on %s', v_table);
    execute format('create policy every_tenant on %s for select to acme_reader, acme_admin using (true)', v_table);
  end loop;
end
$$;
drop policy if exists admin_requests on acme.csr;
create policy admin_requests on acme.csr for update to acme_admin using (true) with check (true);
drop policy if exists admin_revokes on acme.revocation_request;
create policy admin_revokes on acme.revocation_request for insert to acme_admin with check (true);
drop policy if exists admin_deactivates on acme.deactivation_request;
create policy admin_deactivates on acme.deactivation_request for insert to acme_admin with check (true);
drop policy if exists admin_records on acme_private.record;
create policy admin_records on acme_private.record for update to acme_admin using (true) with check (true);

-- An application moves only what is published by hand.
drop policy if exists by_hand_only on acme_private.record;
create policy by_hand_only on acme_private.record as restrictive for update to acme_app
  using (method = 'manual' and state in ('intended', 'removing')) with check (true);
drop policy if exists challenge_answers on acme_private.record;
create policy challenge_answers on acme_private.record for select to acme_responder, acme_worker
  using (is_published);

-- A limit of a server or an account is shown to all who wait for it; the others name what is one tenant's, who reads of
-- them in csr_status.
alter table acme_private.closure enable row level security;
drop policy if exists shared on acme_private.closure;
create policy shared on acme_private.closure for select to acme_app using (scope in ('server', 'account', 'orders'));
drop policy if exists every_scope on acme_private.closure;
create policy every_scope on acme_private.closure for select to acme_reader, acme_admin using (true);

-- order_authorization has no tenant of its own: it is seen with its order.
alter table acme_private.order_authorization enable row level security;
drop policy if exists with_its_order on acme_private.order_authorization;
create policy with_its_order on acme_private.order_authorization for select to acme_app, acme_reader
  using (exists (select from acme_private."order" o where o.id = order_id));
