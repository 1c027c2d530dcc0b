import type { Terminal } from './screen.ts';

/** Where a command prints. */
export interface Output {
  /** A line on stdout. */
  line(text?: string): void;
  /** A line on stderr. */
  error(text: string): void;
  /** What is going on at this moment, replaced in place; shown on a terminal only. */
  progress(text: string): void;
  /** Set where stdout is a terminal whose cursor can be moved. */
  readonly terminal: Terminal | undefined;
  /** Aborted when nobody reads stdout any more. */
  readonly gone: AbortSignal;
}

/** This process's stdout and stderr. A reader that goes away (`pgacme status | head`) is no error. */
export function standardOutput(): Output {
  const { stdin, stdout, stderr } = process;
  const gone = new AbortController();
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    ignoreClosedPipe(error);
    gone.abort();
  });
  stderr.on('error', ignoreClosedPipe);
  let hasProgress = false;
  const clear = () => {
    if (hasProgress) stdout.write('\r\u001b[2K');
    hasProgress = false;
  };
  return {
    terminal: stdout.isTTY && process.env['TERM'] !== 'dumb' ? { stdin, stdout } : undefined,
    gone: gone.signal,
    line(text = '') {
      clear();
      stdout.write(`${text}\n`);
    },
    error(text) {
      clear();
      stderr.write(`${text}\n`);
    },
    progress(text) {
      if (!stdout.isTTY) return;
      clear();
      stdout.write(text);
      hasProgress = true;
    },
  };
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}
