import { readFile } from 'node:fs/promises';
import { lastLine, run } from './run.ts';

/** One process and no other: a pid alone is given again after its process has ended. */
export interface ProcessIdentity {
  pid: number;
  /** When it started, in the operating system's own words; only compared. */
  started: string;
}

/** Identifies a living process; undefined when there is none with that pid. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  if (!isAlive(pid)) return undefined;
  const started = process.platform === 'linux' ? await startedLinux(pid) : await startedPs(pid);
  return started === undefined ? undefined : { pid, started };
}

/** Whether that very process still runs. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.started === identity.started;
}

/** The command line of a process as one string, empty if it cannot be read. */
export async function commandLine(pid: number): Promise<string> {
  if (process.platform === 'linux') {
    const raw = await readFile(`/proc/${String(pid)}/cmdline`, 'utf8').catch(() => '');
    return raw.replaceAll('\0', ' ').trim();
  }
  const result = await run('ps', ['-o', 'command=', '-p', String(pid)]);
  return result.code === 0 ? result.stdout.trim() : '';
}

/** Whether any process has that pid, whoever owns it. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function startedLinux(pid: number): Promise<string | undefined> {
  // Field 22 is the start in ticks since the boot, so the boot's own id belongs to it. The command's
  // name in field 2 may hold spaces and brackets: count from the last bracket.
  const stat = await readFile(`/proc/${String(pid)}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z') return undefined;
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return `${boot.trim()} ${fields[19] ?? ''}`;
}

async function startedPs(pid: number): Promise<string | undefined> {
  const result = await run('ps', ['-o', 'lstart=', '-p', String(pid)]);
  return result.code === 0 ? lastLine({ ...result, stderr: '' }) : undefined;
}
