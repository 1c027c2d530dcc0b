import { readFileSync, writeFileSync } from 'node:fs';

const ROOT = new URL('../../../', import.meta.url);

/** A Markdown table: the header and the rows, cell by cell. */
export type Table = readonly (readonly string[])[];

/**
 * The table of a document whose header has these cells; there must be one. With `instead` it is written
 * anew in its place, aligned as prettier does.
 */
export function tableOf(document: string, header: readonly string[], instead?: Table): Table {
  const url = new URL(document, ROOT);
  const lines = readFileSync(url, 'utf8').split('\n');
  const start = lines.findIndex((line) => same(cellsOf(line), header));
  if (start < 0) throw new Error(`${document} has no table with the header ${header.join(' | ')}.`);
  let end = start;
  while (lines[end]?.startsWith('|') === true) end += 1;
  const [, , ...rows] = lines.slice(start, end).map(cellsOf);
  if (instead === undefined) return rows;
  lines.splice(start, end - start, ...aligned(header, instead));
  writeFileSync(url, lines.join('\n'));
  return instead;
}

function cellsOf(line: string): string[] {
  if (!line.startsWith('|')) return [];
  return line
    .slice(1, line.lastIndexOf('|'))
    .split('|')
    .map((cell) => cell.trim());
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((cell, i) => cell === b[i]);
}

function aligned(header: readonly string[], rows: Table): string[] {
  const widths = header.map((cell, i) =>
    Math.max(cell.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)];
}
