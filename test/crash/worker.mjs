// A worker in a process of its own, with options that the command line does not have, that kills
// itself at a crash point. PGACME_TEST_WORKER: JSON of WorkerOptions, and `point`.
import { setCrashPoints } from '../../dist/db/steps/crash-point.js';
import { makeLogger } from '../../dist/log.js';
import { startWorker } from '../../dist/worker.js';

const { point, ...options } = JSON.parse(process.env.PGACME_TEST_WORKER ?? '{}');
setCrashPoints((name) => {
  if (name === point) process.kill(process.pid, 'SIGKILL');
});
const worker = await startWorker({ log: makeLogger('info'), ...options });
process.once('SIGTERM', () => void worker.stop());
