/** SIGINT and SIGTERM, as a wish to stop. */
export interface StopSignals {
  /** Aborted by the first signal. */
  stopping: AbortSignal;
  /** Lets the signals do what they did before. */
  dispose(): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/** npm passes on the Ctrl-C that the terminal has sent to all: the same wish, twice within milliseconds. */
const SAME_WISH_MS = 500;

/**
 * The first SIGINT or SIGTERM is a wish to stop in good order; a second one ends this process at once,
 * as that signal does by default. `onFirst` is called at the first.
 */
export function stopOnSignals(onFirst?: () => void): StopSignals {
  const controller = new AbortController();
  let firstAt: number | undefined;
  const dispose = () => {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    if (firstAt === undefined) {
      firstAt = performance.now();
      onFirst?.();
      controller.abort();
    } else if (performance.now() - firstAt > SAME_WISH_MS) {
      dispose();
      process.kill(process.pid, signal);
    }
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return { stopping: controller.signal, dispose };
}

/** Settles when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
