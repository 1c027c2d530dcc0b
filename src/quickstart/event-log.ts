import type { Sql } from '../db/steps/connect.ts';

/** A line of the audit trail. */
export interface LogEvent {
  id: number;
  /** Milliseconds since 1970 by the database's clock. */
  at: number;
  event: string;
  csrId: string | null;
  certificateId: string | null;
  detail: Readonly<Record<string, unknown>>;
}

/** Numbers are given out before transactions commit: an event may appear below those already seen. */
const LATE = 200;

/** What happens in the database from now on, as it is read from acme.event. */
export class EventLog {
  readonly #sql: Sql;
  readonly #seen = new Set<number>();
  #last: number;

  constructor(sql: Sql, last: number) {
    this.#sql = sql;
    this.#last = last;
  }

  /** A log that begins after what is there. */
  static async fromNow(sql: Sql): Promise<EventLog> {
    const rows = await sql<{ id: number }[]>`
      select id::int
        from acme.event
       order by acme.event.id desc
       limit ${LATE}`;
    const log = new EventLog(sql, rows[0]?.id ?? 0);
    for (const { id } of rows) log.#seen.add(id);
    return log;
  }

  /** What came since the last call, in order. */
  async fresh(): Promise<LogEvent[]> {
    const rows = await this.#sql<LogEvent[]>`
      select id::int,
             extract(epoch from at)::float8 * 1000 as at,
             event,
             csr_id::text as "csrId",
             certificate_id::text as "certificateId",
             coalesce(detail, '{}') as detail
        from acme.event
       where acme.event.id > ${this.#last - LATE}
       order by acme.event.id`;
    const fresh = rows.filter(({ id }) => !this.#seen.has(id));
    for (const { id } of fresh) {
      this.#seen.add(id);
      this.#last = Math.max(this.#last, id);
    }
    for (const id of this.#seen) if (id <= this.#last - LATE) this.#seen.delete(id);
    return fresh;
  }
}
