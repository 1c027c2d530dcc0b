-- The public contract of pgacme: what schema acme has, who may use it, and what it means.
-- Written by test/sql/contract.test.ts and never by hand; it is for reading and reviewing, not for running.

create table acme.account (
  id bigint not null generated always as identity,
  name text not null,
  server text not null,
  contact text[] not null default '{}'::text[],
  terms_agreed boolean not null default false,
  key_algorithm text not null default 'ES256'::text,
  is_default boolean,
  paused_at timestamp with time zone,
  pause_reason text,
  version bigint not null default 1,
  created_at timestamp with time zone not null default now(),
  eab_kid text,
  eab_hmac text,
  details_version bigint not null default 1,
  terms_request bigint,
  verify_request bigint,
  roll_over_request bigint,
  deactivate_request bigint,
  constraint account_eab_kid_is_short CHECK (((length(eab_kid) >= 1) AND (length(eab_kid) <= 500))),
  constraint account_key_algorithm_is_known CHECK ((key_algorithm = ANY (ARRAY['ES256'::text, 'ES384'::text, 'RS256'::text]))),
  constraint account_name_is_plain CHECK ((name ~ '^[a-z0-9][a-z0-9._-]{0,252}$'::text)),
  constraint account_name_key UNIQUE (name),
  constraint account_name_server_key UNIQUE (name, server),
  constraint account_pkey PRIMARY KEY (id),
  constraint account_server_fkey FOREIGN KEY (server) REFERENCES acme.server(name) ON UPDATE CASCADE ON DELETE RESTRICT
);
comment on table acme.account is 'ACME accounts (RFC 8555 §7.1.2). A new row registers itself. Written by acme_admin.';
comment on column acme.account.id is 'Given by the database.';
comment on column acme.account.name is 'How csrs and functions call it; it cannot change, since its key is sealed for it.';
comment on column acme.account.server is 'The server where it is registered, by name.';
comment on column acme.account.contact is 'Contact URLs, for example {mailto:ops@example.org}.';
comment on column acme.account.terms_agreed is 'True once a person agreed to the server''s terms of service.';
comment on column acme.account.key_algorithm is 'The kind of account key that a worker makes (RFC 7518 §3.1).';
comment on column acme.account.is_default is 'Serves the csrs that name no account, or is the model of those that do (server.account_policy); the first account gets it.';
comment on column acme.account.paused_at is 'Since when it gets no new orders; null: it is open. Set by acme.pause.';
comment on column acme.account.pause_reason is 'Why it is paused: shown to all who wait.';
comment on column acme.account.version is 'Counts the changes of this row that workers act on.';
comment on column acme.account.created_at is 'When it was inserted.';
comment on column acme.account.eab_kid is 'The key identifier of an external account binding, from the CA (RFC 8555 §7.3.4).';
comment on column acme.account.eab_hmac is 'The key of the external account binding, sealed by pgacme seal. Only on its way in: it is kept elsewhere, and null when read.';
comment on column acme.account.details_version is 'The version at which contact, terms or binding changed last.';
comment on column acme.account.terms_request is 'The version at which somebody agreed to the terms of service last, by acme.agree_terms or terms_agreed.';
comment on column acme.account.verify_request is 'The version at which acme.verify_account was called last.';
comment on column acme.account.roll_over_request is 'The version at which acme.roll_over_key was called last.';
comment on column acme.account.deactivate_request is 'The version at which acme.deactivate_account was called; it cannot be taken back.';
grant delete, insert (name, server, contact, terms_agreed, key_algorithm, is_default, eab_kid, eab_hmac), select, update (contact, terms_agreed, is_default, paused_at, pause_reason, eab_kid, eab_hmac, terms_request, verify_request, roll_over_request, deactivate_request) on acme.account to acme_admin;
grant select on acme.account to acme_reader;

create table acme.account_domain (
  server text not null,
  domain text not null,
  account text not null,
  created_at timestamp with time zone not null default now(),
  constraint account_domain_account_fkey FOREIGN KEY (account, server) REFERENCES acme.account(name, server) ON UPDATE CASCADE ON DELETE CASCADE,
  constraint account_domain_domain_is_plain CHECK ((domain ~ '^[a-z0-9][a-z0-9.-]{0,252}$'::text)),
  constraint account_domain_pkey PRIMARY KEY (server, domain)
);
comment on table acme.account_domain is 'Which account serves which registered domain of a server whose account_policy is per_registered_domain. Filled when such a csr is accepted; acme_admin may write it as well.';
comment on column acme.account_domain.server is 'The server, by name.';
comment on column acme.account_domain.domain is 'The registered domain, such as example.org or example.co.uk.';
comment on column acme.account_domain.account is 'The account that new csrs of this domain get, if they name none.';
comment on column acme.account_domain.created_at is 'When it was inserted.';
grant delete, insert (server, domain, account), select, update (account) on acme.account_domain to acme_admin;
grant select on acme.account_domain to acme_reader;

create table acme.attention_settings (
  is_only boolean not null default true,
  renewal_warning numeric not null default (1.0 / (3)::numeric),
  renewal_critical numeric not null default (2.0 / (3)::numeric),
  lifetime_warning numeric not null default (1.0 / (3)::numeric),
  lifetime_critical numeric not null default 0.1,
  server_warning interval not null default '00:05:00'::interval,
  server_critical interval not null default '01:00:00'::interval,
  cooldown_warning interval not null default '1 day'::interval,
  worker_critical interval not null default '00:02:00'::interval,
  clock_warning interval not null default '00:00:10'::interval,
  clock_critical interval not null default '00:01:00'::interval,
  changes_warning interval not null default '00:05:00'::interval,
  changes_critical interval not null default '01:00:00'::interval,
  notify_queue_warning numeric not null default 0.1,
  notify_queue_critical numeric not null default 0.5,
  has_own_responder boolean not null default false,
  constraint attention_settings_changes_critical_is_later CHECK ((changes_critical >= changes_warning)),
  constraint attention_settings_changes_warning_is_positive CHECK ((changes_warning > '00:00:00'::interval)),
  constraint attention_settings_clock_critical_is_more CHECK ((clock_critical >= clock_warning)),
  constraint attention_settings_clock_warning_is_positive CHECK ((clock_warning > '00:00:00'::interval)),
  constraint attention_settings_cooldown_warning_is_positive CHECK ((cooldown_warning >= '00:00:00'::interval)),
  constraint attention_settings_is_only CHECK (is_only),
  constraint attention_settings_lifetime_critical_is_share CHECK (((lifetime_critical >= (0)::numeric) AND (lifetime_critical <= lifetime_warning))),
  constraint attention_settings_lifetime_warning_is_share CHECK (((lifetime_warning >= (0)::numeric) AND (lifetime_warning <= (1.0 / (3)::numeric)))),
  constraint attention_settings_notify_queue_critical_is_more CHECK (((notify_queue_critical >= notify_queue_warning) AND (notify_queue_critical <= (1)::numeric))),
  constraint attention_settings_notify_queue_warning_is_share CHECK (((notify_queue_warning >= (0)::numeric) AND (notify_queue_warning <= (1)::numeric))),
  constraint attention_settings_pkey PRIMARY KEY (is_only),
  constraint attention_settings_renewal_critical_is_share CHECK (((renewal_critical >= renewal_warning) AND (renewal_critical <= (1)::numeric))),
  constraint attention_settings_renewal_warning_is_share CHECK (((renewal_warning >= (0)::numeric) AND (renewal_warning <= (1)::numeric))),
  constraint attention_settings_server_critical_is_later CHECK ((server_critical >= server_warning)),
  constraint attention_settings_server_warning_is_positive CHECK ((server_warning >= '00:00:00'::interval)),
  constraint attention_settings_worker_critical_is_long CHECK ((worker_critical >= '00:00:30'::interval))
);
comment on table acme.attention_settings is 'From when on acme.attention tells: one row, which acme_admin updates.';
comment on column acme.attention_settings.is_only is 'There is one row.';
comment on column acme.attention_settings.renewal_warning is 'A renewal that has not come is a warning after this share of the time that was left when it was first to begin.';
comment on column acme.attention_settings.renewal_critical is 'And critical after this share.';
comment on column acme.attention_settings.lifetime_warning is 'A certificate that is not renewed by itself is a warning when this share of its lifetime is left; at most a third.';
comment on column acme.attention_settings.lifetime_critical is 'And critical when this share is left.';
comment on column acme.attention_settings.server_warning is 'How long a server has not answered before it is a warning.';
comment on column acme.attention_settings.server_critical is 'And before it is critical.';
comment on column acme.attention_settings.cooldown_warning is 'A server or account that takes no new orders for longer than this is a warning.';
comment on column acme.attention_settings.worker_critical is 'How long no worker has run before it is critical.';
comment on column acme.attention_settings.clock_warning is 'How far a worker''s clock is off the database''s before it is a warning.';
comment on column acme.attention_settings.clock_critical is 'And before it is critical.';
comment on column acme.attention_settings.changes_warning is 'How long acme.changes has held events back for a transaction that is still open before it is a warning.';
comment on column acme.attention_settings.changes_critical is 'And before it is critical.';
comment on column acme.attention_settings.notify_queue_warning is 'How full PostgreSQL''s queue of notifications is, as a share, before it is a warning.';
comment on column acme.attention_settings.notify_queue_critical is 'And before it is critical.';
comment on column acme.attention_settings.has_own_responder is 'True: your own web server answers http-01 by acme.http01_response(), so that no worker is missed that does.';
grant update (renewal_warning, renewal_critical, lifetime_warning, lifetime_critical, server_warning, server_critical, cooldown_warning, worker_critical, clock_warning, clock_critical, changes_warning, changes_critical, notify_queue_warning, notify_queue_critical, has_own_responder) on acme.attention_settings to acme_admin;
grant select on acme.attention_settings to acme_app;
grant select on acme.attention_settings to acme_reader;

create table acme.csr (
  id bigint not null generated always as identity,
  tenant text not null default acme_private.current_tenant(),
  ref text,
  pem text not null,
  account text,
  profile text,
  solver text,
  renewal text not null default 'reuse'::text,
  priority integer not null default 0,
  labels jsonb not null default '{}'::jsonb,
  version bigint not null default 1,
  retry_request bigint,
  renew_request bigint,
  renew_reason text,
  cancel_request bigint,
  inserted_xid xid8 not null default pg_current_xact_id(),
  touched_xid xid8,
  created_at timestamp with time zone not null default now(),
  cancel_reason text,
  preferred_chain text,
  validity interval,
  chain_pem text,
  validity_start interval,
  constraint csr_account_fkey FOREIGN KEY (account) REFERENCES acme.account(name) ON UPDATE CASCADE ON DELETE RESTRICT,
  constraint csr_cancel_reason_is_plain CHECK (((length(cancel_reason) <= 500) AND (cancel_reason !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'::text))),
  constraint csr_chain_pem_is_moved CHECK ((chain_pem IS NULL)),
  constraint csr_labels_are_plain CHECK (((octet_length((labels)::text) <= 16384) AND ((labels)::text !~ '[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|(^|[^\\])(\\\\)*\\[bfnrtu]'::text))),
  constraint csr_labels_is_object CHECK ((jsonb_typeof(labels) = 'object'::text)),
  constraint csr_pkey PRIMARY KEY (id),
  constraint csr_preferred_chain_is_plain CHECK ((preferred_chain !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'::text)),
  constraint csr_preferred_chain_is_short CHECK (((length(preferred_chain) >= 1) AND (length(preferred_chain) <= 300))),
  constraint csr_priority_is_bounded CHECK (((priority >= '-1000000'::integer) AND (priority <= 1000000))),
  constraint csr_profile_is_plain CHECK ((profile !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'::text)),
  constraint csr_profile_is_short CHECK (((length(profile) >= 1) AND (length(profile) <= 100))),
  constraint csr_ref_is_plain CHECK ((ref !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'::text)),
  constraint csr_ref_is_short CHECK (((length(ref) >= 1) AND (length(ref) <= 500))),
  constraint csr_renew_reason_is_plain CHECK (((length(renew_reason) <= 500) AND (renew_reason !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'::text))),
  constraint csr_renewal_is_known CHECK ((renewal = ANY (ARRAY['reuse'::text, 'off'::text]))),
  constraint csr_solver_fkey FOREIGN KEY (solver) REFERENCES acme.solver(name) ON UPDATE CASCADE ON DELETE RESTRICT,
  constraint csr_tenant_is_plain CHECK ((((length(tenant) >= 1) AND (length(tenant) <= 200)) AND (tenant !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]'::text))),
  constraint csr_validity_ends_after_start CHECK ((validity > validity_start)),
  constraint csr_validity_is_bounded CHECK (((validity <= '100 years'::interval) AND ((EXTRACT(year FROM validity) >= ('-100'::integer)::numeric) AND (EXTRACT(year FROM validity) <= (100)::numeric)) AND ((EXTRACT(day FROM validity) >= ('-36600'::integer)::numeric) AND (EXTRACT(day FROM validity) <= (36600)::numeric)) AND ((EXTRACT(hour FROM validity) >= ('-878400'::integer)::numeric) AND (EXTRACT(hour FROM validity) <= (878400)::numeric)))),
  constraint csr_validity_is_positive CHECK ((validity > '00:00:00'::interval)),
  constraint csr_validity_start_is_bounded CHECK ((((validity_start >= '-100 years'::interval) AND (validity_start <= '100 years'::interval)) AND ((EXTRACT(year FROM validity_start) >= ('-100'::integer)::numeric) AND (EXTRACT(year FROM validity_start) <= (100)::numeric)) AND ((EXTRACT(day FROM validity_start) >= ('-36600'::integer)::numeric) AND (EXTRACT(day FROM validity_start) <= (36600)::numeric)) AND ((EXTRACT(hour FROM validity_start) >= ('-878400'::integer)::numeric) AND (EXTRACT(hour FROM validity_start) <= (878400)::numeric))))
);
comment on table acme.csr is 'Certificate signing requests, as applications inserted them. Where each stands: csr_status.';
comment on column acme.csr.id is 'Given by the database; keep it in your tables, as a plain bigint.';
comment on column acme.csr.tenant is 'On whose behalf it was inserted: acme.current_tenant() at that time.';
comment on column acme.csr.ref is 'The application''s own key; one live csr of a tenant has it.';
comment on column acme.csr.pem is 'The PKCS #10 request in PEM (RFC 2986, RFC 7468). Never a private key.';
comment on column acme.csr.account is 'The account to order with; null: the default account, or that of its registered domain (server.account_policy).';
comment on column acme.csr.profile is 'The profile to ask the server for; null: the server''s default.';
comment on column acme.csr.solver is 'The solver to use for all its names; null: the most specific one.';
comment on column acme.csr.renewal is 'reuse: renew with this same CSR; off: do not renew.';
comment on column acme.csr.priority is 'Within a tenant, higher goes first.';
comment on column acme.csr.labels is 'Anything of yours, as a JSON object.';
comment on column acme.csr.version is 'Counts the changes of this row.';
comment on column acme.csr.retry_request is 'The version at which acme.retry was called last.';
comment on column acme.csr.renew_request is 'The version at which acme.renew was called last.';
comment on column acme.csr.renew_reason is 'What acme.renew was told.';
comment on column acme.csr.cancel_request is 'The version at which acme.cancel, or acme.release_domain, was called first; it cannot be taken back.';
comment on column acme.csr.inserted_xid is 'The transaction that inserted it: acme.wait refuses there.';
comment on column acme.csr.touched_xid is 'The transaction that changed it last: acme.wait refuses there.';
comment on column acme.csr.created_at is 'When it was inserted.';
comment on column acme.csr.cancel_reason is 'Why it was cancelled, in a sentence; null: it was asked for.';
comment on column acme.csr.preferred_chain is 'Of several chains that the server offers, the one whose top (its last certificate, or the issuer of that) has this common name; or which has this key in hex: the SHA-256 of one in the chain, or the root''s key identifier; null, or if none has: the server''s default.';
comment on column acme.csr.validity is 'How long a new certificate is to be good: its notAfter is asked for as now plus this. Only where the server takes that; null: the server''s default.';
comment on column acme.csr.chain_pem is 'The certificate that another client ordered for this CSR, and its issuers: it is adopted in place of ordering one. Only on its way in: null when read.';
comment on column acme.csr.validity_start is 'When a new certificate is to become good: its notBefore is asked for as now plus this. Only where the server takes that; null: the server''s default.';
grant insert (chain_pem), update (account) on acme.csr to acme_admin;
grant insert (ref, pem, account, profile, solver, renewal, priority, labels, preferred_chain, validity, validity_start), select, update (renewal, priority, labels, retry_request, renew_request, renew_reason, cancel_request, cancel_reason, preferred_chain, validity, validity_start) on acme.csr to acme_app;
grant select on acme.csr to acme_reader;
alter table acme.csr enable row level security;
create policy admin_requests on acme.csr as permissive for update to acme_admin using true with check true;
create policy every_tenant on acme.csr as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme.csr as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

create table acme.deactivation_request (
  id bigint not null generated always as identity,
  tenant text not null,
  authorization_id bigint not null,
  requested_by text not null default SESSION_USER,
  created_at timestamp with time zone not null default now(),
  constraint deactivation_request_pkey PRIMARY KEY (id)
);
comment on table acme.deactivation_request is 'Deactivations of authorizations that were asked for and that no worker has seen yet. Inserted into by acme.deactivate_authorization and acme.release_domain; workers take the rows away.';
comment on column acme.deactivation_request.id is 'Given by the database.';
comment on column acme.deactivation_request.tenant is 'The authorization''s.';
comment on column acme.deactivation_request.authorization_id is 'The authorization to give up, by its id in acme.authorization.';
comment on column acme.deactivation_request.requested_by is 'The login that asked.';
comment on column acme.deactivation_request.created_at is 'When it was asked for.';
grant insert (authorization_id), select on acme.deactivation_request to acme_app;
grant select on acme.deactivation_request to acme_reader;
alter table acme.deactivation_request enable row level security;
create policy admin_deactivates on acme.deactivation_request as permissive for insert to acme_admin with check true;
create policy every_tenant on acme.deactivation_request as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme.deactivation_request as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

create table acme.resume_request (
  id bigint not null generated always as identity,
  scope text not null,
  name text not null,
  requested_by text not null default CURRENT_USER,
  created_at timestamp with time zone not null default now(),
  constraint resume_request_csr_is_id CHECK (((scope <> 'csr'::text) OR (name ~ '^[0-9]{1,18}$'::text))),
  constraint resume_request_name_is_short CHECK (((length(name) >= 1) AND (length(name) <= 255))),
  constraint resume_request_pkey PRIMARY KEY (id),
  constraint resume_request_scope_is_known CHECK ((scope = ANY (ARRAY['server'::text, 'account'::text, 'domain'::text, 'csr'::text])))
);
comment on table acme.resume_request is 'Limits that acme.resume was to end and that no worker has seen yet; workers take the rows away.';
comment on column acme.resume_request.id is 'Given by the database.';
comment on column acme.resume_request.scope is 'What is to go on: server, account, domain or csr.';
comment on column acme.resume_request.name is 'Its name; of a csr its id.';
comment on column acme.resume_request.requested_by is 'The login that asked.';
comment on column acme.resume_request.created_at is 'When it was asked for.';
grant insert (scope, name), select on acme.resume_request to acme_admin;
grant select on acme.resume_request to acme_reader;

create table acme.revocation_request (
  id bigint not null generated always as identity,
  tenant text not null,
  certificate_id bigint not null,
  reason text not null,
  after_replacement boolean not null default false,
  requested_by text not null default SESSION_USER,
  created_at timestamp with time zone not null default now(),
  ends_csr boolean not null default false,
  constraint revocation_request_ends_or_replaces CHECK ((NOT (ends_csr AND after_replacement))),
  constraint revocation_request_pkey PRIMARY KEY (id),
  constraint revocation_request_reason_is_known CHECK ((reason = ANY (ARRAY['unspecified'::text, 'keyCompromise'::text, 'affiliationChanged'::text, 'superseded'::text, 'cessationOfOperation'::text, 'privilegeWithdrawn'::text])))
);
comment on table acme.revocation_request is 'Revocations that were asked for and that no worker has seen yet. Inserted into by acme.revoke and acme.revoke_certificate; workers take the rows away.';
comment on column acme.revocation_request.id is 'Given by the database.';
comment on column acme.revocation_request.tenant is 'The certificate''s.';
comment on column acme.revocation_request.certificate_id is 'The certificate to revoke, by its id in acme.certificate.';
comment on column acme.revocation_request.reason is 'Why, by the names of RFC 5280 §5.3.1.';
comment on column acme.revocation_request.after_replacement is 'True: only once a newer certificate of the same csr is stored.';
comment on column acme.revocation_request.requested_by is 'The login that asked.';
comment on column acme.revocation_request.created_at is 'When it was asked for.';
comment on column acme.revocation_request.ends_csr is 'True: its csr is not renewed meanwhile, and ends when the certificate is revoked.';
grant insert (certificate_id, reason, after_replacement, ends_csr), select on acme.revocation_request to acme_app;
grant select on acme.revocation_request to acme_reader;
alter table acme.revocation_request enable row level security;
create policy admin_revokes on acme.revocation_request as permissive for insert to acme_admin with check true;
create policy every_tenant on acme.revocation_request as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme.revocation_request as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

create table acme.server (
  id bigint not null generated always as identity,
  name text not null,
  directory_url text not null,
  ca_bundle text,
  allowed_hosts text[] not null default '{}'::text[],
  key_types text[] not null default '{RSA-2048,RSA-3072,RSA-4096,P-256,P-384}'::text[],
  max_names integer not null default 100,
  max_orders_in_flight integer not null default 50,
  paused_at timestamp with time zone,
  pause_reason text,
  version bigint not null default 1,
  created_at timestamp with time zone not null default now(),
  account_policy text not null default 'single'::text,
  refused_csr_features text[] not null,
  blocks_revoked_keys boolean not null,
  constraint server_account_policy_is_known CHECK ((account_policy = ANY (ARRAY['single'::text, 'per_registered_domain'::text]))),
  constraint server_ca_bundle_is_pem CHECK (((ca_bundle ~ '-----BEGIN CERTIFICATE-----'::text) AND (ca_bundle !~ 'PRIVATE KEY'::text))),
  constraint server_directory_url_is_https CHECK ((directory_url ~ '^https://[^/?#@[:space:]]+([/?][^#[:space:]]*)?$'::text)),
  constraint server_max_names_is_positive CHECK ((max_names > 0)),
  constraint server_max_orders_in_flight_is_positive CHECK ((max_orders_in_flight > 0)),
  constraint server_name_is_plain CHECK ((name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'::text)),
  constraint server_name_key UNIQUE (name),
  constraint server_pkey PRIMARY KEY (id),
  constraint server_refused_csr_features_are_known CHECK ((refused_csr_features <@ '{must_staple,client_auth_eku}'::text[]))
);
comment on table acme.server is 'ACME servers: one row for each directory (RFC 8555 §7.1.1). Written by acme_admin.';
comment on column acme.server.id is 'Given by the database.';
comment on column acme.server.name is 'How accounts and functions call it: lower-case letters, digits, dot, dash, underscore.';
comment on column acme.server.directory_url is 'The directory''s URL; fixed once the server has an account.';
comment on column acme.server.ca_bundle is 'PEM certificates to trust for this server''s TLS, besides the system''s.';
comment on column acme.server.allowed_hosts is 'Hosts (host or host:port) besides the directory''s own that its URLs may point at.';
comment on column acme.server.key_types is 'Key types of CSRs that this server takes.';
comment on column acme.server.max_names is 'How many names one certificate may have here.';
comment on column acme.server.max_orders_in_flight is 'How many orders may be under way at once, over all workers.';
comment on column acme.server.paused_at is 'Since when it gets no new orders, and nothing is begun with its accounts; null: it is open. Set by acme.pause.';
comment on column acme.server.pause_reason is 'Why it is paused: shown to all who wait.';
comment on column acme.server.version is 'Counts the changes of this row.';
comment on column acme.server.created_at is 'When it was inserted.';
comment on column acme.server.account_policy is 'Which account serves a csr that names none, if the default account is of this server: single: that one; per_registered_domain: the one that acme.account_domain has for its domain, made if there is none.';
comment on column acme.server.refused_csr_features is 'What this server refuses that a CSR may ask for: must_staple, client_auth_eku. Left out, it is filled in for CAs that are known.';
comment on column acme.server.blocks_revoked_keys is 'Whether a revocation signed with the certificate''s own key counts as a compromise of that key here. Left out, it is filled in for CAs that are known.';
grant delete, insert (name, directory_url, ca_bundle, allowed_hosts, key_types, max_names, max_orders_in_flight, account_policy, refused_csr_features, blocks_revoked_keys), select, update (name, directory_url, ca_bundle, allowed_hosts, key_types, max_names, max_orders_in_flight, paused_at, pause_reason, account_policy, refused_csr_features, blocks_revoked_keys) on acme.server to acme_admin;
grant select (id, name, directory_url, max_orders_in_flight, paused_at, pause_reason, account_policy) on acme.server to acme_app;
grant select (id, name, directory_url, max_orders_in_flight, paused_at, pause_reason, account_policy) on acme.server to acme_reader;

create table acme.solver (
  id bigint not null generated always as identity,
  name text not null,
  challenge_type text not null default 'http-01'::text,
  method text not null default 'responder'::text,
  names text[] not null default '{*}'::text[],
  created_at timestamp with time zone not null default now(),
  constraint solver_challenge_type_is_known CHECK ((challenge_type = 'http-01'::text)),
  constraint solver_method_is_known CHECK ((method = ANY (ARRAY['responder'::text, 'manual'::text]))),
  constraint solver_name_is_plain CHECK ((name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'::text)),
  constraint solver_name_key UNIQUE (name),
  constraint solver_pkey PRIMARY KEY (id)
);
comment on table acme.solver is 'How challenges get published, and for which names. Written by acme_admin.';
comment on column acme.solver.id is 'Given by the database.';
comment on column acme.solver.name is 'How csrs call it: lower-case letters, digits, dot, dash, underscore.';
comment on column acme.solver.challenge_type is 'The challenge type that it answers (RFC 8555 §8).';
comment on column acme.solver.method is 'responder: the built-in responder, or your server by http01_response(); manual: by hand, see challenge_todo.';
comment on column acme.solver.names is 'Domains it serves, each with everything below it; * is all. The most specific solver wins.';
comment on column acme.solver.created_at is 'When it was inserted.';
grant delete, insert (name, challenge_type, method, names), select, update (name, names) on acme.solver to acme_admin;
grant select on acme.solver to acme_app;
grant select on acme.solver to acme_reader;

create table acme.tenant_role (
  role regrole not null,
  tenant text not null,
  created_at timestamp with time zone not null default now(),
  constraint tenant_role_pkey PRIMARY KEY (role),
  constraint tenant_role_tenant_is_plain CHECK ((((length(tenant) >= 1) AND (length(tenant) <= 200)) AND (tenant !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]'::text)))
);
comment on table acme.tenant_role is 'The tenant that a role acts for, where that is not called as the role is. Written by acme_admin. The row of a role that was dropped goes by itself.';
comment on column acme.tenant_role.role is 'The role, also after it was renamed: the role itself, not those that are members of it.';
comment on column acme.tenant_role.tenant is 'The tenant: 1 to 200 characters, without control characters or characters that are not seen.';
comment on column acme.tenant_role.created_at is 'When it was inserted.';
grant delete, insert (role, tenant), select, update (tenant) on acme.tenant_role to acme_admin;
grant select on acme.tenant_role to acme_reader;

create view acme.account_status (
  id bigint,
  name text,
  server text,
  state text,
  reason_code text,
  reason text,
  next_attempt_at timestamp with time zone,
  attempts integer,
  last_problem jsonb,
  url text,
  contact text[],
  terms_agreed boolean,
  terms_url text,
  is_default boolean,
  registered_at timestamp with time zone,
  updated_at timestamp with time zone,
  thumbprint text,
  eab_kid text,
  verified_at timestamp with time zone,
  has_pending_change boolean,
  agreed_terms_url text
) with (security_invoker=true);
comment on view acme.account_status is 'Where each ACME account stands at its server.';
comment on column acme.account_status.id is 'As in acme.account.';
comment on column acme.account_status.name is 'As in acme.account.';
comment on column acme.account_status.server is 'The server, by name.';
comment on column acme.account_status.state is 'new, registering, valid, rolling_over, deactivating, deactivated, revoked; needs_person: a person has to act; paused: by acme.pause.';
comment on column acme.account_status.reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme.account_status.reason is 'The same as a sentence.';
comment on column acme.account_status.next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme.account_status.attempts is 'How many attempts in a row met a transient error.';
comment on column acme.account_status.last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme.account_status.url is 'The account''s URL at the server (RFC 8555 §7.1.2), once it is registered.';
comment on column acme.account_status.contact is 'As in acme.account.';
comment on column acme.account_status.terms_agreed is 'As in acme.account.';
comment on column acme.account_status.terms_url is 'The server''s current terms of service.';
comment on column acme.account_status.is_default is 'As in acme.account.';
comment on column acme.account_status.registered_at is 'When the server registered it.';
comment on column acme.account_status.updated_at is 'When its state changed last.';
comment on column acme.account_status.thumbprint is 'The thumbprint of the current account key (RFC 7638), as logs and events name it.';
comment on column acme.account_status.eab_kid is 'As in acme.account.';
comment on column acme.account_status.verified_at is 'When the server last confirmed that the key is the account''s.';
comment on column acme.account_status.has_pending_change is 'True: the server has not been told of a change yet.';
comment on column acme.account_status.agreed_terms_url is 'The terms of service that a person agreed to.';
grant select on acme.account_status to acme_admin;
grant select on acme.account_status to acme_reader;

create view acme.attention (
  severity text,
  code text,
  since timestamp with time zone,
  csr_id bigint,
  ref text,
  tenant text,
  identifiers text[],
  account text,
  server text,
  worker bigint,
  sentence text,
  what_to_do text
) with (security_invoker=true);
comment on view acme.attention is 'What a person should act on, a row each, most urgent first. Empty when all is well. docs/monitoring.md lists the codes.';
comment on column acme.attention.severity is 'warning or critical.';
comment on column acme.attention.code is 'What it is about, stable; acme.attention_code lists them.';
comment on column acme.attention.since is 'Since when; null: unknown.';
comment on column acme.attention.csr_id is 'The csr, by its id in acme.csr; null: of none.';
comment on column acme.attention.ref is 'The application''s own key (acme.csr.ref).';
comment on column acme.attention.tenant is 'The tenant that it belongs to; null: of the installation.';
comment on column acme.attention.identifiers is 'The names of the csr.';
comment on column acme.attention.account is 'The account, by name.';
comment on column acme.attention.server is 'The server, by name.';
comment on column acme.attention.worker is 'The worker, by its id in acme.worker_status.';
comment on column acme.attention.sentence is 'What is wrong, the cause first.';
comment on column acme.attention.what_to_do is 'What to do.';
grant select on acme.attention to acme_app;
grant select on acme.attention to acme_reader;

create view acme.attention_code (
  "position" integer,
  code text,
  severity text,
  about text,
  what_to_do text
);
comment on view acme.attention_code is 'The codes of acme.attention: stable names, how severe each is, what it is about, and what to do.';
comment on column acme.attention_code."position" is 'The order of codes within a severity.';
comment on column acme.attention_code.code is 'The code, stable.';
comment on column acme.attention_code.severity is 'warning, critical, or either.';
comment on column acme.attention_code.about is 'What it is about.';
comment on column acme.attention_code.what_to_do is 'What to do; names in braces are filled in.';
grant select on acme.attention_code to acme_app;
grant select on acme.attention_code to acme_reader;

create view acme."authorization" (
  id bigint,
  tenant text,
  account_id bigint,
  url text,
  state text,
  identifier text,
  is_wildcard boolean,
  expires_at timestamp with time zone,
  next_attempt_at timestamp with time zone,
  attempts integer,
  reason_code text,
  reason text,
  last_problem jsonb,
  created_at timestamp with time zone,
  updated_at timestamp with time zone,
  is_preauthorization boolean
) with (security_invoker=true);
comment on view acme."authorization" is 'ACME authorizations (RFC 8555 §7.1.4); orders share them. Those that acme.preauthorize asked for are there before any order.';
comment on column acme."authorization".id is 'Given by the database.';
comment on column acme."authorization".tenant is 'The tenant that it belongs to.';
comment on column acme."authorization".account_id is 'The account whose authorization it is.';
comment on column acme."authorization".url is 'Its URL at the server; null: not made yet.';
comment on column acme."authorization".state is 'new, pending, valid, deactivating, invalid, deactivated, expired, revoked (RFC 8555 §7.1.6).';
comment on column acme."authorization".identifier is 'The name or address that it authorizes, without *.';
comment on column acme."authorization".is_wildcard is 'True: for the wildcard of identifier.';
comment on column acme."authorization".expires_at is 'When it expires at the server; null: that is not known.';
comment on column acme."authorization".next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme."authorization".attempts is 'How many attempts in a row met a transient error.';
comment on column acme."authorization".reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme."authorization".reason is 'The same as a sentence.';
comment on column acme."authorization".last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme."authorization".created_at is 'When it was inserted.';
comment on column acme."authorization".updated_at is 'When its state changed last.';
comment on column acme."authorization".is_preauthorization is 'True: acme.preauthorize asked for it.';
grant select on acme."authorization" to acme_app;
grant select on acme."authorization" to acme_reader;

create view acme.blocked_key (
  spki_sha256 bytea,
  tenant text,
  certificate_id bigint,
  reason text,
  created_at timestamp with time zone
) with (security_invoker=true);
comment on view acme.blocked_key is 'Keys that are used for no certificate any more, by the SHA-256 of their SubjectPublicKeyInfo. acme_admin may delete one that was blocked by mistake; acme.retry() then lets its csrs go on.';
comment on column acme.blocked_key.spki_sha256 is 'The SHA-256 of the SubjectPublicKeyInfo.';
comment on column acme.blocked_key.tenant is 'The tenant whose report blocked it.';
comment on column acme.blocked_key.certificate_id is 'The certificate that was reported.';
comment on column acme.blocked_key.reason is 'The revocation reason.';
comment on column acme.blocked_key.created_at is 'When it was blocked.';
grant delete, select on acme.blocked_key to acme_admin;
grant select on acme.blocked_key to acme_reader;

create view acme.certificate (
  id bigint,
  csr_id bigint,
  tenant text,
  order_id bigint,
  state text,
  identifiers text[],
  leaf_pem text,
  chain_pem text,
  subject text,
  issuer text,
  serial text,
  not_before timestamp with time zone,
  not_after timestamp with time zone,
  spki_sha256 bytea,
  fingerprint_sha256 bytea,
  revoked_at timestamp with time zone,
  created_at timestamp with time zone,
  revocation_reason text,
  revoke_when_replaced boolean,
  revoking_since timestamp with time zone,
  next_attempt_at timestamp with time zone,
  attempts integer,
  reason_code text,
  reason text,
  last_problem jsonb,
  is_unwanted boolean
) with (security_invoker=true);
comment on view acme.certificate is 'Every certificate that was issued, also the superseded, revoked and expired ones; where one is being revoked, how that goes.';
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
comment on column acme.certificate.is_unwanted is 'True: it came after its csr was cancelled. Nobody serves it; acme.revoke_certificate revokes it.';
grant select on acme.certificate to acme_app;
grant select on acme.certificate to acme_reader;

create view acme.certificate_name (
  name text,
  certificate_id bigint,
  tenant text
) with (security_invoker=true);
comment on view acme.certificate_name is 'The names of the current certificates, a row each.';
comment on column acme.certificate_name.name is 'A name of it.';
comment on column acme.certificate_name.certificate_id is 'The certificate, by its id in acme.certificate.';
comment on column acme.certificate_name.tenant is 'The tenant that it belongs to.';
grant select on acme.certificate_name to acme_app;
grant select on acme.certificate_name to acme_reader;

create view acme.challenge (
  id bigint,
  authorization_id bigint,
  tenant text,
  url text,
  type text,
  token text,
  state text,
  error jsonb,
  created_at timestamp with time zone
) with (security_invoker=true);
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
grant select on acme.challenge to acme_app;
grant select on acme.challenge to acme_reader;

create view acme.challenge_todo (
  id bigint,
  action text,
  type text,
  identifier text,
  location text,
  value text,
  tenant text,
  csr_id bigint,
  expires_at timestamp with time zone,
  created_at timestamp with time zone
) with (security_invoker=true);
comment on view acme.challenge_todo is 'What is to be published or removed by hand. When it is done: acme.challenge_published(id), acme.challenge_removed(id).';
comment on column acme.challenge_todo.id is 'The record, for acme.challenge_published and acme.challenge_removed.';
comment on column acme.challenge_todo.action is 'publish or remove.';
comment on column acme.challenge_todo.type is 'The challenge type.';
comment on column acme.challenge_todo.identifier is 'The name that it proves.';
comment on column acme.challenge_todo.location is 'Where to publish it.';
comment on column acme.challenge_todo.value is 'What to publish there, byte for byte.';
comment on column acme.challenge_todo.tenant is 'The tenant that it belongs to.';
comment on column acme.challenge_todo.csr_id is 'The latest csr that needs it.';
comment on column acme.challenge_todo.expires_at is 'When the authorization expires: it has to be published before.';
comment on column acme.challenge_todo.created_at is 'When it was inserted.';
grant select on acme.challenge_todo to acme_app;
grant select on acme.challenge_todo to acme_reader;

create view acme.cooldown (
  id bigint,
  server text,
  account text,
  scope text,
  value text,
  limit_name text,
  since timestamp with time zone,
  until timestamp with time zone,
  reason text
) with (security_invoker=true);
comment on view acme.cooldown is 'What servers limit at the moment: of which scope no orders are made until when, and what the server said. acme.resume ends one early.';
comment on column acme.cooldown.id is 'Given by the database.';
comment on column acme.cooldown.server is 'The server, by name.';
comment on column acme.cooldown.account is 'The account, by name; null: all of the server.';
comment on column acme.cooldown.scope is 'server, account, orders, domain, set, identifier, csr or registrations.';
comment on column acme.cooldown.value is 'The domain, the identifier or the id of the csr; null: of another scope.';
comment on column acme.cooldown.limit_name is 'The server''s name of the limit; null: it did not say.';
comment on column acme.cooldown.since is 'When the server refused first.';
comment on column acme.cooldown.until is 'Until when nothing is ordered in this scope.';
comment on column acme.cooldown.reason is 'Why, with the server''s words.';
grant select on acme.cooldown to acme_admin;
grant select on acme.cooldown to acme_reader;

create view acme.csr_status (
  id bigint,
  ref text,
  tenant text,
  identifiers text[],
  state text,
  reason_code text,
  reason text,
  next_attempt_at timestamp with time zone,
  attempts integer,
  last_problem jsonb,
  certificate_id bigint,
  has_certificate boolean,
  not_before timestamp with time zone,
  not_after timestamp with time zone,
  renew_at timestamp with time zone,
  renewal_reason text,
  account text,
  server text,
  profile text,
  order_url text,
  has_pending_request boolean,
  created_at timestamp with time zone,
  updated_at timestamp with time zone,
  revoked_at timestamp with time zone,
  expires_in interval,
  is_expired boolean
) with (security_invoker=true);
comment on view acme.csr_status is 'Where each csr stands: its state, why, and when it is tried next. docs/sql.md lists the states and reason codes.';
comment on column acme.csr_status.id is 'As in acme.csr.';
comment on column acme.csr_status.ref is 'The application''s own key (acme.csr.ref).';
comment on column acme.csr_status.tenant is 'The tenant that it belongs to.';
comment on column acme.csr_status.identifiers is 'Its names, sorted; null: no worker has read the CSR yet.';
comment on column acme.csr_status.state is 'received, queued, ordering, issued, renewing, retrying, needs_person, needs_new_csr, rejected, failed, cancelled; paused and limited while it waits for that.';
comment on column acme.csr_status.reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme.csr_status.reason is 'The same as a sentence.';
comment on column acme.csr_status.next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme.csr_status.attempts is 'How many attempts in a row met a transient error.';
comment on column acme.csr_status.last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme.csr_status.certificate_id is 'The current certificate, by its id in acme.certificate.';
comment on column acme.csr_status.has_certificate is 'True: it has a current certificate.';
comment on column acme.csr_status.not_before is 'From when the current certificate is valid.';
comment on column acme.csr_status.not_after is 'Until when the current certificate is valid.';
comment on column acme.csr_status.renew_at is 'When its renewal is due.';
comment on column acme.csr_status.renewal_reason is 'Why it is being renewed.';
comment on column acme.csr_status.account is 'The account that orders it, by name.';
comment on column acme.csr_status.server is 'The server, by name.';
comment on column acme.csr_status.profile is 'The profile that is asked for; null: the server''s default.';
comment on column acme.csr_status.order_url is 'The URL of its last order at the server.';
comment on column acme.csr_status.has_pending_request is 'True: a retry, renewal, cancellation or change has not been applied yet.';
comment on column acme.csr_status.created_at is 'When it was inserted.';
comment on column acme.csr_status.updated_at is 'When its state changed last.';
comment on column acme.csr_status.revoked_at is 'When its current certificate was revoked; null: it was not.';
comment on column acme.csr_status.expires_in is 'How long its certificate is still valid; negative: it has expired. Null: there is none.';
comment on column acme.csr_status.is_expired is 'Whether its certificate has expired. Null: there is none.';
grant select on acme.csr_status to acme_app;
grant select on acme.csr_status to acme_reader;

create view acme.current_certificate (
  csr_id bigint,
  ref text,
  tenant text,
  certificate_id bigint,
  identifiers text[],
  leaf_pem text,
  chain_pem text,
  not_before timestamp with time zone,
  not_after timestamp with time zone,
  issuer text,
  serial text,
  spki_sha256 bytea,
  fingerprint_sha256 bytea,
  revoked_at timestamp with time zone,
  is_expired boolean
) with (security_invoker=true);
comment on view acme.current_certificate is 'The certificate to serve for each csr, with its chain; also an expired one, which is_expired says.';
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
grant select on acme.current_certificate to acme_app;
grant select on acme.current_certificate to acme_reader;

create view acme.event (
  id bigint,
  xid xid8,
  at timestamp with time zone,
  tenant text,
  event text,
  csr_id bigint,
  order_id bigint,
  account_id bigint,
  certificate_id bigint,
  worker_id bigint,
  detail jsonb,
  epoch bigint
) with (security_invoker=true);
comment on view acme.event is 'The audit trail: what was done, seen and decided, a line each.';
comment on column acme.event.id is 'Given by the database; not in the order of commits. Read events with acme.changes.';
comment on column acme.event.xid is 'The transaction that wrote it.';
comment on column acme.event.at is 'When it was written.';
comment on column acme.event.tenant is 'The tenant; null: of the installation.';
comment on column acme.event.event is 'What happened; docs/sql.md lists the events.';
comment on column acme.event.csr_id is 'The csr that it is of.';
comment on column acme.event.order_id is 'The order that it is of.';
comment on column acme.event.account_id is 'The account that it is of.';
comment on column acme.event.certificate_id is 'The certificate that it is of.';
comment on column acme.event.worker_id is 'The worker that wrote it.';
comment on column acme.event.detail is 'What else is known, as JSON.';
comment on column acme.event.epoch is 'Counts restores of the database: part of the order of events.';
grant select on acme.event to acme_app;
grant select on acme.event to acme_reader;

create view acme.name_owner (
  name text,
  registered_domain text,
  tenant text,
  owner_since timestamp with time zone,
  proved_at timestamp with time zone,
  lapses_at timestamp with time zone
);
comment on view acme.name_owner is 'Which tenant owns a name, with the names above it (up to its registered domain) and below it: only that tenant gets certificates for these. Tenants see their own names, acme_reader and acme_admin see all.';
comment on column acme.name_owner.name is 'The name; a wildcard counts as its base.';
comment on column acme.name_owner.registered_domain is 'Its registered domain (public suffix list, with its private section). null: no CSR for it has been read yet.';
comment on column acme.name_owner.tenant is 'The tenant that owns it.';
comment on column acme.name_owner.owner_since is 'Since when.';
comment on column acme.name_owner.proved_at is 'When the tenant proved control of it; null: an administrator gave it the name (acme.move_name, acme.adopt).';
comment on column acme.name_owner.lapses_at is 'When it is free for other tenants: 30 days after the last live csr that used it. null: one uses it.';
grant select on acme.name_owner to acme_app;
grant select on acme.name_owner to acme_reader;

create view acme."order" (
  id bigint,
  csr_id bigint,
  tenant text,
  server_id bigint,
  account_id bigint,
  state text,
  identifiers text[],
  profile text,
  url text,
  finalize_url text,
  certificate_url text,
  expires_at timestamp with time zone,
  next_attempt_at timestamp with time zone,
  attempts integer,
  reason_code text,
  reason text,
  last_problem jsonb,
  created_at timestamp with time zone,
  finished_at timestamp with time zone
) with (security_invoker=true);
comment on view acme."order" is 'ACME orders (RFC 8555 §7.1.3): one try each to get a certificate for a csr.';
comment on column acme."order".id is 'Given by the database.';
comment on column acme."order".csr_id is 'The csr, by its id in acme.csr.';
comment on column acme."order".tenant is 'The tenant that it belongs to.';
comment on column acme."order".server_id is 'The server, by its id in acme.server.';
comment on column acme."order".account_id is 'The account that ordered it.';
comment on column acme."order".state is 'creating, authorizing, ready, finalizing, downloading, issued, failed, cancelled.';
comment on column acme."order".identifiers is 'Its names, sorted.';
comment on column acme."order".profile is 'The profile that is asked for; null: the server''s default.';
comment on column acme."order".url is 'Its URL at the server.';
comment on column acme."order".finalize_url is 'Where its CSR is sent (RFC 8555 §7.4).';
comment on column acme."order".certificate_url is 'Where its certificate is.';
comment on column acme."order".expires_at is 'When it expires at the server.';
comment on column acme."order".next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme."order".attempts is 'How many attempts in a row met a transient error.';
comment on column acme."order".reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme."order".reason is 'The same as a sentence.';
comment on column acme."order".last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme."order".created_at is 'When it was inserted.';
comment on column acme."order".finished_at is 'When it ended; null: it is under way.';
grant select on acme."order" to acme_app;
grant select on acme."order" to acme_reader;

create view acme.order_authorization (
  order_id bigint,
  authorization_id bigint
) with (security_invoker=true);
comment on view acme.order_authorization is 'Which authorizations an order needs.';
comment on column acme.order_authorization.order_id is 'The order, by its id in acme.order.';
comment on column acme.order_authorization.authorization_id is 'An authorization of it, by its id in acme.authorization.';
grant select on acme.order_authorization to acme_app;
grant select on acme.order_authorization to acme_reader;

create view acme.paused_csr (
  csr_id bigint,
  tenant text,
  ref text,
  identifiers text[],
  page_url text,
  since timestamp with time zone
) with (security_invoker=true);
comment on view acme.paused_csr is 'Csrs with a name that the server has paused for their account, and the page where an administrator lifts that. Whoever has its URL can lift the pause. Then acme.retry.';
comment on column acme.paused_csr.csr_id is 'The csr, by its id in acme.csr.';
comment on column acme.paused_csr.tenant is 'The tenant that it belongs to.';
comment on column acme.paused_csr.ref is 'The application''s own key (acme.csr.ref).';
comment on column acme.paused_csr.identifiers is 'Its names.';
comment on column acme.paused_csr.page_url is 'The page of the CA where the pause is lifted. Keep it secret: its holder can lift the pause.';
comment on column acme.paused_csr.since is 'When the server refused first.';
grant select on acme.paused_csr to acme_admin;

create view acme.record (
  id bigint,
  challenge_id bigint,
  tenant text,
  solver text,
  method text,
  type text,
  identifier text,
  token text,
  value text,
  state text,
  created_at timestamp with time zone,
  updated_at timestamp with time zone
) with (security_invoker=true);
comment on view acme.record is 'What is, was or will be published for challenges.';
comment on column acme.record.id is 'Given by the database.';
comment on column acme.record.challenge_id is 'The challenge, by its id in acme.challenge.';
comment on column acme.record.tenant is 'The tenant that it belongs to.';
comment on column acme.record.solver is 'The solver, by name.';
comment on column acme.record.method is 'responder or manual (acme.solver).';
comment on column acme.record.type is 'The challenge type.';
comment on column acme.record.identifier is 'The name that it proves.';
comment on column acme.record.token is 'The token of the challenge.';
comment on column acme.record.value is 'What is published.';
comment on column acme.record.state is 'intended, published, removing, removed.';
comment on column acme.record.created_at is 'When it was inserted.';
comment on column acme.record.updated_at is 'When its state changed last.';
grant select, update (state) on acme.record to acme_app;
grant select on acme.record to acme_reader;
grant select (type, identifier, token, value, state, created_at) on acme.record to acme_responder;
grant select (type, identifier, token, value, state, created_at) on acme.record to acme_worker;

create view acme.server_feature (
  server text,
  feature text,
  support text,
  value jsonb,
  how text,
  source text,
  as_of date,
  contradicted_by jsonb,
  about text
) with (security_invoker=true);
comment on view acme.server_feature is 'What each server supports: yes, no or unknown, how that is known (directory, seen, tried, documented), from where and as of when. What the server itself showed wins over what is documented, and of that the newest; what says otherwise is in contradicted_by. docs/sql.md lists the features.';
comment on column acme.server_feature.server is 'The server, by name.';
comment on column acme.server_feature.feature is 'The feature; docs/sql.md lists them.';
comment on column acme.server_feature.support is 'yes, no or unknown.';
comment on column acme.server_feature.value is 'Its details.';
comment on column acme.server_feature.how is 'directory, seen, tried or documented.';
comment on column acme.server_feature.source is 'Where that comes from.';
comment on column acme.server_feature.as_of is 'As of when that is known.';
comment on column acme.server_feature.contradicted_by is 'What says otherwise, the newest first.';
comment on column acme.server_feature.about is 'What the feature is.';
grant select on acme.server_feature to acme_app;
grant select on acme.server_feature to acme_reader;

create view acme.stuck (
  kind text,
  id bigint,
  csr_id bigint,
  tenant text,
  since timestamp with time zone,
  reason_code text,
  reason text
) with (security_invoker=true);
comment on view acme.stuck is 'What should move and does not, a row each: since when, why, and what to do. Empty when all is well.';
comment on column acme.stuck.kind is 'order, authorization, csr, certificate, account, request, record or job.';
comment on column acme.stuck.id is 'Its id in the table of that kind.';
comment on column acme.stuck.csr_id is 'The csr that it is for; null: none.';
comment on column acme.stuck.tenant is 'The tenant; null: of the installation.';
comment on column acme.stuck.since is 'Since when it should have moved.';
comment on column acme.stuck.reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme.stuck.reason is 'The same as a sentence.';
grant select on acme.stuck to acme_app;
grant select on acme.stuck to acme_reader;

create view acme.usable_account (
  name text,
  server text,
  is_default boolean,
  paused_at timestamp with time zone,
  pause_reason text
) with (security_invoker=true);
comment on view acme.usable_account is 'The accounts that csr.account may name: those that are shared, and those that csrs of the reader''s tenant use. Others, of registered domains of other tenants (server.account_policy), are not shown.';
comment on column acme.usable_account.name is 'How csrs and functions call it.';
comment on column acme.usable_account.server is 'The server where it is registered, by name.';
comment on column acme.usable_account.is_default is 'True: it serves the csrs that name no account, or is the model of those that do.';
comment on column acme.usable_account.paused_at is 'Since when it gets no new orders; null: it is open.';
comment on column acme.usable_account.pause_reason is 'Why it is paused.';
grant select on acme.usable_account to acme_app;

create view acme.worker_status (
  id bigint,
  host text,
  pid integer,
  version text,
  concurrency integer,
  started_at timestamp with time zone,
  heartbeat_at timestamp with time zone,
  state text,
  http01 text,
  clock_ahead interval
) with (security_invoker=true);
comment on view acme.worker_status is 'The workers: running, stopped in good order, lost (its process or its connection is gone; what it held is freed), silent (no sign of life for 30 s), or wrong_key (it runs, and its sealing key opens no account key).';
comment on column acme.worker_status.id is 'Given by the database.';
comment on column acme.worker_status.host is 'The machine that it runs on.';
comment on column acme.worker_status.pid is 'Its process id there.';
comment on column acme.worker_status.version is 'Its version of pgacme.';
comment on column acme.worker_status.concurrency is 'How many jobs it does at once.';
comment on column acme.worker_status.started_at is 'When it signed in.';
comment on column acme.worker_status.heartbeat_at is 'When it was heard of last.';
comment on column acme.worker_status.state is 'running, stopped, lost, silent or wrong_key.';
comment on column acme.worker_status.http01 is 'Where it answers http-01; null: it does not.';
comment on column acme.worker_status.clock_ahead is 'How far its clock is ahead of the database''s; negative: behind.';
grant select on acme.worker_status to acme_admin;
grant select on acme.worker_status to acme_reader;

create function acme.adopt(pem text, chain_pem text, ref text DEFAULT NULL::text, account text DEFAULT NULL::text) returns acme.csr volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.adopt(text,text,text,text) is 'Takes in a CSR with the certificate that another client ordered for it: current once a worker has found it right, renewed when due. An account that is named and was imported is taken to have ordered it. A CSR that is there already is returned as it is.';
grant execute on function acme.adopt(text,text,text,text) to acme_admin;

create function acme.agree_terms(account text) returns void volatile security invoker;
comment on function acme.agree_terms(text) is 'Says that a person agreed to the terms of service at account_status.terms_url, and did what the server asked for; the server is told, and waiting csrs go on.';
grant execute on function acme.agree_terms(text) to acme_admin;

create function acme.cancel(csr bigint) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.cancel(bigint) is 'Stops ordering and renewing for this csr. An order that is already finalized is still stored first. The certificate stays readable.';
grant execute on function acme.cancel(bigint) to acme_app;

create function acme.cancel_when_deleted() returns trigger volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.cancel_when_deleted() is 'A trigger function for tables of your own, after delete, for each row: cancels the csr whose id is in the column that the trigger names, if it is of the tenant that the session acts for. An id that is null or unknown does nothing.';
grant execute on function acme.cancel_when_deleted() to acme_app;

create function acme.certificate_for(name text, spki bytea DEFAULT NULL::bytea) returns SETOF acme.current_certificate stable security invoker;
comment on function acme.certificate_for(text,bytea) is 'The certificate to serve for a host name: exact before wildcard, the newest first; spki: only one whose public key has this SHA-256.';
grant execute on function acme.certificate_for(text,bytea) to acme_app, acme_reader;

create function acme.certificate_was_revoked(certificate bigint, reason text) returns void volatile security invoker;
comment on function acme.certificate_was_revoked(bigint,text) is 'Says that the server has revoked this certificate, asked by others than pgacme''s workers; pgacme revoke --key-file calls it. What follows is the same as with acme.revoke_certificate.';
grant execute on function acme.certificate_was_revoked(bigint,text) to acme_admin;

create function acme.challenge_published(id bigint) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.challenge_published(bigint) is 'Says that a row of challenge_todo has been published by hand; the server is then asked to look.';
grant execute on function acme.challenge_published(bigint) to acme_app;

create function acme.challenge_removed(id bigint) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.challenge_removed(bigint) is 'Says that what a row of challenge_todo asked to remove is gone.';
grant execute on function acme.challenge_removed(bigint) to acme_app;

create function acme.changes(after text DEFAULT ''::text, max integer DEFAULT 1000) returns TABLE(cursor text, at timestamp with time zone, event text, csr_id bigint, ref text, order_id bigint, account_id bigint, certificate_id bigint, tenant text, detail jsonb) stable security invoker;
comment on function acme.changes(text,integer) is 'The events after a cursor (each row has its own; '''' is the beginning), at most max, in an order in which none is ever skipped. An event comes once every transaction that began to write before its own has ended.';
grant execute on function acme.changes(text,integer) to acme_app, acme_reader;

create function acme.csr_problem(pem text) returns text immutable security invoker set search_path=pg_catalog, pg_temp set standard_conforming_strings=on;
comment on function acme.csr_problem(text) is 'Checks the form of a text: one whole PEM block of a certificate signing request. Returns a sentence that says why INSERT would refuse it, else null. A worker then reads key, signature and names, and may still reject it: see acme.csr_status.';
grant execute on function acme.csr_problem(text) to acme_app, acme_reader, acme_responder, acme_worker;

create function acme.current_tenant() returns text stable security invoker;
comment on function acme.current_tenant() is 'The tenant that this session acts for: of members of acme_multi_tenant the setting acme.tenant; else what acme.tenant_role has for the current role; else the name of that role.';
grant execute on function acme.current_tenant() to acme_app;

create function acme.deactivate_account(account text) returns void volatile security invoker;
comment on function acme.deactivate_account(text) is 'Ends the account at the server, for good (RFC 8555 §7.3.6). Its csrs are cancelled; certificates stay valid and readable.';
grant execute on function acme.deactivate_account(text) to acme_admin;

create function acme.deactivate_authorization("authorization" bigint) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.deactivate_authorization(bigint) is 'Has the server forget that control of a name was proved (RFC 8555 §7.5.2): the name is proved anew for the next order. An order that waits for it begins anew.';
grant execute on function acme.deactivate_authorization(bigint) to acme_app;

create function acme.delete_csrs(ids bigint[]) returns bigint volatile security invoker;
comment on function acme.delete_csrs(bigint[]) is 'Deletes these csrs with their orders and certificates, and returns how many there were. Nothing is cancelled or revoked at the CA, and the audit trail stays. For the owner alone: to end a csr, cancel it.';

create function acme.explain(csr bigint) returns text stable security invoker set search_path=pg_catalog, pg_temp set standard_conforming_strings=on;
comment on function acme.explain(bigint) is 'Tells in plain words where a csr stands, why, what happens next and when, and what was done so far.';
grant execute on function acme.explain(bigint) to acme_app, acme_reader;

create function acme.http01_response(token text, host text DEFAULT NULL::text) returns text stable security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.http01_response(text,text) is 'The body to answer for /.well-known/acme-challenge/<token> (RFC 8555 §8.3); null: answer 404. host: the name that was asked, which tells equal tokens of two CAs apart.';
grant execute on function acme.http01_response(text,text) to acme_responder, acme_worker;

create function acme.move_name(name text, tenant text) returns void volatile security invoker;
comment on function acme.move_name(text,text) is 'Makes a tenant the owner of a name, a wildcard''s base, and of what is below it, also before anybody asks for it; tenant null: nobody. Orders that others have under way for it are cancelled, and their csrs wait as needs_person or are rejected (name_held); their certificates stay. What they proved is deactivated at the server before an order of the new owner.';
grant execute on function acme.move_name(text,text) to acme_admin;

create function acme.pause(scope text, name text, reason text) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.pause(text,text,text) is 'Admits no new orders of a server or an account (scope, name) until resume; orders under way go on. Of a server, nothing is begun with its accounts either. The reason is shown to all who wait.';
grant execute on function acme.pause(text,text,text) to acme_admin;

create function acme.preauthorize(name text, account text DEFAULT NULL::text, solver text DEFAULT NULL::text) returns bigint volatile security invoker;
comment on function acme.preauthorize(text,text,text) is 'Has control of a name proved before there is an order, where the server offers that (RFC 8555 §7.4.1). Returns the authorization''s id: acme.authorization tells how it goes.';
grant execute on function acme.preauthorize(text,text,text) to acme_app;

create function acme.release_domain(name text, revoke boolean DEFAULT false) returns TABLE(kind text, id bigint, what text, done text) volatile security invoker;
comment on function acme.release_domain(text,boolean) is 'Ends what there is for a domain and everything below it, as when it is sold: its csrs are cancelled, its authorizations deactivated, its names free for other tenants. revoke: its certificates are revoked too; else they are listed. Returns a row for each thing: what was done, and what is left to do.';
grant execute on function acme.release_domain(text,boolean) to acme_app;

create function acme.renew(csr bigint, reason text DEFAULT NULL::text) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.renew(bigint,text) is 'Orders a new certificate for this csr now. The present one is served until the new one is there.';
grant execute on function acme.renew(bigint,text) to acme_app;

create function acme.replace_account(old text, new text) returns bigint volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.replace_account(text,text) is 'Moves the csrs of an account, such as one whose key is lost, to another account of the same server, which proves control of their names anew when it renews them, and serves the same registered domains; returns how many.';
grant execute on function acme.replace_account(text,text) to acme_admin;

create function acme.request(pem text, ref text DEFAULT NULL::text, account text DEFAULT NULL::text, profile text DEFAULT NULL::text, on_duplicate text DEFAULT 'return'::text) returns acme.csr volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.request(text,text,text,text,text) is 'Inserts a CSR and returns its row. The same CSR again: return gives the existing row, renew also orders a new certificate, refuse raises.';
grant execute on function acme.request(text,text,text,text,text) to acme_app;

create function acme.resume(scope text, name text) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.resume(text,text) is 'Ends a pause, and what a server limits before its time is over (acme.cooldown): of a server, an account (scope, name), a domain (its name) or a csr (its id). The server is asked again at once.';
grant execute on function acme.resume(text,text) to acme_admin;

create function acme.retry(csr bigint) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.retry(bigint) is 'Tries again now instead of at next_attempt_at; also for a csr that is rejected, failed or needs a person. Limits still hold.';
grant execute on function acme.retry(bigint) to acme_app;

create function acme.revoke(csr bigint, reason text, after_replacement boolean DEFAULT false) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.revoke(bigint,text,boolean) is 'Has this csr''s certificate revoked, for a reason of RFC 5280 by name or number, and ends the csr with it, as acme.cancel does: it is not renewed from now on; insert the CSR again for a new certificate. A server that refuses the reason leaves both as they were. after_replacement: renews first, revokes the old certificate once the new one is stored, and the csr goes on. keyCompromise: all certificates with its key are revoked, the key is blocked, and every csr with it waits as needs_new_csr.';
grant execute on function acme.revoke(bigint,text,boolean) to acme_app;

create function acme.revoke_certificate(certificate bigint, reason text) returns void volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.revoke_certificate(bigint,text) is 'Has this one certificate revoked, for a reason of RFC 5280 by name or number. Its csr goes on: if this was the certificate to serve, a new one is ordered. keyCompromise: as in acme.revoke.';
grant execute on function acme.revoke_certificate(bigint,text) to acme_app;

create function acme.roll_over_key(account text) returns void volatile security invoker;
comment on function acme.roll_over_key(text) is 'Gives the account a new key (RFC 8555 §7.3.5), once its orders under way have ended; it gets no new ones until then. account_status tells how far it is.';
grant execute on function acme.roll_over_key(text) to acme_admin;

create function acme.verify_account(account text) returns void volatile security invoker;
comment on function acme.verify_account(text) is 'Has the server look up the account by its key (RFC 8555 §7.3.1) and compares the URL; account_status.verified_at and reason tell.';
grant execute on function acme.verify_account(text) to acme_admin;

create function acme.version() returns text immutable security invoker;
comment on function acme.version() is 'The version of this SQL contract. A worker serves the version that it was built for, and waits while the database has another one.';
grant execute on function acme.version() to acme_app, acme_reader, acme_responder, acme_worker;

create function acme.wait(csr bigint, timeout interval DEFAULT '00:01:00'::interval) returns acme.csr_status volatile security invoker set search_path=pg_catalog, pg_temp;
comment on function acme.wait(bigint,interval) is 'Waits until this csr is issued, its certificate revoked where that was asked for, or it cannot go on by itself (also where there is no account to order with), or the time is over, a day at most; returns its row of csr_status as it then is.';
grant execute on function acme.wait(bigint,interval) to acme_app;

-- What the roles hold of acme_private: the columns that the views read, and the step functions.

grant select (account_id, server_id, state, url, terms_url, agreed_terms_url, thumbprint, registered_at, verified_at, told_version, rolled_version, reread_since, doubted_at, next_attempt_at, attempts, reason_code, reason, last_problem, updated_at) on acme_private.account_state to acme_admin;
grant select (account_id, server_id, state, url, terms_url, agreed_terms_url, thumbprint, registered_at, verified_at, told_version, rolled_version, reread_since, doubted_at, next_attempt_at, attempts, reason_code, reason, last_problem, updated_at) on acme_private.account_state to acme_reader;

grant select on acme_private.attention_csr to acme_app;
grant select on acme_private.attention_csr to acme_reader;

grant select on acme_private.attention_stuck to acme_app;
grant select on acme_private.attention_stuck to acme_reader;

grant insert (account_id, tenant, state, identifier, is_preauthorization, solver), select (id, account_id, url, tenant, state, identifier, is_wildcard, is_preauthorization, expires_at, next_attempt_at, attempts, reason_code, reason, last_problem, created_at, updated_at) on acme_private."authorization" to acme_app;
grant select (id, account_id, url, tenant, state, identifier, is_wildcard, is_preauthorization, expires_at, next_attempt_at, attempts, reason_code, reason, last_problem, created_at, updated_at) on acme_private."authorization" to acme_reader;
alter table acme_private."authorization" enable row level security;
create policy every_tenant on acme_private."authorization" as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme_private."authorization" as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

grant delete, select on acme_private.blocked_key to acme_admin;
grant select on acme_private.blocked_key to acme_reader;

grant select (id, csr_id, tenant, order_id, account_id, state, identifiers, leaf_pem, chain_pem, subject, issuer, serial, not_before, not_after, spki_sha256, fingerprint_sha256, planned_renewal_at, is_unwanted, revoked_at, revocation_reason, revoke_when_replaced, ends_csr, revoking_since, next_attempt_at, attempts, reason_code, reason, last_problem, created_at) on acme_private.certificate to acme_app;
grant select (id, csr_id, tenant, order_id, account_id, state, identifiers, leaf_pem, chain_pem, subject, issuer, serial, not_before, not_after, spki_sha256, fingerprint_sha256, planned_renewal_at, is_unwanted, revoked_at, revocation_reason, revoke_when_replaced, ends_csr, revoking_since, next_attempt_at, attempts, reason_code, reason, last_problem, created_at) on acme_private.certificate to acme_reader;
alter table acme_private.certificate enable row level security;
create policy every_tenant on acme_private.certificate as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme_private.certificate as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

grant select on acme_private.certificate_name to acme_app;
grant select on acme_private.certificate_name to acme_reader;
alter table acme_private.certificate_name enable row level security;
create policy every_tenant on acme_private.certificate_name as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme_private.certificate_name as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

grant select (id, authorization_id, tenant, url, type, token, state, error, created_at) on acme_private.challenge to acme_app;
grant select (id, authorization_id, tenant, url, type, token, state, error, created_at) on acme_private.challenge to acme_reader;
alter table acme_private.challenge enable row level security;
create policy every_tenant on acme_private.challenge as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme_private.challenge as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

grant select (id, server_id, account_id, scope, value, limit_name, since, until, reason) on acme_private.closure to acme_admin;
grant select (server_id, account_id, scope, until, reason) on acme_private.closure to acme_app;
grant select (id, server_id, account_id, scope, value, limit_name, since, until, reason) on acme_private.closure to acme_reader;
alter table acme_private.closure enable row level security;
create policy every_scope on acme_private.closure as permissive for select to acme_reader, acme_admin using true;
create policy shared on acme_private.closure as permissive for select to acme_app using (scope = ANY (ARRAY['server'::text, 'account'::text, 'orders'::text]));

grant select (csr_id, tenant, ref, state, identifiers, server_id, account_id, profile, priority, order_id, certificate_id, queued_at, is_renewal, renew_at, renewal_reason, seen_version, next_attempt_at, attempts, reason_code, reason, last_problem, created_at, updated_at) on acme_private.csr_state to acme_app;
grant select (csr_id, tenant, ref, state, identifiers, server_id, account_id, profile, priority, order_id, certificate_id, queued_at, is_renewal, renew_at, renewal_reason, seen_version, next_attempt_at, attempts, reason_code, reason, last_problem, created_at, updated_at) on acme_private.csr_state to acme_reader;
alter table acme_private.csr_state enable row level security;
create policy every_tenant on acme_private.csr_state as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme_private.csr_state as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

grant select on acme_private.documented_feature to acme_app;
grant select on acme_private.documented_feature to acme_reader;

grant select (epoch) on acme_private.epoch to acme_app;
grant select (epoch) on acme_private.epoch to acme_reader;

grant select on acme_private.event to acme_app;
grant select on acme_private.event to acme_reader;
alter table acme_private.event enable row level security;
create policy every_tenant on acme_private.event as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme_private.event as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

grant select on acme_private.feature to acme_app;
grant select on acme_private.feature to acme_reader;

grant select (id, csr_id, tenant, server_id, account_id, state, is_parked, identifiers, profile, url, finalize_url, certificate_url, expires_at, next_attempt_at, attempts, reason_code, reason, last_problem, created_at, finished_at) on acme_private."order" to acme_app;
grant select (id, csr_id, tenant, server_id, account_id, state, is_parked, identifiers, profile, url, finalize_url, certificate_url, expires_at, next_attempt_at, attempts, reason_code, reason, last_problem, created_at, finished_at) on acme_private."order" to acme_reader;
alter table acme_private."order" enable row level security;
create policy every_tenant on acme_private."order" as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme_private."order" as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

grant select on acme_private.order_authorization to acme_app;
grant select on acme_private.order_authorization to acme_reader;
alter table acme_private.order_authorization enable row level security;
create policy with_its_order on acme_private.order_authorization as permissive for select to acme_app, acme_reader using (EXISTS ( SELECT FROM acme_private."order" o WHERE (o.id = order_authorization.order_id)));

grant select on acme_private.paused_csr to acme_admin;

grant select (id, challenge_id, tenant, solver, method, type, identifier, token, value, state, created_at, updated_at), update (state) on acme_private.record to acme_app;
grant select (id, challenge_id, tenant, solver, method, type, identifier, token, value, state, created_at, updated_at) on acme_private.record to acme_reader;
grant select on acme_private.record to acme_responder;
grant select on acme_private.record to acme_worker;
alter table acme_private.record enable row level security;
create policy admin_records on acme_private.record as permissive for update to acme_admin using true with check true;
create policy by_hand_only on acme_private.record as restrictive for update to acme_app using ((method = 'manual'::text) AND (state = ANY (ARRAY['intended'::text, 'removing'::text]))) with check true;
create policy challenge_answers on acme_private.record as permissive for select to acme_responder, acme_worker using is_published;
create policy every_tenant on acme_private.record as permissive for select to acme_reader, acme_admin using true;
create policy own_tenant on acme_private.record as permissive for all to acme_app using (tenant = ( SELECT acme_private.current_tenant() AS current_tenant)) with check (tenant = ( SELECT acme_private.current_tenant() AS current_tenant));

grant select on acme_private.server_fact to acme_app;
grant select on acme_private.server_fact to acme_reader;

grant select on acme_private.worker to acme_admin;
grant select on acme_private.worker to acme_reader;

grant execute on function acme_private.abandoned_authorizations(bigint) to acme_worker;
grant execute on function acme_private.account_deactivated(bigint,bigint,uuid,text) to acme_worker;
grant execute on function acme_private.account_for_worker(bigint) to acme_worker;
grant execute on function acme_private.account_key_found(bigint,bigint,uuid,bigint) to acme_worker;
grant execute on function acme_private.account_key_ready(bigint,bigint,uuid) to acme_worker;
grant execute on function acme_private.account_key_stored(bigint,bigint,uuid,text,text,bytea) to acme_worker;
grant execute on function acme_private.account_name(bigint) to acme_app, acme_reader;
grant execute on function acme_private.account_pending_key(bigint,bigint,uuid,text,text,bytea) to acme_worker;
grant execute on function acme_private.account_registered(bigint,bigint,uuid,text,text,text) to acme_worker;
grant execute on function acme_private.account_roll_over_refused(bigint,bigint,uuid,jsonb) to acme_worker;
grant execute on function acme_private.account_rolled_over(bigint,bigint,uuid) to acme_worker;
grant execute on function acme_private.account_shown(bigint) to acme_app, acme_reader;
grant execute on function acme_private.account_updated(bigint,bigint,uuid,jsonb) to acme_worker;
grant execute on function acme_private.accounts_for_revocation(bigint,bigint) to acme_worker;
grant execute on function acme_private.ask_account(text,text) to acme_admin;
grant execute on function acme_private.attend(bigint,bigint,integer) to acme_worker;
grant execute on function acme_private.attention_account() to acme_app, acme_reader;
grant execute on function acme_private.attention_candidates(name) to acme_app, acme_reader;
grant execute on function acme_private.attention_rows() to acme_app, acme_reader;
grant execute on function acme_private.attention_server() to acme_app, acme_reader;
grant execute on function acme_private.attention_sessions() to acme_app, acme_reader;
grant execute on function acme_private.attention_worker() to acme_app, acme_reader;
grant execute on function acme_private.authorization_created(bigint,bigint,uuid,text,integer) to acme_worker;
grant execute on function acme_private.authorization_deactivated(bigint,bigint,uuid,text,integer) to acme_worker;
grant execute on function acme_private.authorization_named(bigint,bigint,uuid,text) to acme_worker;
grant execute on function acme_private.authorization_proved(bigint,bigint,uuid,jsonb,integer) to acme_worker;
grant execute on function acme_private.certificate_revoked(bigint,bigint,uuid,bigint,boolean) to acme_worker;
grant execute on function acme_private.certificate_stored(bigint,bigint,uuid,jsonb,integer) to acme_worker;
grant execute on function acme_private.certificate_was_revoked(bigint,text) to acme_admin;
grant execute on function acme_private.certificates_named(text[],name) to acme_app, acme_reader;
grant execute on function acme_private.challenge_intended(bigint,bigint,uuid,text,jsonb) to acme_worker;
grant execute on function acme_private.claim(bigint,text,bigint) to acme_worker;
grant execute on function acme_private.clock() to acme_app, acme_reader, acme_responder, acme_worker;
grant execute on function acme_private.csr_with_same_names(bigint) to acme_app, acme_reader;
grant execute on function acme_private.csrs_of_orders(bigint,jsonb) to acme_worker;
grant execute on function acme_private.current_tenant() to acme_app;
grant execute on function acme_private.cursor_part(text,integer) to acme_app, acme_reader;
grant execute on function acme_private.cursor_text(bigint,xid8,bigint) to acme_app, acme_reader;
grant execute on function acme_private.dispatch(bigint,uuid,jsonb,integer) to acme_worker;
grant execute on function acme_private.doctor() to acme_worker;
grant execute on function acme_private.domain_to_release(text) to acme_app;
grant execute on function acme_private.expiry_severity(boolean,timestamp with time zone,timestamp with time zone,timestamp with time zone) to acme_app, acme_reader;
grant execute on function acme_private.free_names(text,name) to acme_app;
grant execute on function acme_private.has_default_account() to acme_app, acme_reader;
grant execute on function acme_private.hold() to acme_app, acme_reader;
grant execute on function acme_private.is_plain_tenant(text) to acme_app;
grant execute on function acme_private.is_session_of(acme_private.worker) to acme_admin, acme_reader;
grant execute on function acme_private.is_watcher() to acme_app, acme_reader;
grant execute on function acme_private.is_watcher(name) to acme_app, acme_reader;
grant execute on function acme_private.is_within(text,text) to acme_app;
grant execute on function acme_private.keys_to_open() to acme_worker;
grant execute on function acme_private.move_name(text,text) to acme_admin;
grant execute on function acme_private.name_owners(name) to acme_app, acme_reader;
grant execute on function acme_private.name_to_preauthorize(text,text,text,jsonb) to acme_app;
grant execute on function acme_private.order_cancelled(bigint,bigint,uuid,bigint[],integer) to acme_worker;
grant execute on function acme_private.order_created(bigint,bigint,uuid,jsonb,integer) to acme_worker;
grant execute on function acme_private.order_finalized(bigint,bigint,uuid,text,boolean,bigint,integer) to acme_worker;
grant execute on function acme_private.orders_listed(bigint,bigint,uuid,jsonb,text) to acme_worker;
grant execute on function acme_private.orders_read(bigint,bigint,uuid,jsonb) to acme_worker;
grant execute on function acme_private.reconcile() to acme_worker;
grant execute on function acme_private.release(text,bigint,uuid) to acme_worker;
grant execute on function acme_private.renewal_window(bigint,bigint,uuid,jsonb,integer) to acme_worker;
grant execute on function acme_private.server_answered(bigint,text) to acme_worker;
grant execute on function acme_private.server_facts_stored(bigint,bigint,text,jsonb) to acme_worker;
grant execute on function acme_private.server_to_probe(text) to acme_worker;
grant execute on function acme_private.servers_to_look_at(bigint) to acme_worker;
grant execute on function acme_private.step_failed(bigint,text,bigint,uuid,jsonb,integer) to acme_worker;
grant execute on function acme_private.stuck_rows(name) to acme_app, acme_reader;
grant execute on function acme_private.tenant_of(name) to acme_app;
grant execute on function acme_private.time_text(timestamp with time zone) to acme_app, acme_reader;
grant execute on function acme_private.unbounded_logins(text) to acme_worker;
grant execute on function acme_private.unknown_leases(bigint,uuid[],interval) to acme_worker;
grant execute on function acme_private.usable_account(text,name) to acme_app;
grant execute on function acme_private.usable_accounts(name) to acme_app;
grant execute on function acme_private.with_full_stop(text) to acme_app, acme_reader;
grant execute on function acme_private.without_address(text,text) to acme_app, acme_reader;
grant execute on function acme_private.worker_beat(bigint,text,interval,timestamp with time zone) to acme_worker;
grant execute on function acme_private.worker_begin(text,integer,text,integer,bigint) to acme_worker;
grant execute on function acme_private.worker_end(bigint) to acme_worker;
grant execute on function acme_private.worker_hold(bigint,text) to acme_worker;
grant execute on function acme_private.worker_schema() to acme_worker;
grant execute on function acme_private.worker_started_with(bigint,text,boolean) to acme_worker;

-- Schemas and roles.

grant usage on schema acme to acme_admin;
grant usage on schema acme to acme_app;
grant usage on schema acme to acme_reader;
grant usage on schema acme to acme_responder;
grant usage on schema acme to acme_worker;
grant usage on schema acme_private to acme_worker;

comment on role acme_admin is 'pgacme: writes servers, accounts and solvers, and acts for every tenant.';
comment on role acme_app is 'pgacme: inserts certificate requests and reads what became of them, of its own tenant.';
comment on role acme_multi_tenant is 'pgacme: an application whose setting acme.tenant says which tenant it acts for.';
comment on role acme_owner is 'pgacme: owns the schemas acme and acme_private. For migrations.';
comment on role acme_reader is 'pgacme: reads every tenant''s requests and certificates. For monitoring.';
comment on role acme_responder is 'pgacme: reads published challenges, nothing else. For web servers.';
comment on role acme_worker is 'pgacme: runs the step functions and uses the queue. For the logins of workers.';
comment on schema acme is 'pgacme: certificate requests, certificates and their state. For applications and administrators.';
comment on schema acme_private is 'pgacme: the state and the functions of the workers. Nothing here is a public interface.';
