-- acme.explain: one csr in sentences.

create or replace function acme.explain(csr bigint) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
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
  v_text := concat_ws(E'\n', v_text, acme_private.explain_certificate(s));
  if s.order_url is not null then
    v_text := v_text || E'\n' || format('Order at %s (account %s): %s', s.server, s.account, s.order_url);
  end if;
  select string_agg(format('  publish %s for %s: %s', t.type, t.identifier, t.location), E'\n' order by t.id) into v_rows
    from acme.challenge_todo t where t.csr_id = s.id and t.action = 'publish';
  if v_rows is not null then
    v_text := v_text || E'\nTo be done by hand (acme.challenge_todo):\n' || v_rows;
  end if;
  -- A reason is told once: not again where it is the one above, nor by each event that has it.
  select string_agg(format('  %s %s%s', to_char(e.at, 'YYYY-MM-DD HH24:MI:SS'), e.event,
                           case when e.turn = 1 and e.reason is distinct from s.reason then ': ' || e.reason end), E'\n' order by e.id)
    into v_rows
    from (
      select x.*, row_number() over (partition by x.reason order by x.id) as turn
        from (select y.id, y.at, y.event, y.detail ->> 'reason' as reason
                from acme.event y where y.csr_id = s.id order by y.id desc limit 12) x
    ) e;
  if v_rows is not null then
    v_text := v_text || E'\nLast events:\n' || v_rows;
  end if;
  return v_text;
end
$$;
comment on function acme.explain(bigint) is
  'Tells in plain words where a csr stands, why, what happens next and when, and what was done so far.';
