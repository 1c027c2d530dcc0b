-- Which tenant has which name.

create or replace view acme.identifier_claim with (security_invoker = true) as
select i.name, i.registered_domain, i.tenant, i.created_at
  from acme_private.identifier_claim i;
comment on view acme.identifier_claim is
  'Which tenant an identifier belongs to; a wildcard belongs to whom its base does.';
