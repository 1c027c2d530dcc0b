/** Where a command prints. */
export interface Output {
  /** A line on stdout. */
  line(text?: string): void;
  /** A line on stderr. */
  error(text: string): void;
  /** What is going on at this moment, replaced in place; shown on a terminal only. */
  progress(text: string): void;
}

/** This process's stdout and stderr. A reader that goes away (`pgacme status | head`) is no error. */
export function standardOutput(): Output {
  const { stdout, stderr } = process;
  stdout.on('error', ignoreClosedPipe);
  stderr.on('error', ignoreClosedPipe);
  let hasProgress = false;
  const clear = () => {
    if (hasProgress) stdout.write('\r\u001b[2K');
    hasProgress = false;
  };
  return {
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
