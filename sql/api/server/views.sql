-- What each server can do, and how we know it. Four ways of knowing:
--   directory   its directory has it, or has it not (RFC 8555 §7.1.1); read each quarter of an hour
--   seen        an answer showed it while work was done; a worker tells what it has not told before
--   tried       `pgacme server probe` asked for it
--   documented  its CA, or a public comparison, says so (sql/data/documented_features.json)

-- The features, in the order in which they are shown. Names are stable: docs/sql.md lists them.
create or replace view acme_private.feature (position, feature, about) as values
  (1, 'in_service', 'It takes new orders at this URL.'),
  (2, 'http-01', 'Proof by a file on port 80 (RFC 8555 §8.3).'),
  (3, 'dns-01', 'Proof by a TXT record for each order (RFC 8555 §8.4).'),
  (4, 'tls-alpn-01', 'Proof by a TLS handshake on port 443 (RFC 8737).'),
  (5, 'dns-account-01', 'Proof by a TXT record whose name is the account''s (draft-ietf-acme-dns-account-label).'),
  (6, 'dns-persist-01', 'Proof by a TXT record that stays (draft-ietf-acme-dns-persist).'),
  (7, 'challenge_retry', 'A challenge that failed can be tried again in the same order (RFC 8555 §8.2).'),
  (8, 'wildcard', 'Certificates for wildcard names (RFC 8555 §7.1.3).'),
  (9, 'ip_identifiers', 'Certificates for IP addresses (RFC 8738).'),
  (10, 'names_per_certificate', 'How many names a certificate may have.'),
  (11, 'key_types', 'Keys of CSRs that it takes.'),
  (12, 'certificate_lifetime', 'How long certificates are valid.'),
  (13, 'not_before_not_after', 'Orders may name the validity (RFC 8555 §7.4).'),
  (14, 'profiles', 'Orders may name a profile (draft-ietf-acme-profiles); value: each with its description.'),
  (15, 'renewal_info', 'It says when to renew (RFC 9773).'),
  (16, 'replaces', 'Orders may name the certificate that they replace (RFC 9773 §5).'),
  (17, 'alternate_chains', 'It offers a certificate with more than one chain (RFC 8555 §7.4.2).'),
  (18, 'new_authz', 'Names can be proved before an order: pre-authorization (RFC 8555 §7.4.1).'),
  (19, 'authorization_reuse', 'A name that was proved is good for further orders for a while (RFC 8555 §7.1.3).'),
  (20, 'order_reuse', 'Asked for the same names again it hands back the order that is open (RFC 8555 §7.4).'),
  (21, 'authorization_deactivation', 'An authorization can be given up (RFC 8555 §7.5.2).'),
  (22, 'retry_after_authorization', 'It says when to look at an authorization again (RFC 8555 §7.5.1).'),
  (23, 'retry_after_order', 'It says when to look at an order again (RFC 8555 §7.4).'),
  (24, 'orders_list', 'An account has a list of its orders (RFC 8555 §7.1.2.1).'),
  (25, 'contact_kept', 'Contacts of an account are kept and given back (RFC 8555 §7.1.2).'),
  (26, 'key_change', 'The key of an account can be replaced: roll-over (RFC 8555 §7.3.5).'),
  (27, 'account_deactivation', 'An account can be ended (RFC 8555 §7.3.6).'),
  (28, 'external_account_required', 'New accounts must be bound to an account with the CA (RFC 8555 §7.3.4).'),
  (29, 'terms_of_service', 'It has terms of service (RFC 8555 §7.1.1); value: where they are.'),
  (30, 'website', 'It names a website about itself (RFC 8555 §7.1.1); value: where it is.'),
  (31, 'caa_identities', 'It names itself for CAA records (RFC 8555 §7.1.1, RFC 8659); value: the names.'),
  (32, 'revoke_cert', 'Certificates can be revoked by ACME (RFC 8555 §7.6); value: the reasons that it takes.'),
  (33, 'revocation_by_account', 'The account that ordered a certificate can revoke it (RFC 8555 §7.6).'),
  (34, 'revocation_by_other_account', 'An account that has proved all its names can revoke it (RFC 8555 §7.6).'),
  (35, 'revocation_by_certificate_key', 'Whoever has its key can revoke it (RFC 8555 §7.6).'),
  (36, 'rate_limits', 'It limits what a client may do; value: how much in which time.'),
  (37, 'request_limits', 'It limits requests of an IP address; value: how many in a second, how many at once.'),
  (38, 'paused_names', 'Names that fail again and again are paused for the account; value: when.'),
  (39, 'raised_limits', 'Some of its rate limits are raised for whoever asks; value: which.'),
  (40, 'renewal_exemptions', 'Renewals are spared some of its rate limits; value: which ones, and which limits.'),
  (41, 'validation_retry', 'A validation that failed is tried again by the server itself (RFC 8555 §8.2).'),
  (42, 'failed_challenge_ends', 'A challenge that failed becomes invalid, and its order with it (RFC 8555 §7.1.6).'),
  (43, 'contact_required', 'An account needs a contact.'),
  (44, 'common_name', 'A certificate has the common name that its CSR asks for.'),
  (45, 'must_staple', 'CSRs may ask for must-staple (RFC 7633).'),
  (46, 'client_auth', 'Certificates are good for TLS clients too (clientAuth, RFC 5280 §4.2.1.12).'),
  (47, 'ocsp', 'Whether a certificate is revoked is told by OCSP (RFC 6960).');

-- Where several ways of knowing differ: what the server itself showed wins over what is documented, and
-- of that the newest. One exception: that a directory has an address for keyChange proves nothing where it is
-- documented that it does not work (step-ca has the address and does not implement it).
create or replace view acme.server_feature with (security_invoker = true) as
select s.name as server, k.feature, coalesce(w.support, 'unknown') as support, w.value, w.how, w.source, w.as_of,
       w.contradicted_by, k.about
  from acme.server s
 cross join acme_private.feature k
  left join lateral (
    select (array_agg(x.support order by x.turn))[1] as support,
           -- the first that says more than yes
           (array_agg(x.value order by x.turn) filter (where x.support = x.wins and x.value is not null))[1] as value,
           (array_agg(x.how order by x.turn))[1] as how,
           (array_agg(x.source order by x.turn))[1] as source,
           (array_agg(x.as_of order by x.turn))[1] as as_of,
           jsonb_agg(jsonb_build_object('support', x.support, 'how', x.how, 'source', x.source, 'as_of', x.as_of)
                     order by x.turn) filter (where x.support <> x.wins) as contradicted_by
      from (
        select n.*, first_value(n.support) over (order by n.turn) as wins
          from (
            select v.*,
                   row_number() over (
                     order by case when v.how = 'documented' then 1
                                   when v.how = 'directory' and v.support = 'yes' and k.feature = 'key_change' then 2
                                   else 0 end,
                              v.at desc, v.how desc) as turn
              from (
                select f.support, f.value, f.how, f.source, (f.at at time zone 'UTC')::date as as_of, f.at
                  from acme_private.server_fact f
                 where f.server_id = s.id and f.feature = k.feature
                 union all
                select d.support, d.value, 'documented', d.source, d.as_of, d.as_of::timestamptz
                  from acme_private.documented_feature d
                 where s.directory_url ~ d.directory and d.feature = k.feature
              ) v
          ) n
      ) x
  ) w on true
 order by s.id, k.position;
comment on view acme.server_feature is
  'What each server supports: yes, no or unknown, how that is known (directory, seen, tried, documented), from where and as of when. What the server itself showed wins over what is documented, and of that the newest; what says otherwise is in contradicted_by. docs/sql.md lists the features.';
comment on column acme.server_feature.server is 'The server, by name.';
comment on column acme.server_feature.feature is 'The feature; docs/sql.md lists them.';
comment on column acme.server_feature.support is 'yes, no or unknown.';
comment on column acme.server_feature.value is 'Its details.';
comment on column acme.server_feature.how is 'directory, seen, tried or documented.';
comment on column acme.server_feature.source is 'Where that comes from.';
comment on column acme.server_feature.as_of is 'As of when that is known.';
comment on column acme.server_feature.contradicted_by is 'What says otherwise, the newest first.';
comment on column acme.server_feature.about is 'What the feature is.';
