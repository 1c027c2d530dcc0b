-- How a revocation ends (RFC 8555 §7.6): what the server answered, a worker or somebody else, and what becomes of the csr.

-- What follows when a certificate is revoked; its csr is locked.
create or replace function acme_private.end_revocation(
  p_worker bigint, p_certificate bigint, p_account bigint, p_detail jsonb
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  k record;
  s acme_private.csr_state;
begin
  update acme_private.certificate c
     set state = 'revoked', revoked_at = v_now, lease_token = null, lease_until = null, lease_worker = null, claims = 0,
         attempts = 0, next_attempt_at = null, reason_code = null, reason = null, last_problem = null
   where c.id = p_certificate
  returning c.csr_id, c.tenant, c.revocation_reason into k;
  -- It is none to serve any more: certificate_for() passes it over.
  delete from acme_private.certificate_name n where n.certificate_id = p_certificate;
  perform acme_private.note('certificate_revoked', k.tenant, k.csr_id, null, p_account, p_certificate, p_worker,
                            jsonb_build_object('reason', k.revocation_reason) || p_detail);
  -- A cancellation that came with it comes first.
  perform acme_private.heed(k.csr_id);
  select * into s from acme_private.csr_state where csr_id = k.csr_id;
  if s.certificate_id = p_certificate and s.state = 'issued'
     and (select c.renewal from acme.csr c where c.id = k.csr_id) <> 'off' then
    update acme_private.csr_state
       set state = 'renewing', queued_at = v_now, updated_at = v_now, renewal_reason = 'its certificate was revoked'
     where csr_id = k.csr_id;
    perform acme_private.note('renewal_due', k.tenant, k.csr_id, null, s.account_id, p_certificate, p_worker,
                              jsonb_build_object('reason', 'its certificate was revoked'));
    if p_worker is null then
      -- Maybe in an administrator's transaction, which may last.
      perform acme_private.wake_dispatch();
    else
      perform acme_private.dispatch_at(v_now, 'now');
    end if;
  end if;
end
$$;

-- p_was_revoked: the server knew it already, by a worker that died after it sent, or by somebody else.
create or replace function acme_private.certificate_revoked(
  p_worker bigint, p_certificate bigint, p_lease uuid, p_account bigint, p_was_revoked boolean
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform acme_private.begin_work(false);
  perform from acme_private.csr_state s
   where s.csr_id = (select c.csr_id from acme_private.certificate c where c.id = p_certificate)
     for no key update;
  perform from acme_private.certificate c where c.id = p_certificate and c.lease_token = p_lease for no key update;
  if found then
    perform acme_private.end_revocation(p_worker, p_certificate, p_account,
      case when p_was_revoked then '{"was_revoked": true}'::jsonb else '{}' end);
    -- Asked for while the server was asked: a compromised key has to be blocked all the same.
    if exists (select from acme.revocation_request q where q.certificate_id = p_certificate) then
      perform acme_private.enqueue('certificate', p_certificate);
    end if;
  end if;
end
$$;
comment on function acme_private.certificate_revoked(bigint, bigint, uuid, bigint, boolean) is
  'Stores that a certificate is revoked; a csr that goes on is renewed.';

-- A step on a certificate did not succeed (step_failed). The sentence of a refusal says what a person can do.
create or replace function acme_private.revocation_failed(
  p_worker bigint, p_certificate bigint, p_lease uuid, p_outcome jsonb
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_class text := p_outcome ->> 'class';
  v_code text := p_outcome ->> 'code';
  v_text text := p_outcome ->> 'text';
  v_problem jsonb := nullif(p_outcome -> 'problem', 'null');
  v_after interval := make_interval(secs => (p_outcome ->> 'retry_after_ms')::numeric / 1000);
  k acme_private.certificate;
  v_is_current boolean;
begin
  select c.csr_id into k.csr_id from acme_private.certificate c where c.id = p_certificate;
  perform from acme_private.csr_state s where s.csr_id = k.csr_id for no key update;
  select c.* into k from acme_private.certificate c where c.id = p_certificate and c.lease_token = p_lease for no key update;
  if not found then
    return;
  end if;
  -- It spoke for the account as that is no more; the next claim reads it again.
  if v_class = 'refused' and p_outcome ? 'of_account'
     and p_outcome ->> 'account_version' <> acme_private.account_version((p_outcome ->> 'account_id')::bigint) then
    v_class := 'trouble';
    v_code := 'account_changed';
    v_text := 'Its account has changed meanwhile; it is read again.';
    v_after := interval '0';
  end if;
  case v_class
    when 'waiting', 'trouble', 'limited', 'account_lost' then
      if v_class = 'account_lost' then
        perform acme_private.lose_account(p_worker, (p_outcome ->> 'account_id')::bigint, p_outcome ->> 'account_version', v_problem);
      end if;
      perform acme_private.put_off('certificate', p_certificate,
        v_now + least(coalesce(v_after, case v_class when 'limited' then interval '10 minutes' else acme_private.backoff(k.attempts) end),
                      case v_class when 'limited' then interval '8 days' else interval '1 day' end),
        k.attempts + 1, v_code, v_text, v_problem);
      return;
    when 'reason_refused' then
      -- Nothing was revoked, and it is as good as before, as is its csr: a renewal that was held back goes on.
      v_is_current := exists (select from acme_private.csr_state s where s.csr_id = k.csr_id and s.certificate_id = k.id);
      update acme_private.certificate c
         set state = case when v_is_current then 'current' else 'superseded' end, ends_csr = false,
             lease_token = null, lease_until = null, lease_worker = null, claims = 0, attempts = 0, next_attempt_at = null,
             reason_code = v_code, reason = v_text, last_problem = v_problem
       where c.id = k.id;
      if acme_private.ending_reason(k.id) is null then
        update acme_private.csr_state s
           set state = 'renewing', queued_at = v_now, updated_at = v_now
         where s.csr_id = k.csr_id and s.certificate_id = k.id and s.state = 'issued' and s.renewal_reason is not null;
        if found then
          perform acme_private.dispatch_at(v_now, 'now');
        end if;
      end if;
      -- As put_off does: what was asked for meanwhile may have a reason that is taken.
      if exists (select from acme.revocation_request q where q.certificate_id = k.id) then
        perform acme_private.enqueue('certificate', k.id);
      end if;
    else
      perform acme_private.put_off('certificate', p_certificate, v_now + acme_private.ladder(k.attempts + 1), k.attempts + 1,
                                   v_code, v_text, v_problem);
  end case;
  perform acme_private.note('revocation_refused', k.tenant, k.csr_id, null, null, k.id, p_worker,
                            jsonb_build_object('reason', v_text, 'problem', v_problem));
end
$$;

-- The server was asked by somebody else than a worker, and has revoked it: `pgacme revoke --key-file`.
create or replace function acme_private.certificate_was_revoked(p_certificate bigint, p_reason text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text := acme_private.revocation_reason(p_reason);
  v_quiet text := coalesce(current_setting('acme_private.quiet', true), '');
begin
  if not exists (select from acme_private.certificate c where c.id = p_certificate) then
    raise exception 'There is no certificate %.', p_certificate
      using errcode = 'no_data_found', hint = 'See acme.certificate.';
  end if;
  -- No more than this of begin_work: the transaction is its caller's.
  perform set_config('acme_private.quiet', 'on', true);
  perform acme_private.drop_foreign_revocations(p_certificate);
  -- What was asked for is done with; that a key is compromised is not forgotten with it.
  if exists (select from acme.revocation_request q where q.certificate_id = p_certificate and q.reason = 'keyCompromise') then
    v_reason := 'keyCompromise';
  end if;
  perform acme_private.lock_for_revocation(p_certificate, v_reason = 'keyCompromise');
  if exists (select from acme.revocation_request q where q.certificate_id = p_certificate and q.ends_csr) then
    perform acme_private.end_csr_with(p_certificate);
  end if;
  delete from acme.revocation_request q where q.certificate_id = p_certificate;
  perform acme_private.begin_revocation(p_certificate, v_reason, false, session_user);
  if exists (select from acme_private.certificate c where c.id = p_certificate and c.state = 'revoking') then
    perform acme_private.end_revocation(null, p_certificate, null, '{"elsewhere": true}');
  end if;
  perform set_config('acme_private.quiet', v_quiet, true);
end
$$;
comment on function acme_private.certificate_was_revoked(bigint, text) is
  'Stores that a certificate was revoked by other means than a worker.';

create or replace function acme.certificate_was_revoked(certificate bigint, reason text) returns void
language sql volatile
begin atomic
  select acme_private.certificate_was_revoked(certificate_was_revoked.certificate, certificate_was_revoked.reason);
end;
comment on function acme.certificate_was_revoked(bigint, text) is
  'Says that the server has revoked this certificate, asked by others than pgacme''s workers; pgacme revoke --key-file calls it. What follows is the same as with acme.revoke_certificate.';
