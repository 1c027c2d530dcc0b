-- What acme.attention needs to know: when a certificate was first to be renewed, what workers can do, whether
-- servers answer, and from when on a person is told. Builds indexes of few rows.

alter table acme_private.certificate
  add column if not exists planned_renewal_at timestamptz;
comment on column acme_private.certificate.planned_renewal_at is
  'When its renewal was first to begin. Set once, when it is stored or adopted; no retry moves it. Null: its csr was cancelled.';
-- The certificates in use that should have been renewed by now: few, unless renewals fail.
create index certificate_planned_renewal_idx on acme_private.certificate (planned_renewal_at) where state = 'current';
-- Requests that a person has to act on.
create index csr_state_attention_idx on acme_private.csr_state (csr_id)
  where state in ('rejected', 'needs_person', 'needs_new_csr', 'failed');
-- Accounts that are not simply registered and well: few of many.
create index account_state_attention_idx on acme_private.account_state (account_id)
  where state <> 'valid' or reason_code is not null;

alter table acme_private.worker
  add column http01 text,
  add column opens_keys boolean,
  add column clock_ahead interval;
comment on column acme_private.worker.http01 is 'Where it answers http-01, as host:port; null: it does not.';
comment on column acme_private.worker.opens_keys is
  'Whether its sealing key opens the account keys of this database; null: there was none when it started.';
comment on column acme_private.worker.clock_ahead is
  'How far its clock was ahead of the database''s at its last sign of life; negative: behind.';

-- Apart from acme.server: that row is an administrator's, and its version counts what they changed.
create table acme_private.server_contact (
  server_id bigint
    constraint server_contact_pkey primary key
    constraint server_contact_server_id_fkey references acme.server (id) on delete cascade,
  asked_at timestamptz not null,
  answered_at timestamptz,
  failing_since timestamptz,
  -- Without an address: every reader of acme.attention sees it.
  reason text
    constraint server_contact_reason_is_short check (length(reason) <= 500),
  constraint server_contact_failing_has_reason check ((failing_since is null) = (reason is null))
);
comment on table acme_private.server_contact is 'Whether each server with an account gives its directory.';
comment on column acme_private.server_contact.asked_at is 'When a worker asked for the directory last.';
comment on column acme_private.server_contact.answered_at is 'When it answered last.';
comment on column acme_private.server_contact.failing_since is 'When it first did not answer, and has not since; null: it answers.';
comment on column acme_private.server_contact.reason is 'Why it did not answer last.';

create table acme.attention_settings (
  is_only boolean not null default true
    constraint attention_settings_pkey primary key
    constraint attention_settings_is_only check (is_only),
  renewal_warning double precision not null default 1.0 / 3
    constraint attention_settings_renewal_warning_is_share check (renewal_warning between 0 and 1),
  renewal_critical double precision not null default 2.0 / 3
    constraint attention_settings_renewal_critical_is_share check (renewal_critical between renewal_warning and 1),
  -- At most what renewals are planned at: certificates are found by that time.
  lifetime_warning double precision not null default 1.0 / 3
    constraint attention_settings_lifetime_warning_is_share check (lifetime_warning between 0 and 1.0 / 3),
  lifetime_critical double precision not null default 0.1
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
comment on column acme.attention_settings.has_own_responder is
  'True: your own web server answers http-01 by acme.http01_response(), so that no worker is missed that does.';
insert into acme.attention_settings default values;
