-- Solvers: how challenges are published, and what is published now.

create table acme.solver (
  id bigint generated always as identity
    constraint solver_pkey primary key,
  name text not null
    constraint solver_name_key unique
    constraint solver_name_is_plain check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  challenge_type text not null default 'http-01'
    constraint solver_challenge_type_is_known check (challenge_type in ('http-01')),
  method text not null default 'responder'
    constraint solver_method_is_known check (method in ('responder', 'manual')),
  names text[] not null default '{*}',
  created_at timestamptz not null default now()
);
comment on table acme.solver is 'How challenges get published, and for which names. Written by acme_admin.';
comment on column acme.solver.id is 'Given by the database.';
comment on column acme.solver.name is 'How csrs call it: lower-case letters, digits, dot, dash, underscore.';
comment on column acme.solver.challenge_type is 'The challenge type that it answers (RFC 8555 §8).';
comment on column acme.solver.method is
  'responder: the built-in responder, or your server by http01_response(); manual: by hand, see challenge_todo.';
comment on column acme.solver.names is 'Domains it serves, each with everything below it; * is all. The most specific solver wins.';
comment on column acme.solver.created_at is 'When it was inserted.';

insert into acme.solver (name, challenge_type, method, names) values
  ('http-01', 'http-01', 'responder', '{*}');
