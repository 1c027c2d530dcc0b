import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from './connect.ts';

/** A worker, and the environment that it is of (`PGACME_ENVIRONMENT`). */
export interface Placed {
  worker: number;
  environment: string | undefined;
}

/**
 * Tells the database which environment this worker is of. Returns why it gets no work, as a sentence:
 * the database is held as a copy; undefined: it is not.
 */
export async function heldBecause(
  sql: Sql,
  { worker, environment }: Placed,
): Promise<string | undefined> {
  const [row] = await sql<{ reason: string | null }[]>`
    select acme_private.worker_hold(${worker}, ${environment ?? null}) as reason`;
  return row?.reason ?? undefined;
}

/**
 * Returns once the database is not held for this worker: at once, or when it was adopted. `onHeld`
 * hears the reason, once.
 *
 * @throws the signal's reason when it is aborted.
 */
export async function untilReleased(
  sql: Sql,
  {
    signal,
    onHeld,
    onError,
    everyMs = 2000,
    ...placed
  }: Placed & {
    signal: AbortSignal;
    onHeld: (reason: string) => void;
    /** A look that failed while it waits, such as of a database that is away. */
    onError: (error: unknown) => void;
    everyMs?: number;
  },
): Promise<void> {
  let reason = await heldBecause(sql, placed);
  if (reason !== undefined) onHeld(reason);
  while (reason !== undefined) {
    await delay(everyMs, undefined, { signal });
    reason = await heldBecause(sql, placed).catch((error: unknown) => {
      onError(error);
      return reason;
    });
  }
}
