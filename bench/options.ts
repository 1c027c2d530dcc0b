import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** What can be measured by itself. */
export const PARTS = ['bare', 'workers', 'latency', 'rest', 'insert', 'growth'] as const;

/** One of {@link PARTS}. */
export type Part = (typeof PARTS)[number];

/** What to measure, how much of it, and where the results go. */
export interface Options {
  parts: readonly Part[];
  /** Orders in flight, as many of 1, 8 and 32 as are wanted. */
  levels: readonly number[];
  /** Numbers of worker processes at 32 in flight; with fewer in flight there is one. */
  workers: readonly number[];
  /** Multiplies the numbers of certificates. */
  scale: number;
  /** Rows of one INSERT each. */
  insertRows: readonly number[];
  /** Rows that are there before the part growth measures. */
  growthRows: number;
  out: string;
  /** Node's CPU profiles of the workers, and PostgreSQL's inner statements. */
  profile: boolean;
  postgresBin: string | undefined;
}

const HELP = `npm run bench -- [options]

  --parts a,b        ${PARTS.join(', ')} (all)
  --levels 1,8,32    orders in flight for bare and workers (all)
  --workers 1,2,3    worker processes at 32 in flight (all)
  --scale x          as many certificates, times x (1)
  --insert-rows n,m  rows of one INSERT, for insert (10000,100000)
  --growth-rows n    csrs, certificates and events that are there already (1000000)
  --out dir          where bench.json, bench.svg and profiles go (.pgacme/bench)
  --profile          node --cpu-prof for the workers, and every statement inside functions (slower)
  --postgres-bin dir another PostgreSQL than the embedded one
`;

/** Reads the command line; undefined: it asked for help, which was printed. */
export function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      parts: { type: 'string' },
      levels: { type: 'string', default: '1,8,32' },
      workers: { type: 'string', default: '1,2,3' },
      scale: { type: 'string', default: '1' },
      'insert-rows': { type: 'string', default: '10000,100000' },
      'growth-rows': { type: 'string', default: '1000000' },
      out: { type: 'string', default: join('.pgacme', 'bench') },
      profile: { type: 'boolean', default: false },
      'postgres-bin': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return undefined;
  }
  const wanted = values.parts?.split(',') ?? PARTS;
  const unknown = wanted.find((name) => !PARTS.some((part) => part === name));
  if (unknown !== undefined) throw new Error(`There is no part ${unknown}: ${PARTS.join(', ')}.`);
  return {
    parts: PARTS.filter((part) => wanted.includes(part)),
    levels: values.levels.split(',').map(Number),
    workers: values.workers.split(',').map(Number),
    scale: Number(values.scale),
    insertRows: values['insert-rows'].split(',').map(Number),
    growthRows: Number(values['growth-rows']),
    out: resolve(values.out),
    profile: values.profile,
    postgresBin: values['postgres-bin'],
  };
}

/** What the figures were taken on. */
export function machine(): { cores: number; node: string } {
  return { cores: availableParallelism(), node: process.version };
}
