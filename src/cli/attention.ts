import type postgres from 'postgres';
import { printable } from '../acme/text.ts';
import type { ExitCode } from './command.ts';
import { asSentence } from './sentence.ts';

/** Rows of acme.attention that are listed. */
export const ATTENTION_SHOWN = 20;

/** A row of acme.attention. */
export interface AttentionRow {
  severity: 'critical' | 'warning';
  code: string;
  since: string | null;
  csr: string | null;
  ref: string | null;
  names: string[] | null;
  account: string | null;
  server: string | null;
  worker: string | null;
  sentence: string;
  whatToDo: string;
}

/** The most urgent rows, and how many there are. */
export interface Attention {
  critical: number;
  warning: number;
  rows: AttentionRow[];
}

/** Reads acme.attention once, in its own order. */
export async function readAttention(sql: postgres.ISql, limit: number): Promise<Attention> {
  const rows = await sql<(AttentionRow & { criticals: number; total: number })[]>`
    select severity, code, to_char(since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since, csr_id::text as csr, ref,
           identifiers as names, account, server, worker::text, sentence, what_to_do as "whatToDo",
           (count(*) filter (where severity = 'critical') over ())::int as criticals, (count(*) over ())::int as total
      from acme.attention
     limit ${limit}`;
  const critical = rows[0]?.criticals ?? 0;
  return {
    critical,
    warning: (rows[0]?.total ?? 0) - critical,
    rows: rows.map(({ criticals: _, total: __, ...row }) => row),
  };
}

/** As `pgacme status` shows it: the cause, then what to do. */
export function attentionLines({ critical, warning, rows }: Attention): string[] {
  const total = critical + warning;
  if (total === 0) return ['Attention: none'];
  return [
    `Attention: ${counts({ critical, warning })}${total > rows.length ? `, the first ${rows.length} of them` : ''}`,
    ...rows.flatMap((row) => [
      `  ${row.severity.padEnd(8)}  ${subject(row)}${printable(row.sentence, 1000)}`,
      `            ${printable(row.whatToDo, 500)}`,
    ]),
  ];
}

/** The one line of `pgacme status --check`, and how it ends: what Nagios and its like read. */
export function checkLine(attention: Attention): { line: string; code: ExitCode } {
  const { critical, warning, rows } = attention;
  const [first] = rows;
  const figures = `| critical=${critical} warning=${warning}`;
  if (first === undefined) {
    return { line: `PGACME OK - nothing needs attention ${figures}`, code: 0 };
  }
  const text = asSentence(`${subject(first)}${printable(first.sentence, 500)}`).replaceAll(
    '|',
    '/',
  );
  return {
    line: `PGACME ${critical > 0 ? 'CRITICAL' : 'WARNING'} - ${counts(attention)}. ${text} ${figures}`,
    code: critical > 0 ? 2 : 1,
  };
}

function counts({ critical, warning }: Pick<Attention, 'critical' | 'warning'>): string {
  return [
    ...(critical > 0 ? [`${critical} critical`] : []),
    ...(warning > 0 ? [`${warning} warning${warning === 1 ? '' : 's'}`] : []),
  ].join(', ');
}

function subject({ csr, ref, names }: AttentionRow): string {
  if (csr === null) return '';
  const [first] = names ?? [];
  const more = (names?.length ?? 0) - 1;
  const name = first === undefined ? ref : `${first}${more > 0 ? ` +${more}` : ''}`;
  return `csr ${csr}${name === null ? '' : ` (${printable(name, 60)})`}: `;
}
