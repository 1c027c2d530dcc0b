-- Accounts, as administrators read them.

create or replace view acme.account_status with (security_invoker = true) as
select a.id, a.name, a.server,
       case when p.code is not null then 'paused'
            -- (one that is valid goes on meanwhile, but for what is looked at first after a restore: is_open)
            when s.next_attempt_at = 'infinity' and (s.state <> 'valid' or s.reread_since is not null) then 'needs_person'
            else s.state end as state,
       coalesce(p.code, s.reason_code) as reason_code,
       case p.code when 'account_paused' then a.pause_reason when 'server_paused' then v.pause_reason else s.reason end as reason,
       nullif(s.next_attempt_at, 'infinity') as next_attempt_at, s.attempts, s.last_problem, s.url, a.contact, a.terms_agreed, s.terms_url,
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
 ) p;
comment on view acme.account_status is 'Where each ACME account stands at its server.';
