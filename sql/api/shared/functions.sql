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
