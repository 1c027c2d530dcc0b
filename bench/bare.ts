import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BareResult, BareTask } from './bare-loop.ts';
import { casFor, startCas } from './ca.ts';
import { endWithUs } from './children.ts';

/** A run of the bare loop, and what the CAs spent meanwhile. */
export type Bare = BareResult & { caCpuMs: number; acmeRequests: number };

/** Runs the bare loop against fresh CAs. Its share of their cost includes its warm-up. */
export async function measureBare(inFlight: number, certificates: number): Promise<Bare> {
  const cas = await startCas(casFor(inFlight).cas);
  try {
    const { servers, httpPort } = cas;
    const before = { cpu: await cas.cpuMs(), requests: cas.requests() };
    const result = await inChild({ servers, httpPort, inFlight, certificates });
    const all = certificates + 60;
    return {
      ...result,
      caCpuMs: ((await cas.cpuMs()) - before.cpu) / all,
      acmeRequests: (cas.requests() - before.requests) / all,
    };
  } finally {
    await cas.stop();
  }
}

function inChild(task: BareTask): Promise<BareResult> {
  return new Promise((resolve, reject) => {
    const program = fileURLToPath(new URL('bare-loop.js', import.meta.url));
    const child = fork(program, [JSON.stringify(task)]);
    endWithUs(child);
    child.once('message', (result: BareResult) => resolve(result));
    child.once('exit', () => reject(new Error('The bare loop ended without a result.')));
  });
}
