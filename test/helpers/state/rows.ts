import { createHash } from 'node:crypto';
import type postgres from 'postgres';
import { type Column, type Kind, kinds } from './kinds.ts';

/** A time that the database works out: this much before (or after) its own now. */
class Offset {
  readonly interval: string;
  readonly isPast: boolean;

  constructor(interval: string, isPast: boolean) {
    this.interval = interval;
    this.isPast = isPast;
  }
}

/** So long ago. */
export const ago = (interval: string): Value => new Offset(interval, true);

/** So long from now. */
export const ahead = (interval: string): Value => new Offset(interval, false);

export const now = (): Value => ago('0');

/** Not before a person acts. */
export const NEVER = 'infinity';

export const sha256 = (data: string | Uint8Array): Buffer =>
  createHash('sha256').update(data).digest();

/** What a column is set to; a fragment is an expression of the database. */
export type Value =
  | string
  | number
  | boolean
  | Date
  | Uint8Array
  | readonly string[]
  | readonly number[]
  | null
  | Offset
  | postgres.PendingQuery<postgres.Row[]>;

export type Columns<K extends Kind> = Partial<Record<Column<K>, Value>>;

/** Which rows: that with this id, those with these ids, or those with these values. */
export type Which<K extends Kind> = string | number | readonly string[] | Columns<K>;

/** Every row of its kind. */
export const all = {};

/** Sets columns of the rows, and returns their ids; triggers and checks act as on any change. */
export async function set<K extends Kind>(
  sql: postgres.ISql,
  kind: K,
  which: Which<K>,
  columns: Columns<K>,
): Promise<string[]> {
  const changes = entries(columns)
    .map(([name, value]) => sql`${sql(name)} = ${valueOf(sql, value)}`)
    .reduce((list, next) => sql`${list}, ${next}`);
  const rows = await sql<{ id: string }[]>`
    update ${tableOf(sql, kind)}
       set ${changes}
     where ${condition(sql, kind, which)}
    returning ${sql(kinds[kind].key)}::text as id`;
  return rows.map(({ id }) => id);
}

/** Adds a row, and returns its id. */
export async function add<K extends Kind>(
  sql: postgres.ISql,
  kind: K,
  columns: Columns<K>,
): Promise<string> {
  const values = entries(columns)
    .map(([, value]) => sql`${valueOf(sql, value)}`)
    .reduce((list, next) => sql`${list}, ${next}`);
  const names = entries(columns).map(([name]) => name);
  const [row] = await sql<[{ id: string }]>`
    insert into ${tableOf(sql, kind)} (${sql(names)})
    values (${values})
    returning ${sql(kinds[kind].key)}::text as id`;
  return row.id;
}

export async function remove<K extends Kind>(
  sql: postgres.ISql,
  kind: K,
  which: Which<K>,
): Promise<void> {
  await sql`delete from ${tableOf(sql, kind)} where ${condition(sql, kind, which)}`;
}

/** As if these times of the rows had been so much earlier. */
export async function age<K extends Kind>(
  sql: postgres.ISql,
  kind: K,
  which: Which<K>,
  interval: string,
  ...times: Column<K>[]
): Promise<void> {
  const earlier = times.map((name) => [name, sql`${sql(name)} - ${interval}::interval`]);
  await set(sql, kind, which, Object.fromEntries(earlier) as Columns<K>);
}

/** What is set here is set without triggers and foreign keys, at once. */
export async function withoutTriggers<T>(
  sql: postgres.Sql,
  work: (tx: postgres.TransactionSql) => Promise<T>,
): Promise<T> {
  const done = await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    return work(tx);
  });
  return done as T;
}

function tableOf(sql: postgres.ISql, kind: Kind) {
  return sql`acme_private.${sql(kinds[kind].table)}`;
}

function condition<K extends Kind>(sql: postgres.ISql, kind: K, which: Which<K>) {
  const key = sql(kinds[kind].key);
  if (typeof which === 'string' || typeof which === 'number') return sql`${key} = ${which}`;
  if (isList(which)) return sql`${key} = any (${which as string[]})`;
  return entries(which)
    .map(([name, value]) =>
      value === null ? sql`${sql(name)} is null` : sql`${sql(name)} = ${valueOf(sql, value)}`,
    )
    .reduce((all, next) => sql`${all} and ${next}`, sql`true`);
}

function valueOf(sql: postgres.ISql, value: Value) {
  // The driver takes a string for a time that it parses.
  if (value === NEVER) return sql`'infinity'`;
  if (!(value instanceof Offset)) return value as string;
  return value.isPast
    ? sql`now() - ${value.interval}::interval`
    : sql`now() + ${value.interval}::interval`;
}

const isList = (which: unknown): which is readonly string[] => Array.isArray(which);

function entries(columns: Partial<Record<string, Value>>): [string, Value][] {
  return Object.entries(columns).map(([name, value]) => {
    if (value === undefined) throw new Error(`No value was given for ${name}.`);
    return [name, value];
  });
}
