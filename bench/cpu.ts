import { readdir, readFile } from 'node:fs/promises';

/** Milliseconds of one tick of the kernel's CPU accounting: 100 a second on every Linux there is. */
const TICK_MS = 10;

interface Stat {
  pid: number;
  parent: number;
  ownMs: number;
  /** Of children that have ended and were waited for. */
  endedMs: number;
}

/** CPU time of these processes so far, user and system, in milliseconds. */
export async function cpuMs(pids: readonly number[]): Promise<number> {
  const stats = await Promise.all(pids.map(statOf));
  return stats.reduce((sum, stat) => sum + (stat?.ownMs ?? 0), 0);
}

/** CPU time of a process, of its children, and of those of its children that have ended. */
export async function familyCpuMs(pid: number): Promise<number> {
  const all = await Promise.all(
    (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map((name) => statOf(+name)),
  );
  return all.reduce((sum, stat) => {
    if (stat?.pid === pid) return sum + stat.ownMs + stat.endedMs;
    return stat?.parent === pid ? sum + stat.ownMs : sum;
  }, 0);
}

/** The most memory that a process has had, in MB. */
export async function peakMemoryMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}

async function statOf(pid: number): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The name is in parentheses and may hold anything; the numbers follow the last one.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields === undefined) return undefined;
  const ticks = (at: number) => Number(fields[at] ?? 0) * TICK_MS;
  return {
    pid,
    parent: Number(fields[1]),
    ownMs: ticks(11) + ticks(12),
    endedMs: ticks(13) + ticks(14),
  };
}
