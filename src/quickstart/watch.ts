import { setTimeout as delay } from 'node:timers/promises';
import type { EventLog, LogEvent } from './event-log.ts';
import { eventText } from './event-text.ts';
import type { Asked } from './rows.ts';
import type { Show } from './show.ts';

/** Events after which a csr does not move by itself. */
const ENDS = ['issued', 'rejected', 'failed', 'needs_person', 'cancelled'];
/** After these something else begins, so the clock of a csr starts anew. */
const CLOCK_ENDS = [...ENDS, 'retrying'];

/** Shows the steps of all csrs as they are written to the audit trail. */
export class Watch {
  readonly #log: EventLog;
  readonly #show: Show;
  readonly #check: () => void;
  readonly #stopping: AbortSignal;
  /** When what a csr is at began. */
  readonly #since = new Map<string, number>();

  /** `check` is called at each look; what it throws passes on. */
  constructor(log: EventLog, show: Show, check: () => void, stopping: AbortSignal) {
    this.#log = log;
    this.#show = show;
    this.#check = check;
    this.#stopping = stopping;
  }

  /** Shows steps until an event is the wanted one; undefined: it was told to stop, or `ms` are over. */
  async until(
    isWanted: (event: LogEvent) => boolean,
    { ms = Infinity, everyMs = 50 }: { ms?: number; everyMs?: number } = {},
  ): Promise<LogEvent | undefined> {
    const startedAt = performance.now();
    while (!this.#stopping.aborted && performance.now() - startedAt < ms) {
      this.#check();
      const fresh = await this.#log.fresh();
      for (const event of fresh) this.#print(event);
      const wanted = fresh.find(isWanted);
      if (wanted !== undefined) return wanted;
      if (everyMs < 100) {
        this.#show.progress(`    … ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
      }
      await delay(everyMs, undefined, { signal: this.#stopping }).catch(() => undefined);
    }
    return undefined;
  }

  /** Shows the steps of what was asked for until it ends, one way or the other. */
  async untilEnd({ csrId, at }: Asked, ms: number): Promise<LogEvent | undefined> {
    this.#since.set(csrId, at);
    return this.until((event) => event.csrId === csrId && ENDS.includes(event.event), { ms });
  }

  #print(event: LogEvent): void {
    const { csrId, at } = event;
    if (csrId === null) {
      this.#show.line(`              ${eventText(event)}`);
      return;
    }
    const since = this.#since.get(csrId) ?? at;
    this.#since.set(csrId, since);
    if (CLOCK_ENDS.includes(event.event)) this.#since.delete(csrId);
    const elapsed = `${Math.round(at - since)} ms`.padStart(8);
    this.#show.line(`  ${`csr ${csrId}`.padEnd(6)}${elapsed}  ${eventText(event)}`);
  }
}
