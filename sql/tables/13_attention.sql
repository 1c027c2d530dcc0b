-- From when on acme.attention reports: thresholds that an administrator may change.

create table acme.attention_settings (
  is_only boolean not null default true
    constraint attention_settings_pkey primary key
    constraint attention_settings_is_only check (is_only),
  renewal_warning numeric not null default 1.0 / 3
    constraint attention_settings_renewal_warning_is_share check (renewal_warning between 0 and 1),
  renewal_critical numeric not null default 2.0 / 3
    constraint attention_settings_renewal_critical_is_share check (renewal_critical between renewal_warning and 1),
  -- At most what renewals are planned at: certificates are found by that time.
  lifetime_warning numeric not null default 1.0 / 3
    constraint attention_settings_lifetime_warning_is_share check (lifetime_warning between 0 and 1.0 / 3),
  lifetime_critical numeric not null default 0.1
    constraint attention_settings_lifetime_critical_is_share check (lifetime_critical between 0 and lifetime_warning),
  server_warning interval not null default '5 minutes'
    constraint attention_settings_server_warning_is_positive check (server_warning >= interval '0'),
  server_critical interval not null default '1 hour'
    constraint attention_settings_server_critical_is_later check (server_critical >= server_warning),
  cooldown_warning interval not null default '1 day'
    constraint attention_settings_cooldown_warning_is_positive check (cooldown_warning >= interval '0'),
  worker_critical interval not null default '2 minutes'
    constraint attention_settings_worker_critical_is_long check (worker_critical >= interval '30 seconds'),
  clock_warning interval not null default '10 seconds'
    constraint attention_settings_clock_warning_is_positive check (clock_warning > interval '0'),
  clock_critical interval not null default '1 minute'
    constraint attention_settings_clock_critical_is_more check (clock_critical >= clock_warning),
  changes_warning interval not null default '5 minutes'
    constraint attention_settings_changes_warning_is_positive check (changes_warning > interval '0'),
  changes_critical interval not null default '1 hour'
    constraint attention_settings_changes_critical_is_later check (changes_critical >= changes_warning),
  notify_queue_warning numeric not null default 0.1
    constraint attention_settings_notify_queue_warning_is_share check (notify_queue_warning between 0 and 1),
  notify_queue_critical numeric not null default 0.5
    constraint attention_settings_notify_queue_critical_is_more check (notify_queue_critical between notify_queue_warning and 1),
  has_own_responder boolean not null default false
);
comment on table acme.attention_settings is 'From when on acme.attention tells: one row, which acme_admin updates.';
comment on column acme.attention_settings.is_only is 'There is one row.';
comment on column acme.attention_settings.renewal_warning is
  'A renewal that has not come is a warning after this share of the time that was left when it was first to begin.';
comment on column acme.attention_settings.renewal_critical is 'And critical after this share.';
comment on column acme.attention_settings.lifetime_warning is
  'A certificate that is not renewed by itself is a warning when this share of its lifetime is left; at most a third.';
comment on column acme.attention_settings.lifetime_critical is 'And critical when this share is left.';
comment on column acme.attention_settings.server_warning is 'How long a server has not answered before it is a warning.';
comment on column acme.attention_settings.server_critical is 'And before it is critical.';
comment on column acme.attention_settings.cooldown_warning is 'A server or account that takes no new orders for longer than this is a warning.';
comment on column acme.attention_settings.worker_critical is 'How long no worker has run before it is critical.';
comment on column acme.attention_settings.clock_warning is 'How far a worker''s clock is off the database''s before it is a warning.';
comment on column acme.attention_settings.clock_critical is 'And before it is critical.';
comment on column acme.attention_settings.changes_warning is
  'How long acme.changes has held events back for a transaction that is still open before it is a warning.';
comment on column acme.attention_settings.changes_critical is 'And before it is critical.';
comment on column acme.attention_settings.notify_queue_warning is
  'How full PostgreSQL''s queue of notifications is, as a share, before it is a warning.';
comment on column acme.attention_settings.notify_queue_critical is 'And before it is critical.';
comment on column acme.attention_settings.has_own_responder is
  'True: your own web server answers http-01 by acme.http01_response(), so that no worker is missed that does.';
insert into acme.attention_settings default values;
