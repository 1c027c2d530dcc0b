import type postgres from 'postgres';

/** Moves the clock that everything in this database is scheduled by. */
export async function travel(sql: postgres.Sql, days: number): Promise<void> {
  await sql.unsafe(`
    create or replace function acme_private.clock() returns timestamptz
    language sql stable as $$ select pg_catalog.now() + interval '${days} days' $$`);
}
