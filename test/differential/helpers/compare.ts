import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { INTENDED, type Intended } from '../intended.ts';

const FOLDER = fileURLToPath(new URL('../recorded/', import.meta.url));

/** Records are written, not compared. */
export const isUpdating = process.env['PGACME_UPDATE_DIFFERENTIAL'] === '1';

/** A record by its name; undefined: there is none. */
export function recorded(name: string): string | undefined {
  const path = `${FOLDER}${name}.txt`;
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

export function write(name: string, text: string): void {
  const path = `${FOLDER}${name}.txt`;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** The names of all records that the repository has. */
export function names(): string[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.txt') && name !== 'coverage.txt')
    .map((name) => name.slice(0, -4))
    .sort();
}

/** A record as it is to be by now. */
export function intended(text: string, rules: readonly Intended[] = INTENDED): string {
  return rules
    .reduce((now, { match, becomes }) => now.replace(match, becomes), text)
    .replace(/\n\s*(?=\n)/g, '');
}

/** Rules that change no record. */
export function unmatched(
  texts: readonly string[],
  rules: readonly Intended[] = INTENDED,
): Intended[] {
  const before = texts.map((text) => text);
  return rules.filter(({ match, becomes }) => {
    const changes = before.map((text) => text.replace(match, becomes));
    const isMatched = changes.some((text, at) => text !== before[at]);
    before.splice(0, before.length, ...changes);
    return !isMatched;
  });
}

/** Where two records differ, step by step; empty: nowhere. */
export function differences(was: string, is: string): string {
  const [before, after] = [stepsOf(was), stepsOf(is)];
  const told: string[] = [];
  for (let at = 0; at < Math.max(before.length, after.length); at++) {
    const [old, now] = [before[at], after[at]];
    const gone = old?.lines.filter((line) => !now?.lines.includes(line)) ?? [];
    const added = now?.lines.filter((line) => !old?.lines.includes(line)) ?? [];
    if (old?.title === now?.title && gone.length === 0 && added.length === 0) continue;
    const titles =
      old?.title === now?.title
        ? [`  ${old?.title ?? ''}`]
        : [...(old ? [`- ${old.title}`] : []), ...(now ? [`+ ${now.title}`] : [])];
    told.push(
      `step ${String(at + 1)}`,
      ...titles,
      ...gone.map((line) => `-   ${line}`),
      ...added.map((line) => `+   ${line}`),
    );
  }
  return told.join('\n');
}

function stepsOf(text: string): { title: string; lines: string[] }[] {
  const steps: { title: string; lines: string[] }[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('  ')) steps.at(-1)?.lines.push(line.trim());
    else if (line !== '') steps.push({ title: line, lines: [] });
  }
  return steps;
}
