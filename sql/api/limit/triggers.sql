create or replace function acme_private.tg_resume_request__wake() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.wake_dispatch();
  return null;
end
$$;
comment on function acme_private.tg_resume_request__wake() is 'Wakes a worker for what acme.resume asked.';

create or replace trigger _500_wake after insert on acme.resume_request
  for each statement execute function acme_private.tg_resume_request__wake();
