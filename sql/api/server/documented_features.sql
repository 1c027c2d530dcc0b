-- The rows of acme_private.documented_feature are those of sql/data/documented_features.json, at each change of it.
delete from acme_private.documented_feature;
insert into acme_private.documented_feature (directory, feature, support, value, source, as_of)
select d.document -> 'servers' ->> s.server, f.feature, f.support, f.value, o.source, o.as_of
  from (values (:documented_features::jsonb)) d (document)
 cross join lateral jsonb_to_recordset(d.document -> 'facts')
       as f (servers text[], feature text, support text, value jsonb, source text)
 cross join lateral jsonb_to_record(d.document -> 'sources' -> f.source) as o (source text, as_of date)
 cross join lateral unnest(f.servers) as s (server);
