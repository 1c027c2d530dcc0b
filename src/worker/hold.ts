import type { Logger } from 'pino';
import type { Sql } from '../db/steps/connect.ts';
import { untilReleased } from '../db/steps/copy-hold.ts';
import { logFailure } from './log-failure.ts';
import type { Queue } from './queue.ts';

/** Whose queue is to be started. */
export interface HoldOptions {
  sql: Sql;
  worker: number;
  environment: string | undefined;
  log: Logger;
}

/**
 * Starts the queue; on a copy of a database that nobody has adopted, as soon as somebody has. Until then
 * no job is taken: each is a wake-up, and a worker of the right environment may be there to take it.
 */
export async function startReleased(
  { sql, worker, environment, log }: HoldOptions,
  start: () => Promise<Queue>,
): Promise<Pick<Queue, 'ended' | 'stop'>> {
  const stopping = new AbortController();
  let tellHeld: () => void = () => undefined;
  const held = new Promise<undefined>((resolve) => (tellHeld = () => resolve(undefined)));
  const queue = untilReleased(sql, {
    worker,
    environment,
    signal: stopping.signal,
    onHeld(reason) {
      log.error({ worker, reason }, 'held: this worker does nothing for now');
      tellHeld();
    },
    onError: (error) => logFailure(log, error, 'the look whether it is released failed'),
  }).then(start);
  const first = await Promise.race([queue, held]);
  if (first !== undefined) return first;
  return {
    ended: queue.then(
      (started) => {
        log.info({ worker }, 'released: this worker goes to work');
        return started.ended;
      },
      (error: unknown) => {
        if (!stopping.signal.aborted) logFailure(log, error, 'the queue did not start');
      },
    ),
    async stop() {
      stopping.abort();
      await queue.then(
        (started) => started.stop(),
        () => undefined,
      );
    },
  };
}
