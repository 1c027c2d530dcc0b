-- Which tenant has which name.

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
