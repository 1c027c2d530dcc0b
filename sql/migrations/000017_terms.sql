-- Which terms of service were agreed to (RFC 8555 §7.3.3): nobody agrees to others on a person's behalf. Fast.

alter table acme_private.account_state
  add column agreed_terms_url text;
update acme_private.account_state s
   set agreed_terms_url = s.terms_url
  from acme.account a
 where a.id = s.account_id and a.terms_agreed and s.url is not null and s.reason_code is distinct from 'user_action_required';
