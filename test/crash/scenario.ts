import { freshName } from '../helpers/world.ts';
import type { CrashWorld } from './crash-world.ts';

/** A piece of work in which a worker dies, and how it ends all the same. */
export interface Scenario {
  name: string;
  /** The prefixes of the crash points that a worker reaches in it. */
  points: readonly string[];
  /** At a CA that asks to wait 4 s for the certificate. */
  isSlow?: boolean;
  /** Before the worker that will die starts; returns the csr. */
  begin(world: CrashWorld): Promise<string>;
  /** Once it runs: what brings it to the point. */
  provoke?(world: CrashWorld, csr: string): Promise<void>;
  /** Once it is dead and another worker runs, until all is done. */
  finish(world: CrashWorld, csr: string): Promise<void>;
  /** Orders that the CA is asked to finalize, and certificates that come of it. */
  certificates: number;
  /** What the csr's events must tell, each this often. */
  events: Readonly<Record<string, number>>;
}

export async function insertTwoNames(world: CrashWorld): Promise<string> {
  return world.insert({ names: [freshName(), freshName()] });
}

export async function issued(world: CrashWorld, csr: string): Promise<void> {
  await world.reach(csr, 'issued', 30_000);
}

/** A certificate, by a worker that then stops; with a name that the CA can reach. */
export async function issueFirst(world: CrashWorld): Promise<string> {
  const csr = await insertTwoNames(world);
  const first = await world.rescuer();
  await issued(world, csr);
  await first.stop();
  return csr;
}
