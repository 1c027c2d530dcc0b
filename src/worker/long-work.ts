import type { Logger } from 'pino';
import { logFailure } from './log-failure.ts';

/** How long a job may keep its place in the worker. */
const PLACE_MS = 2000;

/**
 * Work that outlasts its job. A server that never answers, or takes its time, would keep all jobs of a worker waiting, those
 * of other servers too: after 2 s a job gives its place to the next one, and what it began goes on beside it, at most as long
 * as the lease of its row. A job is a wake-up and holds no fact, so that nothing is lost with it.
 */
export class LongWork {
  readonly #underWay = new Set<Promise<void>>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Settles as the work does, or after 2 s without it; from then on its error is logged. */
  async begin(work: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, PLACE_MS, 'late');
    });
    const first = await Promise.race([work, late]).finally(() => clearTimeout(timer));
    if (first !== 'late') return;
    const kept = work
      .catch((error: unknown) => logFailure(this.#log, error, 'a step failed'))
      .finally(() => this.#underWay.delete(kept));
    this.#underWay.add(kept);
  }

  /** Settles when nothing is under way any more. */
  async ended(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}
