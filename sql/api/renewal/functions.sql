-- When certificates are renewed.

-- When to renew: a third of the lifetime before the end, half of it for lifetimes under ten days,
-- up to a fiftieth of the lifetime earlier so that many do not come at once. Never at once: a
-- certificate that is issued nearly over must not be renewed in a circle.
create or replace function acme_private.renewal_time(p_not_before timestamptz, p_not_after timestamptz) returns timestamptz
language sql volatile
return greatest(
  acme_private.clock() + least(interval '1 hour', (p_not_after - p_not_before) / 10),
  p_not_after
     - (p_not_after - p_not_before) * (case when p_not_after - p_not_before < interval '10 days' then 0.5 else 1.0 / 3 end)
     - (p_not_after - p_not_before) * (random() / 50));

-- When an adopted certificate is renewed. Many come at once, with any time left: what is due already is spread
-- over a day, within what is left; what has expired goes at once.
create or replace function acme_private.adopted_renewal_time(p_not_before timestamptz, p_not_after timestamptz)
  returns timestamptz
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := acme_private.clock();
  v_at timestamptz := acme_private.renewal_time(p_not_before, p_not_after);
begin
  if p_not_after <= v_now then
    return v_now;
  elsif v_at <= v_now + least(interval '1 hour', (p_not_after - p_not_before) / 10) then
    return v_now + least(interval '1 day', (p_not_after - v_now) / 2) * random();
  end if;
  return v_at;
end
$$;

-- A database that was restored from a backup: what was handed out, ordered, and changed since is not in it.
-- adopt_restored() does what can be done here; workers then ask the servers, account by account: is the key
-- still the account's (as acme.verify_account), and which orders are in the account's list, where it has one
-- (RFC 8555 §7.1.2.1), that the database does not know. Until then the account gets no new orders.

-- When a renewal goes that became due while the database was away: they do not come all at once, and none waits
-- for more than a quarter of what is left.
create or replace function acme_private.spread_renewal(p_not_after timestamptz) returns timestamptz
language sql volatile
return acme_private.clock()
       + least(interval '6 hours', greatest(p_not_after - acme_private.clock(), interval '0') / 4) * random();
