-- Accounts, as administrators read them.

create or replace view acme.account_status with (security_invoker = true) as
select a.id, a.name, a.server,
       case when p.code is not null then 'paused'
            -- (one that is valid goes on meanwhile, but for what is looked at first after a restore: is_open)
            -- or for a key that the server does not accept
            when s.next_attempt_at = 'infinity' and (s.state <> 'valid' or s.reread_since is not null or s.doubted_at is not null
                                                     or s.reason_code in ('account_key_unknown', 'account_refused')) then 'needs_person'
            when l.until is not null then 'limited'
            else s.state end as state,
       coalesce(p.code, case when l.until is not null then 'limited' end, s.reason_code) as reason_code,
       case p.code when 'account_paused' then a.pause_reason when 'server_paused' then v.pause_reason
                   else coalesce(l.reason, s.reason) end as reason,
       coalesce(l.until, nullif(s.next_attempt_at, 'infinity')) as next_attempt_at, s.attempts, s.last_problem, s.url, a.contact, a.terms_agreed, s.terms_url,
       a.is_default, s.registered_at, s.updated_at, s.thumbprint, a.eab_kid, s.verified_at,
       -- (of a closed one nobody can be told)
       not p.is_closed and p.is_untold as has_pending_change, s.agreed_terms_url
  from acme.account a
  join acme_private.account_state s on s.account_id = a.id
  join acme.server v on v.id = s.server_id
 cross join lateral (
    select s.state in ('deactivated', 'revoked') as is_closed,
           a.details_version > s.told_version or coalesce(a.roll_over_request > s.rolled_version, false) as is_untold
 ) f
 cross join lateral (
    select f.*,
           case when f.is_closed then null
                when a.paused_at is not null then 'account_paused'
                -- Nothing is begun with it meanwhile.
                when v.paused_at is not null and (s.state <> 'valid' or f.is_untold or s.reread_since is not null) then 'server_paused'
           end as code
 ) p
  -- What it gets no orders for, at the moment.
  left join lateral (
    select c.until, c.reason
      from acme_private.closure c
     where c.server_id = s.server_id and c.scope in ('server', 'account', 'orders')
       and (c.account_id is null or c.account_id = s.account_id) and c.until > acme_private.clock()
     order by c.scope = 'orders', c.until desc
     limit 1
  ) l on s.state = 'valid' and s.reread_since is null and s.doubted_at is null and p.code is null;
comment on view acme.account_status is 'Where each ACME account stands at its server.';
comment on column acme.account_status.id is 'As in acme.account.';
comment on column acme.account_status.name is 'As in acme.account.';
comment on column acme.account_status.server is 'The server, by name.';
comment on column acme.account_status.state is 'new, registering, valid, rolling_over, deactivating, deactivated, revoked; needs_person: a person has to act; paused: by acme.pause.';
comment on column acme.account_status.reason_code is 'Why it waits or ended, machine-readable and stable; docs/sql.md lists the codes. null: nothing to say.';
comment on column acme.account_status.reason is 'The same as a sentence.';
comment on column acme.account_status.next_attempt_at is 'Nothing is done before this time; null: no time is set.';
comment on column acme.account_status.attempts is 'How many attempts in a row met a transient error.';
comment on column acme.account_status.last_problem is 'The last problem document of the server (RFC 7807), or what is known of the failure.';
comment on column acme.account_status.url is 'The account''s URL at the server (RFC 8555 §7.1.2), once it is registered.';
comment on column acme.account_status.contact is 'As in acme.account.';
comment on column acme.account_status.terms_agreed is 'As in acme.account.';
comment on column acme.account_status.terms_url is 'The server''s current terms of service.';
comment on column acme.account_status.is_default is 'As in acme.account.';
comment on column acme.account_status.registered_at is 'When the server registered it.';
comment on column acme.account_status.updated_at is 'When its state changed last.';
comment on column acme.account_status.thumbprint is 'The thumbprint of the current account key (RFC 7638), as logs and events name it.';
comment on column acme.account_status.eab_kid is 'As in acme.account.';
comment on column acme.account_status.verified_at is 'When the server last confirmed that the key is the account''s.';
comment on column acme.account_status.has_pending_change is 'True: the server has not been told of a change yet.';
comment on column acme.account_status.agreed_terms_url is 'The terms of service that a person agreed to.';

-- A function, opaque to the planner: names of accounts are unique, and have an index.
create or replace view acme.usable_account with (security_invoker = true) as
select a.name, a.server, a.is_default, a.paused_at, a.pause_reason
  from acme_private.usable_accounts(current_user) a;
comment on view acme.usable_account is
  'The accounts that csr.account may name: those that are shared, and those that csrs of the reader''s tenant use. Others, of registered domains of other tenants (server.account_policy), are not shown.';
comment on column acme.usable_account.name is 'How csrs and functions call it.';
comment on column acme.usable_account.server is 'The server where it is registered, by name.';
comment on column acme.usable_account.is_default is 'True: it serves the csrs that name no account, or is the model of those that do.';
comment on column acme.usable_account.paused_at is 'Since when it gets no new orders; null: it is open.';
comment on column acme.usable_account.pause_reason is 'Why it is paused.';
