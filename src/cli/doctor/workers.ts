import { printable } from '../../acme/text.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';

/** States in which a csr is worked on, or will be, without anybody's doing. */
const MOVING = ['received', 'queued', 'ordering', 'renewing', 'retrying'];

/** Whether workers run, and which ones fell silent. */
export const workersCheck: Check = {
  name: 'Workers',
  run({ facts }) {
    if (facts === undefined) return Promise.resolve([]);
    const running = facts.workers.filter(
      ({ state }) => state === 'running' || state === 'wrong_key',
    );
    const found: Finding[] = facts.workers.flatMap(({ id, host, pid, state, seconds }) => {
      const who = `Worker ${id} (${printable(host, 60)}, process ${pid})`;
      if (state === 'silent') {
        return [
          warning(
            `${who} has given no sign of life for ${seconds} s. Look whether it runs there and reaches the database; if it is gone, others take over what it held.`,
          ),
        ];
      }
      if (state === 'lost') {
        return [
          warning(
            `${who} ended without signing out ${seconds} s ago. Another one takes over what it held. See its log, and why it was killed.`,
          ),
        ];
      }
      return [];
    });
    if (running.length > 0) {
      found.unshift(ok(`${running.length} running.`));
      return Promise.resolve(found);
    }
    const waiting = MOVING.reduce((sum, state) => sum + (facts.states[state] ?? 0), 0);
    found.unshift(
      waiting > 0
        ? problem(
            `None runs, and ${waiting === 1 ? '1 csr waits' : `${waiting} csrs wait`} for one. Start one: pgacme worker`,
          )
        : warning('None runs: nothing is done until one does (pgacme worker).'),
    );
    return Promise.resolve(found);
  },
};
