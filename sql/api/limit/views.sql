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
comment on column acme.cooldown.id is 'Given by the database.';
comment on column acme.cooldown.server is 'The server, by name.';
comment on column acme.cooldown.account is 'The account, by name; null: all of the server.';
comment on column acme.cooldown.scope is 'server, account, orders, domain, set, identifier, csr or registrations.';
comment on column acme.cooldown.value is 'The domain, the identifier or the id of the csr; null: of another scope.';
comment on column acme.cooldown.limit_name is 'The server''s name of the limit; null: it did not say.';
comment on column acme.cooldown.since is 'When the server refused first.';
comment on column acme.cooldown.until is 'Until when nothing is ordered in this scope.';
comment on column acme.cooldown.reason is 'Why, with the server''s words.';

create or replace view acme.paused_csr with (security_invoker = true) as
select p.csr_id, s.tenant, s.ref, s.identifiers, p.page_url, p.since
  from acme_private.paused_csr p
  join acme_private.csr_state s on s.csr_id = p.csr_id and s.state = 'needs_person' and s.reason_code = 'name_paused';
comment on view acme.paused_csr is
  'Csrs with a name that the server has paused for their account, and the page where an administrator lifts that. Whoever has its URL can lift the pause. Then acme.retry.';
comment on column acme.paused_csr.csr_id is 'The csr, by its id in acme.csr.';
comment on column acme.paused_csr.tenant is 'The tenant that it belongs to.';
comment on column acme.paused_csr.ref is 'The application''s own key (acme.csr.ref).';
comment on column acme.paused_csr.identifiers is 'Its names.';
comment on column acme.paused_csr.page_url is 'The page of the CA where the pause is lifted. Keep it secret: its holder can lift the pause.';
comment on column acme.paused_csr.since is 'When the server refused first.';
