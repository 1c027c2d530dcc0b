import { setTimeout as delay } from 'node:timers/promises';
import type { Output } from './output.ts';
import { openScreen } from './screen.ts';
import { aborted, stopOnSignals } from './signals.ts';

/** What is watched, and how. */
export interface WatchOptions {
  output: Output;
  /** The lines to show now. */
  read: () => Promise<string[]>;
  /** Says in a sentence why reading failed; undefined: for a reason that does not pass. */
  excuse: (error: unknown) => string | undefined;
  everyMs: number;
}

type Seen = { lines: string[] } | { error: unknown };

/**
 * Shows the same again and again until SIGINT, SIGTERM, q, or the end of whoever reads: on a terminal in
 * place, else one block after the other with an empty line between. What cannot be read the first time
 * is an error; later it is shown, and tried again.
 */
export async function watch({ output, read, excuse, everyMs }: WatchOptions): Promise<void> {
  const quitting = new AbortController();
  const quit = () => quitting.abort();
  const signals = stopOnSignals(quit);
  output.gone.addEventListener('abort', quit, { once: true });
  const end = aborted(quitting.signal);
  // A database that does not answer must not keep anybody from leaving.
  const look = (): Promise<Seen | void> => {
    const seen = read().then(
      (lines) => ({ lines }),
      (error: unknown) => ({ error }),
    );
    return Promise.race([seen, end]);
  };
  let seen = await look();
  if (seen !== undefined && 'error' in seen) {
    signals.dispose();
    throw seen.error;
  }
  const screen =
    seen === undefined || output.terminal === undefined
      ? undefined
      : openScreen(output.terminal, quit);
  try {
    let last: string[] = [];
    for (let isFirst = true; seen !== undefined; isFirst = false) {
      const lines = 'lines' in seen ? seen.lines : [sorry(seen.error, excuse)];
      if (screen === undefined) {
        for (const line of isFirst ? lines : ['', ...lines]) output.line(line);
      } else if ('lines' in seen) {
        screen.paint(lines);
      } else {
        // What was seen last stays in sight.
        screen.paint([...lines, '', ...last]);
      }
      if ('lines' in seen) last = lines;
      await delay(everyMs, undefined, { signal: quitting.signal }).catch(() => undefined);
      seen = quitting.signal.aborted ? undefined : await look();
    }
  } finally {
    screen?.close();
    signals.dispose();
  }
}

function sorry(error: unknown, excuse: WatchOptions['excuse']): string {
  const sentence = excuse(error);
  if (sentence === undefined) throw error;
  return `${sentence} (It is tried again.)`;
}
