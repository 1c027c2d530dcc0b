import type { WorkerEvents } from 'graphile-worker';
import type pg from 'pg';
import type { Logger } from 'pino';
import { logFailure } from './log-failure.ts';

/** Jobs that were taken and not begun. */
export interface HandBack {
  /** Settles when all of them are given back, or it is certain that they cannot be. */
  settled(): Promise<void>;
}

/**
 * Gives back the jobs that graphile-worker holds in memory, in its place. It does so in a promise that,
 * once it stops, nobody looks at: where the connection is gone, that rejection ends the whole process.
 * What cannot be given back is freed by whoever buries this worker.
 */
export function handBack(
  events: WorkerEvents,
  { pool, schema, log }: { pool: pg.Pool; schema: string; log: Logger },
): HandBack {
  const underWay = new Set<Promise<void>>();
  events.on('localQueue:returnJobs', ({ jobs }) => {
    // Taken out of its hands: none are left for it to give back.
    const taken = jobs.splice(0);
    const [first] = taken;
    if (first === undefined) return;
    const done = pool
      .query(
        `update ${schema}._private_jobs
            set attempts = greatest(attempts - 1, 0), locked_by = null, locked_at = null
          where id = any($1::bigint[])
            and locked_by = $2`,
        [taken.map(({ id }) => id), first.locked_by],
      )
      .then(
        () => undefined,
        (error: unknown) => logFailure(log, error, 'jobs could not be given back'),
      )
      .finally(() => underWay.delete(done));
    underWay.add(done);
  });
  return {
    async settled() {
      await Promise.all(underWay);
    },
  };
}
