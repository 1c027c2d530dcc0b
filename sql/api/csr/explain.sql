-- acme.explain: one csr in sentences.

create or replace function acme.explain(csr bigint) returns text
language plpgsql stable
as $$
declare
  s acme.csr_status;
  v_text text;
  v_rows text;
begin
  select t.* into s from acme.csr_status t where t.id = explain.csr;
  if not found then
    raise exception 'There is no csr %.', csr using errcode = 'no_data_found', hint = 'See acme.csr_status.';
  end if;
  v_text := format('csr %s%s (%s) is %s.', s.id, coalesce(' ' || quote_literal(s.ref), ''),
                   coalesce(array_to_string(s.identifiers, ', '), 'names not read yet'), s.state);
  if s.reason is not null then
    v_text := v_text || E'\n' || s.reason || coalesce(' [' || s.reason_code || ']', '');
  end if;
  if s.next_attempt_at is not null then
    v_text := v_text || E'\n' || format('Next try: %s.', to_char(s.next_attempt_at, 'YYYY-MM-DD HH24:MI:SS TZ'));
  end if;
  if s.revoked_at is not null then
    v_text := v_text || E'\n' || format('Its certificate %s was revoked %s.', s.certificate_id,
      to_char(s.revoked_at, 'YYYY-MM-DD HH24:MI TZ'));
  elsif s.has_certificate then
    v_text := v_text || E'\n' || format('Its certificate %s is good until %s%s.', s.certificate_id,
      to_char(s.not_after, 'YYYY-MM-DD HH24:MI TZ'),
      coalesce('; renewal is due ' || to_char(s.renew_at, 'YYYY-MM-DD HH24:MI TZ'), '; it is not renewed'));
  end if;
  select string_agg(format('Certificate %s is to be revoked (%s)%s%s.', k.id, k.revocation_reason,
                           case when k.state = 'current' then ' once a new one is there' end,
                           coalesce('; next try: ' || to_char(k.next_attempt_at, 'YYYY-MM-DD HH24:MI:SS TZ'), '')),
                    E'\n' order by k.id) into v_rows
    from acme.certificate k
   where k.csr_id = s.id and (k.state = 'revoking' or k.state = 'current' and k.revoke_when_replaced);
  if v_rows is not null then
    v_text := v_text || E'\n' || v_rows;
  end if;
  if s.order_url is not null then
    v_text := v_text || E'\n' || format('Order at %s (account %s): %s', s.server, s.account, s.order_url);
  end if;
  select string_agg(format('  publish %s for %s: %s', t.type, t.identifier, t.location), E'\n' order by t.id) into v_rows
    from acme.challenge_todo t where t.csr_id = s.id and t.action = 'publish';
  if v_rows is not null then
    v_text := v_text || E'\nTo be done by hand (acme.challenge_todo):\n' || v_rows;
  end if;
  select string_agg(format('  %s %s%s', to_char(e.at, 'YYYY-MM-DD HH24:MI:SS'), e.event,
                           coalesce(': ' || (e.detail ->> 'reason'), '')), E'\n' order by e.id) into v_rows
    from (select * from acme.event x where x.csr_id = s.id order by x.id desc limit 12) e;
  if v_rows is not null then
    v_text := v_text || E'\nLast events:\n' || v_rows;
  end if;
  return v_text;
end
$$;
comment on function acme.explain(bigint) is
  'Tells in plain words where a csr stands, why, what happens next and when, and what was done so far.';
