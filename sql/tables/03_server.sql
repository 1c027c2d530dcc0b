-- ACME servers, and what is known of each.

create table acme.server (
  id bigint generated always as identity
    constraint server_pkey primary key,
  name text not null
    constraint server_name_key unique
    constraint server_name_is_plain check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  directory_url text not null
    constraint server_directory_url_is_https check (directory_url ~ '^https://[^/?#@[:space:]]+([/?][^#[:space:]]*)?$'),
  ca_bundle text
    constraint server_ca_bundle_is_pem check (ca_bundle ~ '-----BEGIN CERTIFICATE-----' and ca_bundle !~ 'PRIVATE KEY'),
  allowed_hosts text[] not null default '{}',
  key_types text[] not null default '{RSA-2048,RSA-3072,RSA-4096,P-256,P-384}',
  max_names int not null default 100
    constraint server_max_names_is_positive check (max_names > 0),
  max_orders_in_flight int not null default 50
    constraint server_max_orders_in_flight_is_positive check (max_orders_in_flight > 0),
  paused_at timestamptz,
  pause_reason text,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  account_policy text not null default 'single'
    constraint server_account_policy_is_known check (account_policy in ('single', 'per_registered_domain')),
  -- These two are filled in by the host of the directory (acme_private.tg_server__known_ca).
  refused_csr_features text[] not null
    constraint server_refused_csr_features_are_known check (refused_csr_features <@ '{must_staple,client_auth_eku}'),
  blocks_revoked_keys boolean not null
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
comment on column acme.server.account_policy is
  'Which account serves a csr that names none, if the default account is of this server: single: that one; per_registered_domain: the one that acme.account_domain has for its domain, made if there is none.';
comment on column acme.server.refused_csr_features is
  'What this server refuses that a CSR may ask for: must_staple, client_auth_eku. Left out, it is filled in for CAs that are known.';
comment on column acme.server.blocks_revoked_keys is
  'Whether a revocation signed with the certificate''s own key counts as a compromise of that key here. Left out, it is filled in for CAs that are known.';

insert into acme.server (name, directory_url, refused_csr_features, blocks_revoked_keys) values
  ('letsencrypt', 'https://acme-v02.api.letsencrypt.org/directory', '{must_staple}', true),
  ('letsencrypt-staging', 'https://acme-staging-v02.api.letsencrypt.org/directory', '{must_staple}', true);

-- What a server said or showed of itself (sql/api/server/features.sql): at most one row for each server, feature and way of knowing.
create table acme_private.server_fact (
  server_id bigint not null
    constraint server_fact_server_id_fkey references acme.server (id) on delete cascade,
  feature text not null
    constraint server_fact_feature_is_short check (length(feature) between 1 and 60),
  how text not null
    constraint server_fact_how_is_known check (how in ('directory', 'seen', 'tried')),
  support text not null
    constraint server_fact_support_is_known check (support in ('yes', 'no')),
  -- Its details, such as a list of profiles. A CA wrote it, so its size is bounded.
  value jsonb
    constraint server_fact_value_is_short check (length(value::text) <= 20000),
  source text not null
    constraint server_fact_source_is_short check (length(source) between 1 and 500),
  at timestamptz not null,
  constraint server_fact_pkey primary key (server_id, feature, how)
);

-- What is documented about servers, by directory URL: this is what is known until an answer shows better. Each fact names its
-- source, and the date at which it was so: facts of this kind change. Where the CA does not say it itself, the source is
-- a public comparison of CAs or the source code of its server.
create table acme_private.documented_feature (
  -- a regular expression for directory URLs
  directory text not null,
  feature text not null,
  support text not null
    constraint documented_feature_support_is_known check (support in ('yes', 'no')),
  value jsonb,
  source text not null,
  as_of date not null
);

-- Whether each server with an account answers. Apart from acme.server: that row is an administrator's, and its version
-- counts what they changed.
create table acme_private.server_contact (
  server_id bigint
    constraint server_contact_pkey primary key
    constraint server_contact_server_id_fkey references acme.server (id) on delete cascade,
  asked_at timestamptz not null,
  answered_at timestamptz,
  -- when it first did not answer, and has not since; null: it answers
  failing_since timestamptz,
  -- Without an address: every reader of acme.attention sees it.
  reason text
    constraint server_contact_reason_is_short check (length(reason) <= 500),
  constraint server_contact_failing_has_reason check ((failing_since is null) = (reason is null))
);
