/**
 * Compares what a block printed with what its document shows. Spaces, rulers and column widths do not
 * count; times, tokens and the like are masked on both sides. In the document `…` stands for anything
 * within a line, and a line that is only `…` for any lines.
 *
 * Returns undefined, or a sentence with both texts.
 */
export function difference(shown: string, printed: string): string | undefined {
  const wanted = normalise(shown);
  const got = normalise(printed);
  if (pattern(wanted).test(got.map((line) => `${line}\n`).join(''))) return undefined;
  return `The document shows\n\n${wanted.join('\n')}\n\nand the run printed\n\n${got.join('\n')}\n`;
}

function pattern(lines: readonly string[]): RegExp {
  const parts = lines.map((line) => {
    if (line === '…') return '(?:.*\\n)*?';
    return `${line.split('…').map(escapeRegExp).join('.*')}\\n`;
  });
  return new RegExp(`^${parts.join('')}$`);
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function normalise(text: string): string[] {
  const lines = text
    .split('\n')
    .map((line) => mask(line).replace(/-{2,}/g, '--').replace(/\s+/g, ' ').trim())
    .filter((line) => line !== '');
  // psql prints a notification wherever it happens to have arrived.
  const isNotification = (line: string) => line.startsWith('Asynchronous notification');
  return [...lines.filter((line) => !isNotification(line)), ...lines.filter(isNotification)];
}

const MASKS: readonly [RegExp, string][] = [
  [/\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?( [A-Z]{3,4}\b|Z|[+-]\d\d(:?\d\d)?)?/g, '<time>'],
  [/\b\d+ days? \d\d:\d\d:\d\d(\.\d+)?/g, '<duration>'],
  [/\b\d\d:\d\d:\d\d(\.\d+)?/g, '<duration>'],
  [/"time":\d+/g, '"time":<time>'],
  [/\bPID \d+/g, 'PID <pid>'],
  [/\bCA [0-9a-f]{6}\b/g, 'CA <token>'],
  [/\b[0-9a-f]{12,}\b/g, '<token>'],
  [/(?<![\w-])(?=[\w-]*\d)[\w-]{20,}/g, '<token>'],
];

function mask(line: string): string {
  return MASKS.reduce((text, [what, by]) => text.replace(what, by), line);
}
