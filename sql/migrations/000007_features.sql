-- What servers can do, as they said it themselves (sql/api/38_features.sql). Fast.

-- At most one row for each server, feature and way of knowing.
create table acme_private.server_fact (
  server_id bigint not null references acme.server (id) on delete cascade,
  feature text not null
    constraint server_fact_feature_is_short check (length(feature) between 1 and 60),
  how text not null
    constraint server_fact_how_is_known check (how in ('directory', 'seen', 'tried')),
  support text not null
    constraint server_fact_support_is_known check (support in ('yes', 'no')),
  -- A profile list, a URL: what came with it. A CA's own text, so it is bounded.
  value jsonb
    constraint server_fact_value_is_short check (length(value::text) <= 20000),
  source text not null
    constraint server_fact_source_is_short check (length(source) between 1 and 500),
  at timestamptz not null,
  primary key (server_id, feature, how)
);
