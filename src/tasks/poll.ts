import type { Answer } from '../acme/index.ts';
import type { Pace } from './pace.ts';

/** What came of polling: the last answer, and whether it is an end. */
export interface Polled<T> {
  value: T;
  isEnd: boolean;
  /**
   * What the server asked to wait, where it has not ended; undefined: it did not say. 0: it did not, and
   * this worker stops, so that somebody else goes on at once.
   */
  retryAfterMs: number | undefined;
}

interface Patience {
  hasWaited: boolean;
  pace: Pace;
  call: { deadline: number };
  stopping: AbortSignal;
}

/**
 * Polls in this process for as long as it is short: waits of up to 3 s, no shorter than the server's
 * Retry-After asks (RFC 8555 §7.5.1), and never past the deadline or once the worker stops. Longer
 * waits are a row with a time; one that `hasWaited` so before is looked at once a turn, which `first` was.
 */
export async function poll<T>(
  first: Answer<T>,
  look: () => Promise<Answer<T>>,
  isEnd: (value: T) => boolean,
  { hasWaited, pace, call, stopping }: Patience,
): Promise<Polled<T>> {
  let answer = first;
  for (let n = 0; !isEnd(answer.value); n++) {
    const own = pace.delay(n);
    const wait = Math.max(own ?? Infinity, answer.retryAfterMs ?? 0);
    const isLong = wait > 3000 || performance.now() + wait > call.deadline - 1000;
    if (hasWaited || isLong || stopping.aborted) {
      const asked = answer.retryAfterMs || undefined;
      const retryAfterMs = asked ?? (stopping.aborted ? 0 : undefined);
      return { value: answer.value, isEnd: false, retryAfterMs };
    }
    await sleep(wait, stopping);
    // Nor is it asked before its time for that.
    if (stopping.aborted) continue;
    answer = await look();
    if (isEnd(answer.value)) pace.found(n);
  }
  return { value: answer.value, isEnd: true, retryAfterMs: undefined };
}

function sleep(ms: number, stopping: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      stopping.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stopping.addEventListener('abort', done);
  });
}
