import type postgres from 'postgres';
import { ago, ahead, type Columns, set, type Which } from './rows.ts';

/** The lease of the worker that these rows are held by. */
export const LEASE = '00000000-0000-4000-8000-000000000000';

/** What is worked on in steps. */
export type WorkKind = 'account' | 'authorization' | 'certificate' | 'csr' | 'order';

/** A worker holds these rows, with this lease. */
export function lease<K extends WorkKind>(
  sql: postgres.ISql,
  kind: K,
  which: Which<K>,
  { token = LEASE, worker = null, length = '1 minute' }: LeaseOptions = {},
): Promise<string[]> {
  return set(sql, kind, which, {
    lease_token: token,
    lease_until: ahead(length),
    ...(worker === null ? {} : { lease_worker: worker }),
  } as Columns<K>);
}

export interface LeaseOptions {
  token?: string;
  worker?: string | number | null;
  length?: string;
}

/** The worker that holds these rows has not come back in time. */
export async function expireLease<K extends WorkKind>(
  sql: postgres.ISql,
  kind: K,
  which: Which<K>,
): Promise<void> {
  await set(sql, kind, which, { lease_until: ago('1 second') } as Columns<K>);
}

/** Nobody holds these rows. */
export async function releaseLease<K extends WorkKind>(
  sql: postgres.ISql,
  kind: K,
  which: Which<K>,
): Promise<void> {
  await set(sql, kind, which, { lease_token: null, lease_until: null } as Columns<K>);
}

/** The next attempt of these rows is due. */
export async function dueNow<K extends WorkKind>(
  sql: postgres.ISql,
  kind: K,
  which: Which<K>,
): Promise<void> {
  await set(sql, kind, which, { next_attempt_at: ago('0') } as Columns<K>);
}
