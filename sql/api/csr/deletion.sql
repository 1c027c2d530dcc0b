-- Rows of acme.csr and of the application's own tables go their own ways: a foreign key to acme.csr would run code of
-- the application's in the session of whoever deletes a csr, and keep others from acme.csr while it is made.

-- With the rights of whoever deletes the row. Only a csr of the tenant that the session acts for: also for a DBA, whom a
-- row that a tenant wrote must not have cancel another tenant's.
create or replace function acme.cancel_when_deleted() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
  v_csr text;
begin
  if tg_op <> 'DELETE' or tg_when <> 'AFTER' or tg_level <> 'ROW' or tg_nargs <> 1 then
    raise exception 'acme.cancel_when_deleted is for triggers after delete, for each row, with the name of one column.'
      using errcode = 'trigger_protocol_violated',
            hint = 'create trigger cancel_csr after delete on … for each row execute function acme.cancel_when_deleted(''csr_id'');';
  end if;
  execute format('select ($1).%I::text', tg_argv[0]) into v_csr using old;
  if v_csr !~ '^[0-9]{1,18}$' then
    return null;
  end if;
  update acme.csr c
     set cancel_request = c.version + 1
   where c.id = v_csr::bigint and c.tenant = acme.current_tenant() and c.cancel_request is null;
  if not found and exists (
    select from acme.csr c where c.id = v_csr::bigint and c.tenant <> acme.current_tenant() and c.cancel_request is null)
  then
    raise warning 'csr % is of another tenant and goes on. To end it: select acme.cancel(%)', v_csr, v_csr;
  end if;
  return null;
end
$$;
comment on function acme.cancel_when_deleted() is
  'A trigger function for tables of your own, after delete, for each row: cancels the csr whose id is in the column that the trigger names, if it is of the tenant that the session acts for. An id that is null or unknown does nothing.';

-- As the owner, whoever calls it. Returns how many there were.
create or replace function acme_private.delete_csrs(p_csrs bigint[]) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_tables text;
  v_count bigint;
begin
  select string_agg(distinct k.conrelid::regclass::text, ', ') into v_tables
    from pg_constraint k
   where k.contype = 'f' and k.confrelid = 'acme.csr'::regclass;
  if v_tables is not null then
    raise exception 'Nothing is deleted: there is a foreign key to acme.csr, of %. It would run code of its owner here.', v_tables
      using errcode = 'object_not_in_prerequisite_state',
            hint = 'Drop the foreign key; acme.cancel_when_deleted() cancels a csr whose row is deleted.';
  end if;
  delete from acme.csr c where c.id = any (p_csrs);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function acme_private.delete_csrs(bigint[]) is 'What acme.delete_csrs does.';

create or replace function acme.delete_csrs(ids bigint[]) returns bigint
language sql volatile
begin atomic
  select acme_private.delete_csrs(delete_csrs.ids);
end;
comment on function acme.delete_csrs(bigint[]) is
  'Deletes these csrs with their orders and certificates, and returns how many there were. Nothing is cancelled or revoked at the CA, and the audit trail stays. For the owner alone: to end a csr, cancel it.';
