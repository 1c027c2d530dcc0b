-- The trigger on the thresholds.

create or replace function acme_private.tg_attention_settings__check() returns trigger
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_constraint text;
  v_text text;
begin
  select 'attention_settings_' || x.name, x.sentence into v_constraint, v_text
    from (values
      ('renewal_warning_is_share', new.renewal_warning between 0 and 1, 'renewal_warning must be a share, from 0 to 1.'),
      ('renewal_critical_is_share', new.renewal_critical between new.renewal_warning and 1,
       'renewal_critical must be a share from renewal_warning to 1.'),
      ('lifetime_warning_is_share', new.lifetime_warning between 0 and 1.0 / 3,
       'lifetime_warning must be a share from 0 to a third (1.0 / 3): certificates are renewed when a third of their lifetime is left.'),
      ('lifetime_critical_is_share', new.lifetime_critical between 0 and new.lifetime_warning,
       'lifetime_critical must be a share from 0 to lifetime_warning.'),
      ('server_warning_is_positive', new.server_warning >= interval '0', 'server_warning must not be negative.'),
      ('server_critical_is_later', new.server_critical >= new.server_warning, 'server_critical must be server_warning or longer.'),
      ('cooldown_warning_is_positive', new.cooldown_warning >= interval '0', 'cooldown_warning must not be negative.'),
      ('worker_critical_is_long', new.worker_critical >= interval '30 seconds',
       'worker_critical must be 30 seconds or longer: a worker that was killed shows only then.'),
      ('clock_warning_is_positive', new.clock_warning > interval '0', 'clock_warning must be longer than nothing.'),
      ('clock_critical_is_more', new.clock_critical >= new.clock_warning, 'clock_critical must be clock_warning or longer.'),
      ('changes_warning_is_positive', new.changes_warning > interval '0', 'changes_warning must be longer than nothing.'),
      ('changes_critical_is_later', new.changes_critical >= new.changes_warning, 'changes_critical must be changes_warning or longer.'),
      ('notify_queue_warning_is_share', new.notify_queue_warning between 0 and 1, 'notify_queue_warning must be a share, from 0 to 1.'),
      ('notify_queue_critical_is_more', new.notify_queue_critical between new.notify_queue_warning and 1,
       'notify_queue_critical must be a share from notify_queue_warning to 1.')
    ) x (name, is_kept, sentence)
   where not x.is_kept
   limit 1;
  if found then
    raise exception using errcode = 'check_violation', constraint = v_constraint, message = v_text;
  end if;
  return new;
end
$$;
comment on function acme_private.tg_attention_settings__check() is 'Says in a sentence what a threshold cannot be.';

create or replace trigger _090_check before insert or update on acme.attention_settings
  for each row execute function acme_private.tg_attention_settings__check();
