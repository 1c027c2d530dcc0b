import { readdir, readFile } from 'node:fs/promises';
import { identify, isRunning, type ProcessIdentity } from '../../src/local/process-identity.ts';

/**
 * The process and all that it started, also what has left its group: descendants, and whoever is in a
 * session that one of them leads. Read from /proc, so on Linux only.
 */
export async function familyOf(pid: number): Promise<ProcessIdentity[]> {
  const all = await everyProcess();
  const family = new Set([pid]);
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const each of all) {
      if (family.has(each.parent) || family.has(each.session)) family.add(each.pid);
    }
  }
  const identities = await Promise.all([...family].map((each) => identify(each)));
  return identities.filter((each) => each !== undefined);
}

/** Those of the processes that still run. */
export async function survivors(family: readonly ProcessIdentity[]): Promise<ProcessIdentity[]> {
  const alive = await Promise.all(family.map((each) => isRunning(each)));
  return family.filter((_, i) => alive[i]);
}

async function everyProcess(): Promise<{ pid: number; parent: number; session: number }[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const texts = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')),
  );
  return texts.flatMap((text) => {
    // The name, in parentheses, may hold anything; behind it: state, parent, group, session.
    const [, parent, , session] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (session === undefined) return [];
    return [{ pid: Number.parseInt(text), parent: Number(parent), session: Number(session) }];
  });
}
