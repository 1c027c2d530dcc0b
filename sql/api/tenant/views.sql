-- Which tenant has which name.

create or replace view acme.identifier_claim with (security_invoker = true) as
select i.name, i.registered_domain, i.tenant, i.created_at
  from acme_private.identifier_claim i;
comment on view acme.identifier_claim is
  'Which tenant an identifier belongs to; a wildcard belongs to whom its base does.';
comment on column acme.identifier_claim.name is 'The name; a wildcard counts as its base.';
comment on column acme.identifier_claim.registered_domain is 'Its registered domain (public suffix list).';
comment on column acme.identifier_claim.tenant is 'The tenant that has it.';
comment on column acme.identifier_claim.created_at is 'Since when.';
