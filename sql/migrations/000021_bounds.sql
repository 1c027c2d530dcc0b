-- What tenants write is bounded: its size, and what it may contain. Control characters reach terminals (ESC), and those
-- that turn the direction of text (U+202A-202E, U+2066-2069, U+200E, U+200F, U+061C) make a line look like another one.
-- What is out of reach for a timestamp raised in the commits of others. Checks the table: seconds with a million rows.

alter table acme.csr
  add constraint csr_tenant_is_plain
    check (length(tenant) between 1 and 200
           and tenant !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  add constraint csr_ref_is_plain
    check (ref !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  add constraint csr_profile_is_plain
    check (profile !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  add constraint csr_preferred_chain_is_plain
    check (preferred_chain !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  add constraint csr_renew_reason_is_plain
    check (length(renew_reason) <= 500
           and renew_reason !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  add constraint csr_cancel_reason_is_plain
    check (length(cancel_reason) <= 500
           and cancel_reason !~ '[\x01-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]'),
  -- As text, control characters below U+0020 are escapes: a backslash that is not escaped itself, and one of bfnrtu.
  add constraint csr_labels_are_plain
    check (octet_length(labels::text) <= 16384
           and labels::text !~ '[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|(^|[^\\])(\\\\)*\\[bfnrtu]'),
  add constraint csr_priority_is_bounded
    check (priority between -1000000 and 1000000),
  -- Each part by itself, since a large one and its opposite add up to little, and are added one after the other.
  add constraint csr_validity_is_bounded
    check (validity <= interval '100 years'
           and extract(year from validity) between -100 and 100
           and extract(day from validity) between -36600 and 36600
           and extract(hour from validity) between -878400 and 878400),
  add constraint csr_validity_start_is_bounded
    check (validity_start between interval '-100 years' and interval '100 years'
           and extract(year from validity_start) between -100 and 100
           and extract(day from validity_start) between -36600 and 36600
           and extract(hour from validity_start) between -878400 and 878400);

-- By acme.preauthorize; what a server names is the worker's to judge.
alter table acme_private.authorization
  add constraint authorization_preauthorization_is_short
    check (not is_preauthorization
           or length(tenant) <= 200 and length(identifier) <= 255 and (solver is null or length(solver) <= 63));

-- Received csrs are judged in turns of their tenants.
drop index acme_private.csr_state_received_idx;
create index csr_state_received_idx on acme_private.csr_state (tenant, csr_id) where state = 'received';

-- Where the last turn of something that goes round the tenants ended.
create table acme_private.turn (
  name text primary key,
  tenant text not null default ''
);
comment on table acme_private.turn is 'Where the last turn of something that goes round the tenants ended.';
insert into acme_private.turn (name) values ('judge');

-- acme.cancel() ends what was rejected, too.
insert into acme_private.transition (kind, from_state, to_state) values
  ('csr', 'rejected', 'cancelled');

-- What admitting a csr brought: its order, where it was in the turns of (account, tenant), and its claim.
create type acme_private.admitted as (order_id bigint, account_id bigint, tenant text, claim jsonb);

-- Two arguments more: set_aside and admit_next of sql/api.
drop function if exists acme_private.set_aside(bigint, text, bigint);
drop function if exists acme_private.admit_next(bigint, bigint, bigint, text);
drop trigger if exists _090_policy on acme.server;
drop function if exists acme_private.tg_server__policy();
