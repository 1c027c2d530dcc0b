-- Retry delays.

-- New tries after a failure that only time or a person mends: 1, 10, 100 minutes, then daily,
-- give or take a tenth so that many do not come at once.
create or replace function acme_private.ladder(p_failures int) returns interval
language sql volatile
return (case when p_failures <= 1 then 1 when p_failures = 2 then 10 when p_failures = 3 then 100 else 1440 end
        * interval '1 minute') * (0.9 + random() * 0.2);

-- New tries of a remote that is in trouble: 1 s, 2 s, 4 s … 5 min, with jitter.
create or replace function acme_private.backoff(p_attempts int) returns interval
language sql volatile
return least(power(2, least(p_attempts, 10)), 300) * interval '1 second' * (0.75 + random() * 0.5);
