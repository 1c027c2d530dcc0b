import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';

/** How long to wait, and for what: the words of the sentence that a failure prints. */
export interface UntilOptions {
  /** 10 s unless given. */
  timeoutMs?: number;
  /** 15 ms unless given. */
  everyMs?: number;
  what: string;
}

/**
 * Asks again and again until the answer is true or a thing (not false, null or undefined), and returns it. Fails
 * with the last answer, or the last error where asking failed.
 */
export async function until<T>(
  ask: () => T | Promise<T>,
  options: UntilOptions,
): Promise<NonNullable<Exclude<T, false>>> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const answer = await ask();
      if (answer !== false && answer !== null && answer !== undefined) {
        return answer as NonNullable<Exclude<T, false>>;
      }
      last = answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const text = last instanceof Error ? last.message : inspect(last, { depth: 4 });
      throw new Error(`Not within ${String(timeoutMs)} ms: ${options.what}. Last seen: ${text}`, {
        cause: last,
      });
    }
    await delay(options.everyMs ?? 15);
  }
}
