-- What is published, and what a person has to publish.

create or replace view acme.record with (security_invoker = true) as
select r.id, r.challenge_id, r.tenant, r.solver, r.method, r.type, r.identifier, r.token, r.value, r.state,
       r.created_at, r.updated_at
  from acme_private.record r;
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

create or replace view acme.challenge_todo with (security_invoker = true) as
select r.id,
       case r.state when 'intended' then 'publish' else 'remove' end as action,
       r.type,
       r.identifier,
       case r.type when 'http-01' then format('http://%s/.well-known/acme-challenge/%s', r.identifier, r.token) end as location,
       r.value,
       r.tenant,
       o.csr_id,
       a.expires_at,
       r.created_at
  from acme_private.record r
  left join acme_private.challenge c on c.id = r.challenge_id
  left join acme_private.authorization a on a.id = c.authorization_id
  left join lateral (
    select x.csr_id
      from acme_private.order_authorization oa
      join acme_private."order" x on x.id = oa.order_id
     where oa.authorization_id = c.authorization_id
     order by x.id desc
     limit 1
  ) o on true
 where r.method = 'manual'
   and r.state in ('intended', 'removing');
comment on view acme.challenge_todo is
  'What is to be published or removed by hand. When it is done: acme.challenge_published(id), acme.challenge_removed(id).';
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
