import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { measureBare } from './bare.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { measureGrowth } from './growth.ts';
import { measureInsert } from './insert.ts';
import { measureLatency } from './latency.ts';
import { machine, type Options, type Part, readOptions } from './options.ts';
import { plotOf } from './plot.ts';
import type { Results } from './results.ts';
import { tablesOf } from './tables.ts';
import { measureThroughput } from './throughput.ts';

/** Certificates at each number of orders in flight. */
const LEVELS = [
  { inFlight: 1, certificates: 100 },
  { inFlight: 8, certificates: 400 },
  { inFlight: 32, certificates: 1000 },
] as const;

async function main(options: Options): Promise<void> {
  await mkdir(options.out, { recursive: true });
  const cluster = await startCluster({ bin: options.postgresBin, inner: options.profile });
  const results: Results = {
    takenAt: new Date().toISOString(),
    machine: { ...machine(), postgres: cluster.version },
    bare: [],
    throughput: [],
    inserts: [],
  };
  try {
    await measure(cluster, options, results);
  } finally {
    // Also where a part failed: what was measured before it is not lost.
    await write(options, results);
    await cluster.stop();
  }
}

async function write(options: Options, results: Results): Promise<void> {
  await writeFile(join(options.out, 'bench.json'), JSON.stringify(results, null, 2));
  await writeFile(join(options.out, 'bench.svg'), plotOf(results));
  process.stdout.write(`\n${tablesOf(results)}\nbench.json and bench.svg are in ${options.out}\n`);
}

async function measure(cluster: Cluster, options: Options, results: Results): Promise<void> {
  const has = (part: Part) => options.parts.includes(part);
  // Written again before each part, so that a run that is cut short has what it measured.
  const say = async (what: string) => {
    process.stderr.write(`${what} …\n`);
    await writeFile(join(options.out, 'bench.json'), JSON.stringify(results, null, 2));
  };
  const scaled = (count: number) => Math.max(10, Math.round(count * options.scale));
  const profileDir = options.profile ? options.out : undefined;
  // The bare loop right beside what is held against it: a machine is not always as fast.
  const levels = LEVELS.filter(({ inFlight }) => options.levels.includes(inFlight));
  for (const { inFlight, certificates } of levels) {
    const count = scaled(certificates);
    if (has('bare')) {
      await say(`bare loop, ${inFlight} in flight`);
      results.bare.push(await measureBare(inFlight, count));
    }
    for (const workers of has('workers') ? (inFlight === 32 ? options.workers : [1]) : []) {
      await say(`${workers} worker(s), ${inFlight} in flight`);
      const run = { workers, inFlight, certificates: count, profileDir };
      results.throughput.push(await measureThroughput(cluster, run));
    }
  }
  if (has('latency') || has('rest')) {
    await say('one at a time, and at rest');
    results.latency = await measureLatency(cluster, {
      certificates: has('latency') ? scaled(200) : 1,
      restSeconds: has('rest') ? 15 : 1,
    });
  }
  for (const rows of has('insert') ? options.insertRows : []) {
    await say(`one INSERT of ${rows}`);
    results.inserts.push(await measureInsert(cluster, rows));
  }
  if (has('growth')) {
    await say(`with ${options.growthRows} rows there`);
    results.growth = await measureGrowth(cluster, {
      rows: options.growthRows,
      certificates: scaled(400),
    });
  }
}

const options = readOptions(process.argv.slice(2));
if (options !== undefined) await main(options);
