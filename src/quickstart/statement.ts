import type { Sql } from '../db/steps/connect.ts';
import type { Show } from './show.ts';

/** A statement that is shown and run from one text, so that what is shown is what was done. */
export interface Statement {
  /** Its lines, with `$1` and so on. */
  text: string;
  parameters: readonly string[];
}

/** Shows a statement as it would be typed, runs it, and returns its rows. */
export async function runShown(
  sql: Sql,
  show: Show,
  { text, parameters }: Statement,
): Promise<readonly Record<string, unknown>[]> {
  const typed = text.replace(/\$(\d)/g, (_, n: string) => literal(parameters[Number(n) - 1] ?? ''));
  show.line();
  for (const line of `${typed};`.split('\n')) show.line(`  ${line}`);
  return sql.unsafe(text, [...parameters]);
}

/** A literal; of PEM text the first line is enough to read. */
function literal(value: string): string {
  const [first = '', second] = value.split('\n');
  return `'${(second === undefined ? first : `${first}…`).replaceAll("'", "''")}'`;
}
