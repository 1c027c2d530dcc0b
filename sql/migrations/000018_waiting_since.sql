-- Since when a server has been at work on what it was given: the longer it takes, the less often it is looked
-- at again. Fast: the columns are empty.

alter table acme_private."order"
  add column waiting_since timestamptz;
alter table acme_private.authorization
  add column waiting_since timestamptz;
