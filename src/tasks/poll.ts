import type { Answer } from '../acme/index.ts';
import type { Pace } from './pace.ts';

/** What came of polling: the last answer, and whether it is an end. */
export interface Polled<T> {
  value: T;
  isEnd: boolean;
  /** What the server asked to wait, where it has not ended. */
  retryAfterMs: number | undefined;
}

/**
 * Polls in this process for as long as it is short: waits of up to 3 s, no longer than the server's
 * Retry-After asks (RFC 8555 §7.5.1), and never past the deadline or once the worker stops. Longer
 * waits are a row with a time.
 */
export async function poll<T>(
  first: Answer<T>,
  look: () => Promise<Answer<T>>,
  isEnd: (value: T) => boolean,
  { pace, call, stopping }: { pace: Pace; call: { deadline: number }; stopping: AbortSignal },
): Promise<Polled<T>> {
  let answer = first;
  for (let n = 0; !isEnd(answer.value); n++) {
    const own = pace.delay(n);
    const wait = Math.max(own ?? Infinity, answer.retryAfterMs ?? 0);
    const isLong = wait > 3000 || performance.now() + wait > call.deadline - 1000;
    if (isLong || stopping.aborted) {
      return { value: answer.value, isEnd: false, retryAfterMs: answer.retryAfterMs };
    }
    await sleep(wait, stopping);
    answer = await look();
    if (isEnd(answer.value)) pace.found(n);
  }
  return { value: answer.value, isEnd: true, retryAfterMs: answer.retryAfterMs };
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
