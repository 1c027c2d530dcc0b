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

-- name is without "*.": a wildcard belongs to the owner of its base.
create table acme_private.identifier_claim (
  name text
    constraint identifier_claim_pkey primary key,
  registered_domain text not null,
  tenant text not null,
  created_at timestamptz not null default now()
);
-- Who has a name above or below another one. Reversed, everything below a name is one range; by registered domain every name
-- of a platform with a subdomain for each customer would be read.
create index identifier_claim_reverse_idx on acme_private.identifier_claim (reverse(name) collate "C");
