create or replace view acme.cooldown with (security_invoker = true) as
select c.id, v.name as server, a.name as account, c.scope,
       case c.scope when 'set' then null else c.value end as value,
       c.limit_name, c.since, c.until, c.reason
  from acme_private.closure c
  join acme.server v on v.id = c.server_id
  left join acme.account a on a.id = c.account_id
 where c.until > acme_private.clock();
comment on view acme.cooldown is
  'What servers limit at the moment: of which scope no orders are made until when, and what the server said. acme.resume ends one early.';

create or replace view acme.paused_csr with (security_invoker = true) as
select p.csr_id, s.tenant, s.ref, s.identifiers, p.page_url, p.since
  from acme_private.paused_csr p
  join acme_private.csr_state s on s.csr_id = p.csr_id and s.state = 'needs_person' and s.reason_code = 'name_paused';
comment on view acme.paused_csr is
  'Csrs with a name that the server has paused for their account, and the page where an administrator lifts that. Whoever has its URL can lift the pause. Then acme.retry.';
