import { readdirSync, readFileSync } from 'node:fs';

const ROOT = new URL('../../../', import.meta.url);

/** A file of this checkout. */
export function fileText(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

/** All files below a folder whose names end so, as one text. */
export function folderText(folder: string, end: string): string {
  return readdirSync(new URL(`${folder}/`, ROOT), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(end))
    .sort()
    .map((name) => fileText(`${folder}/${name}`))
    .join('\n');
}

/** What stands in backquotes in the first column of the tables whose header begins with `column`. */
export function firstColumn(document: string, column: string): string[] {
  const found: string[] = [];
  let isInside = false;
  for (const line of fileText(document).split('\n')) {
    const cell = /^\| ([^|]*?) *\|/.exec(line)?.[1];
    if (cell === undefined) isInside = false;
    else if (cell === column) isInside = true;
    else if (isInside) found.push(...words(cell, /`([^`]+)`/g));
  }
  return unique(found);
}

/** The first group of every match. */
export function words(text: string, pattern: RegExp): string[] {
  return unique([...text.matchAll(pattern)].map((match) => match[1] ?? ''));
}

/** The same without repetition, sorted. */
export function unique(list: readonly string[]): string[] {
  return [...new Set(list)].sort();
}
