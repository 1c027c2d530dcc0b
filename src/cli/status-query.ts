import type { Sql } from '../db/steps/connect.ts';
import { type Attention, ATTENTION_SHOWN, readAttention } from './attention.ts';

/** Csrs that wait and are listed; the others are only counted. */
export const WAITING_SHOWN = 20;
/** Accounts that are listed: a server may have one for each domain. */
export const ACCOUNTS_SHOWN = 20;

/** What `pgacme status` shows; ids are bigint and come as text. */
export interface Status {
  /** The database's clock, in UTC. */
  at: string;
  /** At most ATTENTION_SHOWN rows. */
  attention: Attention;
  counts: { state: string; count: number }[];
  /** At most WAITING_SHOWN rows, each with the number of all. */
  waiting: {
    id: string;
    names: string;
    state: string;
    reason: string | null;
    nextTry: string | null;
    total: number;
  }[];
  /** At most ACCOUNTS_SHOWN rows, each with the number of all. */
  accounts: {
    name: string;
    server: string;
    state: string;
    reason: string | null;
    isDefault: boolean;
    total: number;
  }[];
  /** Those that run, or should. */
  workers: {
    id: string;
    host: string;
    pid: number;
    version: string;
    state: string;
    seenSeconds: number;
  }[];
  stoppedWorkers: number;
}

/** Reads it all from the public views, as one moment. */
export async function readStatus(sql: Sql): Promise<Status> {
  return sql.begin('isolation level repeatable read read only', async (tx) => {
    const attention = await readAttention(tx, ATTENTION_SHOWN);
    const counts = await tx<Status['counts']>`
      select state, count(*)::int as count
        from acme.csr_status
       group by state
       order by 2 desc, 1`;
    // What ended is no longer waiting. Who needs a person comes first.
    const waiting = await tx<Status['waiting']>`
      select id::text,
             coalesce(identifiers[1] || case when cardinality(identifiers) > 1
                                             then ' +' || cardinality(identifiers) - 1 else '' end,
                      ref, '(not read yet)') as names,
             state,
             reason,
             to_char(next_attempt_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as "nextTry",
             count(*) over ()::int as total
        from acme.csr_status
       where reason_code is not null
         and state not in ('issued', 'rejected', 'failed', 'cancelled')
       order by state not in ('needs_person', 'needs_new_csr', 'paused'), next_attempt_at nulls last, csr_status.id
       limit ${WAITING_SHOWN}`;
    const accounts = await tx<Status['accounts']>`
      select name, server, state, reason, coalesce(is_default, false) as "isDefault",
             count(*) over ()::int as total
        from acme.account_status
       order by is_default is true desc, state in ('valid', 'deactivated'), name
       limit ${ACCOUNTS_SHOWN}`;
    const workers = await tx<Status['workers']>`
      select id::text, host, pid, version, state,
             greatest(extract(epoch from now() - heartbeat_at), 0)::int as "seenSeconds"
        from acme.worker_status
       where state <> 'stopped'
       order by worker_status.id`;
    const [clock] = await tx<[{ at: string }]>`
      select to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as at`;
    const [stopped] = await tx<[{ count: number }]>`
      select count(*)::int as count
        from acme.worker_status
       where state = 'stopped'`;
    return {
      at: clock.at,
      attention,
      counts,
      waiting,
      accounts,
      workers,
      stoppedWorkers: stopped.count,
    };
  });
}
