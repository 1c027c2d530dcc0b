/** What a screen is painted on: standard output and, where it is a terminal, standard input. */
export interface Terminal {
  stdout: NodeJS.WriteStream;
  stdin: NodeJS.ReadStream;
}

/** A terminal's second screen, painted over and over in place. */
export interface Screen {
  /** Shows these lines from the top. What does not fit is cut off, and the last line says so. */
  paint(lines: readonly string[]): void;
  /** Gives the terminal back as it was. */
  close(): void;
}

const ESC = '\u001b[';
/**
 * The second screen, which leaves untouched what was printed before; no cursor; and no line is broken that
 * is wider than we count (wide characters), so that the height holds.
 */
const ENTER = `${ESC}?1049h${ESC}?25l${ESC}?7l`;
const LEAVE = `${ESC}?7h${ESC}?25h${ESC}?1049l`;

/**
 * Takes a terminal over. `onQuit` is called for q and for Ctrl-C, which the terminal does not turn into a
 * signal meanwhile. Whatever ends the process by an exit gets the terminal back, too.
 */
export function openScreen({ stdout, stdin }: Terminal, onQuit: () => void): Screen {
  let lines: readonly string[] = [];
  const paint = () => {
    // 0 where the terminal does not know its size.
    const [columns, rows] = [stdout.columns || 80, stdout.rows || 24];
    // One write a picture, each line erased only behind its text: nothing flickers.
    // The last column stays free: erasing behind a full line would erase its last character.
    const text = fit(lines, rows, columns - 1).map((line) => `${line}${ESC}K`);
    stdout.write(`${ESC}H${text.join('\r\n')}${ESC}J`);
  };
  const onKey = (keys: Buffer) => {
    if (/[qQ\u0003]/.test(keys.toString('latin1'))) onQuit();
  };
  const keyboard = stdin.isTTY ? stdin : undefined;
  const close = () => {
    process.off('exit', close);
    stdout.off('resize', paint);
    keyboard?.off('data', onKey).setRawMode(false).pause();
    stdout.write(LEAVE);
  };
  process.on('exit', close);
  stdout.on('resize', paint);
  keyboard?.setRawMode(true).on('data', onKey).resume();
  stdout.write(ENTER);
  return {
    paint(next) {
      lines = next;
      paint();
    },
    close,
  };
}

/** As many lines and columns as there are; long lines go on below, and a picture that is cut says how much is missing. */
export function fit(whole: readonly string[], rows: number, columns: number): string[] {
  const lines = whole.flatMap((line) => wrapped(line, columns));
  const shown =
    lines.length <= rows
      ? lines
      : [
          ...lines.slice(0, Math.max(0, rows - 1)),
          `… ${lines.length - Math.max(0, rows - 1)} more lines: pgacme status shows them all`,
        ];
  return shown.map((line) => {
    const characters = Array.from(line);
    return characters.length <= columns ? line : `${characters.slice(0, columns - 1).join('')}…`;
  });
}

const INDENT = '      ';

/** Broken at blanks where there are some; a terminal too narrow for that is not worth the trouble. */
function wrapped(line: string, columns: number): string[] {
  const characters = Array.from(line);
  if (characters.length <= columns || columns < 40) return [line];
  const lines: string[] = [];
  for (let rest = characters; rest.length > 0;) {
    const indent = lines.length === 0 ? '' : INDENT;
    const width = columns - indent.length;
    const blank = rest.lastIndexOf(' ', width);
    const end = rest.length <= width ? rest.length : blank > width / 2 ? blank : width;
    lines.push(indent + rest.slice(0, end).join(''));
    rest = rest.slice(rest[end] === ' ' ? end + 1 : end);
  }
  return lines;
}
