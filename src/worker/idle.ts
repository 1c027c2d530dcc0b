import type { WorkerEvents } from 'graphile-worker';

const LOOK_MS = 5000;
/** Looks without a sign after which it hangs. Counted, so that a process that was stopped does not count as hung. */
const SILENT_LOOKS = 12;

/**
 * Notices a queue that takes no jobs although it could. It polls every two seconds, so that its silence says
 * that what should look for jobs waits for something that never comes.
 */
export class Idle {
  /** Settles when that is so. */
  readonly hung: Promise<void>;
  readonly #timer: NodeJS.Timeout;
  #running = 0;
  #silent = 0;

  constructor(events: WorkerEvents, concurrency: number) {
    events.on('localQueue:getJobs:complete', () => (this.#silent = 0));
    let tell: () => void = () => undefined;
    this.hung = new Promise((resolve) => (tell = resolve));
    this.#timer = setInterval(() => {
      this.#silent = this.#running >= concurrency ? 0 : this.#silent + 1;
      if (this.#silent >= SILENT_LOOKS) tell();
    }, LOOK_MS);
  }

  /** Runs a job's work, which has time limits of its own. That the queue stores its end is not part of it. */
  async during(work: () => Promise<void>): Promise<void> {
    this.#running += 1;
    try {
      await work();
    } finally {
      this.#running -= 1;
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
