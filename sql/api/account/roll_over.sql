-- Key roll-over (RFC 8555 §7.3.5): a pending key is stored, then sent, then seen to be the account's, and only
-- then current. What the worker does in between: src/tasks/account/roll-over.ts.

-- RFC 8555 §7.3.5: the new key is stored before it is sent.
create or replace function acme_private.account_pending_key(
  p_worker bigint, p_account bigint, p_lease uuid, p_jwe text, p_thumbprint text, p_spki bytea
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  -- (What workers remember of it no longer holds.)
  update acme_private.account_state set version = version + 1
   where account_id = p_account and lease_token = p_lease and state = 'rolling_over';
  if not found then
    perform acme_private.release('account', p_account, p_lease);
    return false;
  end if;
  insert into acme_private.account_key (account_id, state, jwe, thumbprint, spki_sha256)
  values (p_account, 'pending', p_jwe, p_thumbprint, p_spki);
  perform acme_private.note('account_pending_key_made', null, null, null, p_account, null, p_worker,
                            jsonb_build_object('thumbprint', p_thumbprint));
  return true;
end
$$;
comment on function acme_private.account_pending_key(bigint, bigint, uuid, text, text, bytea) is
  'Stores the key that an account is to have, sealed, before keyChange. False: the lease is gone, do not send.';

-- A promoted standby that never got the pending key would hold an account without a key. Logical
-- replication copies rows elsewhere and is never promoted.
create or replace function acme_private.standbys_behind(p_position pg_lsn) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  v_behind text;
begin
  select string_agg(b.name, ', ' order by b.name)
    into v_behind
    from (
      select case when r.flush_lsn is null and r.application_name is null
                  then 'a standby that acme_owner may not look at (grant pg_read_all_stats to acme_owner)'
                  else coalesce(nullif(r.application_name, ''), r.client_addr::text, 'a standby') end as name
        from pg_stat_replication r
       where r.state is distinct from 'backup'
         and (r.flush_lsn is null or r.flush_lsn < p_position)
         and not exists (
           select from pg_replication_slots l where l.active_pid = r.pid and l.slot_type = 'logical')
      union all
      -- One that is away, and for which the log is kept.
      select format('the standby of replication slot %s, which is away', l.slot_name)
        from pg_replication_slots l
       where l.slot_type = 'physical' and not l.active and not l.temporary
         and (l.restart_lsn is null or l.restart_lsn < p_position)
    ) b;
  return v_behind;
end
$$;

-- May the pending key be sent? null: it may, and counts as sent from now on. Else the standbys that it waits
-- for: to have the log up to where it was when the key was stored, however much is written since.
create or replace function acme_private.account_key_ready(p_worker bigint, p_account bigint, p_lease uuid) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_position pg_lsn;
  v_behind text;
begin
  perform acme_private.begin_work(false);
  perform from acme_private.account_state
   where account_id = p_account and lease_token = p_lease and state = 'rolling_over'
     for no key update;
  if not found then
    return 'another worker';
  end if;
  update acme_private.account_key set position = coalesce(position, pg_current_wal_insert_lsn())
   where account_id = p_account and state = 'pending'
  returning position into v_position;
  v_behind := acme_private.standbys_behind(v_position);
  if v_behind is null then
    update acme_private.account_key set sent_at = coalesce(sent_at, acme_private.clock())
     where account_id = p_account and state = 'pending';
  end if;
  return v_behind;
end
$$;
comment on function acme_private.account_key_ready(bigint, bigint, uuid) is
  'The standbys that the sending of a pending key waits for; null: none, and it counts as sent.';

-- The server knows this key: what was current is worth nothing any more. The account is leased to this worker.
create or replace function acme_private.change_key(
  p_worker bigint, p_account bigint, p_lease uuid, p_key bigint, p_detail jsonb default '{}'
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_old text;
  v_new text;
begin
  update acme_private.account_key set state = 'retired', jwe = null, retired_at = v_now
   where account_id = p_account and state = 'current'
  returning thumbprint into v_old;
  update acme_private.account_key set state = 'current', retired_at = null
   where id = p_key and account_id = p_account and jwe is not null
  returning thumbprint into strict v_new;
  update acme_private.account_state set thumbprint = v_new, verified_at = v_now where account_id = p_account;
  perform acme_private.settle_account(p_account, p_lease, 'valid');
  perform acme_private.note('account_key_rolled_over', null, null, null, p_account, null, p_worker,
                            jsonb_build_object('old_thumbprint', v_old, 'thumbprint', v_new) || p_detail);
  perform acme_private.choose_anew(p_account);
  perform acme_private.account_goes_on(p_account);
end
$$;

create or replace function acme_private.account_rolled_over(p_worker bigint, p_account bigint, p_lease uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  update acme_private.account_state set rolled_version = seen_version
   where account_id = p_account and lease_token = p_lease and state = 'rolling_over';
  if found then
    perform acme_private.change_key(p_worker, p_account, p_lease,
      (select k.id from acme_private.account_key k where k.account_id = p_account and k.state = 'pending'));
  else
    -- An order found out that the server has lost it.
    perform acme_private.release('account', p_account, p_lease);
  end if;
end
$$;
comment on function acme_private.account_rolled_over(bigint, bigint, uuid) is
  'Makes the pending key the current one, after the server was seen to know it.';

-- The server keeps the old key, as was seen. outcome: {code, text, problem}.
create or replace function acme_private.account_roll_over_refused(
  p_worker bigint, p_account bigint, p_lease uuid, p_outcome jsonb
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
begin
  perform acme_private.begin_work(false);
  update acme_private.account_state set rolled_version = seen_version
   where account_id = p_account and lease_token = p_lease and state = 'rolling_over';
  if not found then
    perform acme_private.release('account', p_account, p_lease);
    return;
  end if;
  perform acme_private.settle_account(p_account, p_lease, 'valid', p_outcome ->> 'code', p_outcome ->> 'text',
                                      nullif(p_outcome -> 'problem', 'null'));
  -- The server has seen it: never to be made again, and kept in case the server takes it after all (account_key_found).
  update acme_private.account_key set state = 'retired', retired_at = v_now
   where account_id = p_account and state = 'pending';
  perform acme_private.note('account_roll_over_refused', null, null, null, p_account, null, p_worker, p_outcome);
  perform acme_private.account_goes_on(p_account);
end
$$;
comment on function acme_private.account_roll_over_refused(bigint, bigint, uuid, jsonb) is
  'Ends a roll-over that the server did not take: the account goes on with its old key.';

-- The server took a key after all that it had been sent and seemed to refuse: it knows the account by that one, and
-- the current one no longer.
create or replace function acme_private.account_key_found(p_worker bigint, p_account bigint, p_lease uuid, p_key bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  perform from acme_private.account_state where account_id = p_account and lease_token = p_lease for no key update;
  -- (What is left to be told of the row, also that it is to be verified, is told with this key.)
  if found then
    perform acme_private.change_key(p_worker, p_account, p_lease, p_key, '{"late": true}');
  end if;
end
$$;
comment on function acme_private.account_key_found(bigint, bigint, uuid, bigint) is
  'Makes a key the current one that the server took after all, after it was seen to know the account by it.';
