-- Tenants: which role acts for which, and which of them has which name.

create table acme.tenant_role (
  -- Kept by its oid, so that a rename changes nothing, and a role made again under the name of a dropped one is another
  -- role. Dumped by its name, and so right in the cluster where it is restored; pg_upgrade keeps oids.
  role regrole
    constraint tenant_role_pkey primary key,
  tenant text not null
    constraint tenant_role_tenant_is_plain check (length(tenant) between 1 and 200
      and tenant !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]'),
  created_at timestamptz not null default now()
);
comment on table acme.tenant_role is
  'The tenant that a role acts for, where that is not called as the role is. Written by acme_admin. The row of a role that was dropped goes by itself.';
comment on column acme.tenant_role.role is 'The role, also after it was renamed: the role itself, not those that are members of it.';
comment on column acme.tenant_role.tenant is
  'The tenant: 1 to 200 characters, without control characters or characters that are not seen.';
comment on column acme.tenant_role.created_at is 'When it was inserted.';

-- The names that tenants ask for. A name that is only asked for blocks nobody; one of its tenants owns it, from the first valid
-- authorization on.
create table acme_private.tenant_name (
  tenant text not null,
  -- without "*.": a wildcard belongs to the owner of its base
  name text not null,
  -- null: an administrator gave it away, and no worker has read a CSR for it yet
  registered_domain text,
  -- null: the tenant asks for the name and does not own it
  owner_since timestamptz,
  -- When this tenant proved control of it by an authorization, while it owned it. null: it did not. An administrator gave it the
  -- name, or adopted a certificate; an authorization of an earlier owner may still be valid at the server.
  proved_at timestamptz,
  -- when it was asked for last, or (of an owner) when it was last checked whether a live csr uses it
  checked_at timestamptz not null default now(),
  -- no live csr of the owner has used it since then
  unused_since timestamptz,
  constraint tenant_name_pkey primary key (tenant, name),
  constraint tenant_name_proved_is_owned check (owner_since is not null or proved_at is null and unused_since is null)
);
-- Reversed, all names below a name are one range. Owners apart from those who ask: a tenant may ask for many names below
-- that of another.
create unique index tenant_name_owner_key on acme_private.tenant_name (reverse(name) collate "C") where owner_since is not null;
create index tenant_name_reverse_idx on acme_private.tenant_name (reverse(name) collate "C");
create index tenant_name_owned_idx on acme_private.tenant_name (checked_at) where owner_since is not null;
create index tenant_name_asked_idx on acme_private.tenant_name (checked_at) where owner_since is null;
