/** Columns of plain text, two blanks in and two between; those named in `right` end at one edge. */
export function table(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell));
  }
  return rows.map((row) => {
    const cells = row.map((cell, i) => {
      const fill = ' '.repeat((widths[i] ?? 0) - width(cell));
      return right.includes(i) ? fill + cell : cell + fill;
    });
    return `  ${cells.join('  ')}`.trimEnd();
  });
}

/** Code points: names and reasons have no combining or wide characters worth a library. */
function width(text: string): number {
  return Array.from(text).length;
}
