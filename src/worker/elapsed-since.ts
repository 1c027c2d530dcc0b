import { setTimeout as delay } from 'node:timers/promises';

/** Settles so long after the signal; at the earliest then, also where it was aborted before. */
export async function elapsedSince(signal: AbortSignal, ms: number): Promise<void> {
  if (!signal.aborted) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
  await delay(ms, undefined, { ref: false });
}
