import type postgres from 'postgres';
import { fileText, firstColumn, words } from '../../docs/helpers/tables.ts';

/** What scripts reached. */
export interface Coverage {
  events: Set<string>;
  codes: Set<string>;
  /** As `csr queued → ordering`. */
  transitions: Set<string>;
}

/** What there is to reach, as the documents list it. */
export function reachable(): Coverage {
  const drawings = fileText('docs/state-machine.md').matchAll(
    /^## (\w+)$[^]*?```mermaid([^]*?)```/gm,
  );
  const transitions = [...drawings].flatMap(([, kind, drawing]) =>
    words(drawing ?? '', /^ *(\w+ --> \w+)$/gm).map(
      (arrow) => `${kind} ${arrow.replace('-->', '→')}`,
    ),
  );
  return {
    events: new Set(firstColumn('docs/sql.md', 'event')),
    codes: new Set(firstColumn('docs/sql.md', 'reason_code')),
    transitions: new Set(transitions),
  };
}

/**
 * Logs each change of a state and each reason code, also those that are gone before anybody looks. It knows no table:
 * whatever has such columns is observed.
 */
export async function observe(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create table differential.seen (what text not null, value text not null);
    create function differential.tg_seen() returns trigger language plpgsql security definer as $$
    declare
      v_new jsonb := to_jsonb(new);
      v_old jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) end;
    begin
      if v_old ->> 'state' <> v_new ->> 'state' then
        insert into differential.seen
        values ('transition', format('%s %s → %s', regexp_replace(tg_table_name, '_state$', ''), v_old ->> 'state', v_new ->> 'state'));
      end if;
      if v_new ->> 'reason_code' is distinct from v_old ->> 'reason_code' and v_new ->> 'reason_code' is not null then
        insert into differential.seen values ('code', v_new ->> 'reason_code');
      end if;
      return null;
    end $$;
    do $$
    declare r record;
    begin
      for r in select distinct c.oid::regclass as name
                 from pg_class c join pg_attribute a on a.attrelid = c.oid
                where c.relnamespace = 'acme_private'::regnamespace and c.relkind = 'r'
                  and a.attname in ('state', 'reason_code') and not a.attisdropped loop
        execute format('create trigger _900_seen after insert or update on %s
                          for each row execute function differential.tg_seen()', r.name);
      end loop;
    end $$`);
}

/** Adds what was logged in this database. */
export async function collect(sql: postgres.Sql, coverage: Coverage): Promise<void> {
  const rows = await sql<{ what: string; value: string }[]>`
    select distinct what, value from differential.seen
    union select 'event', event from acme.event
    union select 'code', r ->> 'code'
      from acme.csr_status s cross join jsonb_array_elements(s.last_problem -> 'reasons') r
     where jsonb_typeof(s.last_problem -> 'reasons') = 'array'`;
  for (const { what, value } of rows) {
    if (what === 'event') coverage.events.add(value);
    else if (what === 'code') coverage.codes.add(value);
    else coverage.transitions.add(value);
  }
}
