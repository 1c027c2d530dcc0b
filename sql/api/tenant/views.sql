-- Which tenant owns which name.

create or replace view acme.name_owner as
select o.name, o.registered_domain, o.tenant, o.owner_since, o.proved_at, o.lapses_at
  from acme_private.name_owners(current_user) o;
comment on view acme.name_owner is
  'Which tenant owns a name, with the names above it (up to its registered domain) and below it: only that tenant gets certificates for these. Tenants see their own names, acme_reader and acme_admin see all.';
comment on column acme.name_owner.name is 'The name; a wildcard counts as its base.';
comment on column acme.name_owner.registered_domain is 'Its registered domain (public suffix list, with its private section). null: no CSR for it has been read yet.';
comment on column acme.name_owner.tenant is 'The tenant that owns it.';
comment on column acme.name_owner.owner_since is 'Since when.';
comment on column acme.name_owner.proved_at is
  'When the tenant proved control of it; null: an administrator gave it the name (acme.move_name, acme.adopt).';
comment on column acme.name_owner.lapses_at is
  'When it is free for other tenants: 30 days after the last live csr that used it. null: one uses it.';
