-- acme.explain: one csr in sentences.

create or replace function acme.explain(csr bigint) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set standard_conforming_strings = on
as $$
declare
  s acme.csr_status;
begin
  select t.* into s from acme.csr_status t where t.id = explain.csr;
  if not found then
    raise exception 'There is no csr %.', csr using errcode = 'no_data_found', hint = 'See acme.csr_status.';
  end if;
  return concat_ws(E'\n',
    format('csr %s%s (%s) is %s.', s.id, coalesce(' ' || quote_literal(s.ref), ''),
           coalesce(array_to_string(s.identifiers, ', '), 'names not read yet'), s.state),
    s.reason || coalesce(' [' || s.reason_code || ']', ''),
    'Next try: ' || to_char(s.next_attempt_at, 'YYYY-MM-DD HH24:MI:SS TZ.'),
    case when s.revoked_at is not null then
           format('Its certificate %s was revoked %s.', s.certificate_id, to_char(s.revoked_at, 'YYYY-MM-DD HH24:MI TZ'))
         when s.has_certificate then
           format(case when s.is_expired then 'Its certificate %s expired %s%s.' else 'Its certificate %s is good until %s%s.' end,
                  s.certificate_id, to_char(s.not_after, 'YYYY-MM-DD HH24:MI TZ'),
                  case when s.renew_at is null then '; it is not renewed'
                       when s.renew_at <= s.not_after - s.expires_in then '; renewal has been due since '
                       else '; renewal is due ' end || coalesce(to_char(s.renew_at, 'YYYY-MM-DD HH24:MI TZ'), '')) end,
    (select string_agg(format('Certificate %s is to be revoked (%s)%s%s.', k.id, k.revocation_reason,
                              case when k.state = 'current' then ' once a new one is there' end,
                              coalesce('; next try: ' || to_char(k.next_attempt_at, 'YYYY-MM-DD HH24:MI:SS TZ'), '')),
                       E'\n' order by k.id)
       from acme.certificate k
      where k.csr_id = s.id and (k.state = 'revoking' or k.state = 'current' and k.revoke_when_replaced)),
    case when s.order_url is not null then format('Order at %s (account %s): %s', s.server, s.account, s.order_url) end,
    (select E'To be done by hand (acme.challenge_todo):\n'
              || string_agg(format('  publish %s for %s: %s', t.type, t.identifier, t.location), E'\n' order by t.id)
       from acme.challenge_todo t where t.csr_id = s.id and t.action = 'publish'),
    -- A reason is told once: not again where it is the one above, nor by each event that has it.
    (select E'Last events:\n'
              || string_agg(format('  %s %s%s', to_char(e.at, 'YYYY-MM-DD HH24:MI:SS'), e.event,
                                   case when e.turn = 1 and e.reason is distinct from s.reason then ': ' || e.reason end),
                            E'\n' order by e.id)
       from (
         select x.*, row_number() over (partition by x.reason order by x.id) as turn
           from (select y.id, y.at, y.event, y.detail ->> 'reason' as reason
                   from acme.event y where y.csr_id = s.id order by y.id desc limit 12) x
       ) e));
end
$$;
comment on function acme.explain(bigint) is
  'Tells in plain words where a csr stands, why, what happens next and when, and what was done so far.';
