-- The time at which a server would like a certificate to be renewed (RFC 9773 §4.2).

-- A renewal that is due before its server's window: no order is made, and the csr waits for a time in the window,
-- short of its end. It gives its slot back. null: it is time, or would be too late for what is left of the
-- certificate; then it is ordered now.
create or replace function acme_private.renewal_window(
  p_worker bigint, p_order bigint, p_lease uuid, p_window jsonb, p_take int
) returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_start timestamptz := p_window ->> 'start';
  v_end timestamptz := p_window ->> 'end';
  v_length interval := greatest(v_end - v_start - greatest((v_end - v_start) / 3, interval '2 hours'), interval '0');
  v_due timestamptz;
  o acme_private."order";
begin
  perform acme_private.begin_work(false);
  perform from acme_private.csr_state x
   where x.csr_id = (select y.csr_id from acme_private."order" y where y.id = p_order)
     for no key update;
  select * into o from acme_private."order" where id = p_order and lease_token = p_lease for update;
  if not found then
    return '[]';
  end if;
  -- Whatever the server says, half of what was left at the planned time remains for tries.
  select least(v_start + v_length * random(), k.not_after - (k.not_after - k.not_before) / 6) into v_due
    from acme_private.csr_state s
    join acme_private.certificate k on k.id = s.certificate_id
   where s.csr_id = o.csr_id;
  if v_start <= v_now or v_due <= v_now or v_due is null or o.is_unwanted then
    return null;
  end if;
  update acme_private."order"
     set state = 'cancelled', finished_at = v_now, lease_token = null, lease_until = null, lease_worker = null, claims = 0,
         next_attempt_at = null, reason_code = 'renewal_window', reason = 'The server wants the renewal later.'
   where id = o.id;
  update acme_private.csr_state
     set state = 'issued', order_id = null, queued_at = null, renew_at = v_due, renewal_reason = null, next_attempt_at = null,
         reason_code = 'renewal_window', updated_at = v_now,
         reason = format('Its renewal waits for the time that the server suggests, from %s to %s (RFC 9773).',
                         to_char(v_start, 'YYYY-MM-DD HH24:MI TZ'), to_char(v_end, 'YYYY-MM-DD HH24:MI TZ'))
   where csr_id = o.csr_id;
  perform acme_private.note('renewal_waits', o.tenant, o.csr_id, o.id, o.account_id, null, p_worker,
                            jsonb_build_object('window', p_window, 'renew_at', v_due));
  perform acme_private.heed(o.csr_id);
  return acme_private.pass_on(p_worker, o, p_take);
end
$$;
comment on function acme_private.renewal_window(bigint, bigint, uuid, jsonb, int) is
  'Lets a renewal wait for the window that its server suggests; returns claims on what is next in line. null: it is time.';
