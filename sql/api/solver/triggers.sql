-- The trigger on records.

-- What a person published can be answered for.
create or replace function acme_private.tg_record__published() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.wake_rows('prove', 'authorization', array(
    select c.authorization_id from acme_private.challenge c where c.id = new.challenge_id));
  return null;
end
$$;

create or replace trigger _500_published after update on acme_private.record
  for each row when (old.state = 'intended' and new.state = 'published')
  execute function acme_private.tg_record__published();
