import type { Bare } from './bare.ts';
import type { Growth } from './growth.ts';
import type { Insert } from './insert.ts';
import type { Latency } from './latency.ts';
import type { Throughput } from './throughput.ts';

/** Everything that a run measured; what was not asked for is empty. */
export interface Results {
  takenAt: string;
  machine: { cores: number; node: string; postgres: string };
  bare: Bare[];
  throughput: Throughput[];
  latency?: Latency;
  inserts: Insert[];
  growth?: Growth;
}

/** Certificates a second of the bare loop at so many in flight, in the same run. */
export function bareAt(results: Results, inFlight: number): number | undefined {
  return results.bare.find((one) => one.inFlight === inFlight)?.perSecond;
}
