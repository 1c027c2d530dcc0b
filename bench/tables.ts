import { bareAt, type Results } from './results.ts';

/** The results as Markdown tables, for the terminal and for docs/performance.md. */
export function tablesOf(results: Results): string {
  const { machine, takenAt } = results;
  const parts = [
    `Taken ${takenAt.slice(0, 10)} on ${machine.cores} cores, Node.js ${machine.node}, PostgreSQL ${machine.postgres}.`,
    issuing(results),
    single(results),
    ...plans(results),
  ];
  return parts.filter((part) => part !== '').join('\n\n') + '\n';
}

function issuing(results: Results): string {
  const rows = [
    ...results.bare.map((one) => [
      'bare loop',
      one.inFlight,
      round(one.perSecond),
      '1',
      round(one.cpuMs),
      '',
      round(one.caCpuMs),
      '',
      '',
      '',
      round(one.acmeRequests),
      '',
    ]),
    ...results.throughput.map(({ costs, ...one }) => {
      const bare = bareAt(results, one.inFlight);
      return [
        one.workers === 1 ? '1 worker' : `${one.workers} workers`,
        one.inFlight,
        round(one.perSecond),
        bare === undefined ? '' : (one.perSecond / bare).toFixed(2),
        round(costs.workerCpuMs),
        round(costs.postgresCpuMs),
        round(costs.caCpuMs),
        round(costs.roundTrips),
        round(costs.walBytes / 1024),
        round(costs.notifies),
        round(costs.acmeRequests),
        Math.round(one.peakMemoryMb),
      ];
    }),
  ];
  if (rows.length === 0) return '';
  const head = [
    '',
    'in flight',
    'certificates/s',
    'of the bare loop',
    'worker CPU ms',
    'PostgreSQL CPU ms',
    'CA CPU ms',
    'SQL round trips',
    'WAL kB',
    'NOTIFYs',
    'ACME requests',
    'peak MB',
  ];
  return table(head, rows);
}

function single({ latency, inserts, growth, bare }: Results): string {
  const rows: (string | number)[][] = [];
  const one = bare.find(({ inFlight }) => inFlight === 1);
  if (one !== undefined) {
    rows.push([
      'one certificate, bare loop: median / p99',
      `${round(one.medianMs)} / ${round(one.p99Ms)} ms`,
    ]);
  }
  if (latency !== undefined) {
    rows.push(
      [
        'INSERT committed to certificate read: median / p99',
        `${round(latency.medianMs)} / ${round(latency.p99Ms)} ms`,
      ],
      ['the INSERT itself: median', `${round(latency.insertMedianMs)} ms`],
      [
        `queries a second at rest (${latency.rest.seconds} s)`,
        round(latency.rest.queriesPerSecond),
      ],
    );
  }
  for (const insert of inserts) {
    rows.push([`one INSERT of ${insert.rows} CSRs`, `${Math.round(insert.rowsPerSecond)} rows/s`]);
  }
  if (growth !== undefined) {
    const rate = (perSecond: number, ms: number) =>
      `${round(perSecond)} certificates/s, PostgreSQL ${round(ms)} ms`;
    rows.push(
      ['8 in flight, empty', rate(growth.emptyPerSecond, growth.emptyPostgresCpuMs)],
      [
        `8 in flight, ${growth.rows} csrs, certificates, events there`,
        rate(growth.filledPerSecond, growth.filledPostgresCpuMs),
      ],
      ['csr_status by id there: median', `${growth.statusMedianMs.toFixed(2)} ms`],
      ['a turn of reconcile there', `${round(growth.reconcileMs)} ms`],
    );
  }
  return rows.length === 0 ? '' : table(['', ''], rows);
}

function plans({ growth }: Results): string[] {
  return Object.entries(growth?.plans ?? {}).map(
    ([what, plan]) => `Plan of ${what}:\n\n\`\`\`\n${plan}\n\`\`\``,
  );
}

/** A Markdown table; the first column is text, the others are figures. */
function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}
