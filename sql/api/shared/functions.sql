-- Small rules that everything else calls: time, names, what a CSR must look like, when to try again.

-- Production reads time here and nowhere else; a test replaces the function to travel.
create or replace function acme_private.clock() returns timestamptz
language sql stable
return pg_catalog.now();
comment on function acme_private.clock() is 'The time, for everything that is scheduled.';

create or replace function acme.version() returns text
language sql immutable
return '0.3';
comment on function acme.version() is
  'The version of this SQL contract. A worker serves the version that it was built for, and waits while the database has another one.';

-- Control characters reach terminals; those that turn the direction of text make a line look like another one.
create or replace function acme_private.plain_text(p_text text, p_length int) returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
  select regexp_replace(left(p_text, p_length), '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]', '?', 'g')
$$;
comment on function acme_private.plain_text(text, int) is
  'At most so many characters of a text, with a question mark for each that acts on a terminal or turns the direction of text.';

-- p_role: the caller's current_user, which a function that runs as its owner does not see.
create or replace function acme_private.is_watcher(p_role name) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select pg_has_role(p_role, 'acme_reader', 'usage') or pg_has_role(p_role, 'acme_admin', 'usage')
      or pg_has_role(p_role, 'acme_owner', 'usage')
$$;
comment on function acme_private.is_watcher(name) is 'May a role see all tenants, and what belongs to none of them?';

create or replace function acme_private.is_watcher() returns boolean
language sql stable
return acme_private.is_watcher(current_user);
comment on function acme_private.is_watcher() is 'May this session see all tenants, and what belongs to none of them?';
