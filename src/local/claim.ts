import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalError, systemCode } from './local-error.ts';
import { identify, isRunning, type ProcessIdentity } from './process-identity.ts';

/** Who uses a folder, and the program that runs for it. */
interface ClaimRecord {
  owner: ProcessIdentity;
  program?: ProcessIdentity;
}

/** A folder that only this process uses until it lets go of it. */
export interface Claim {
  /** Writes down the program that runs for the folder, so that a later start can end a left-over. */
  running(pid: number): Promise<void>;
  /** Lets go; harmless when the folder has been deleted meanwhile. */
  release(): Promise<void>;
}

const FILE = 'process.json';

/**
 * Takes a folder for this process; `what` begins its sentences, as in `Pebble in /srv/pebble`. A program that a dead owner left running there is ended first, with
 * `stopSignal` and then SIGKILL; it is known by pid and start time, so no other process is ever hit.
 * @throws LocalError `ERR_LOCAL_IN_USE` when a living process uses the folder.
 */
export async function claimFolder(
  dir: string,
  what: string,
  stopSignal: NodeJS.Signals,
): Promise<Claim> {
  const file = join(dir, FILE);
  const owner = await identify(process.pid);
  if (owner === undefined) throw new LocalError('ERR_LOCAL_START', 'This process has no identity.');

  for (let attempt = 0; ; attempt++) {
    // Linked, not written in place: nobody ever reads a claim that is half there.
    const own = `${file}.${randomUUID()}`;
    await writeFile(own, JSON.stringify({ owner }), { mode: 0o644 });
    try {
      await link(own, file);
      break;
    } catch (error) {
      if (systemCode(error) !== 'EEXIST' || attempt > 10) throw error;
    } finally {
      await rm(own, { force: true });
    }
    const found = await readClaim(file);
    if (found && (await isRunning(found.owner))) {
      throw new LocalError(
        'ERR_LOCAL_IN_USE',
        `${what} is in use by process ${String(found.owner.pid)}; stop that one first or use another folder.`,
      );
    }
    if (found?.program) await endLeftOver(found.program, stopSignal, what);
    await setAside(file);
  }

  return {
    async running(pid) {
      const program = await identify(pid);
      if (program) await replaceFile(file, { owner, program });
    },
    async release() {
      await rm(file, { force: true });
    },
  };
}

/** Whether a folder was claimed by a process that is gone. */
export async function isAbandoned(dir: string): Promise<boolean> {
  const found = await readClaim(join(dir, FILE));
  return found !== undefined && !(await isRunning(found.owner));
}

/** Ends a process that a dead owner left behind and waits until it is gone. */
async function endLeftOver(
  program: ProcessIdentity,
  signal: NodeJS.Signals,
  what: string,
): Promise<void> {
  const deadline = performance.now() + 20_000;
  let sent: NodeJS.Signals | undefined;
  while (await isRunning(program)) {
    const wanted = performance.now() > deadline - 10_000 ? 'SIGKILL' : signal;
    if (performance.now() > deadline) break;
    if (wanted !== sent) {
      try {
        process.kill(program.pid, wanted);
      } catch (error) {
        if (systemCode(error) !== 'ESRCH') {
          throw new LocalError(
            'ERR_LOCAL_IN_USE',
            `${what} of an earlier run is still running as process ${String(program.pid)} and may not be stopped by this user; stop it first.`,
            { cause: error },
          );
        }
      }
      sent = wanted;
    }
    await delay(20);
  }
}

/** Removes a stale claim; renamed first, so that of two starts only one removes it. */
async function setAside(file: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  await rm(aside, { force: true });
}

async function replaceFile(file: string, record: ClaimRecord): Promise<void> {
  const next = `${file}.${randomUUID()}`;
  await writeFile(next, JSON.stringify(record), { mode: 0o644 });
  await rename(next, file);
}

async function readClaim(file: string): Promise<ClaimRecord | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || !('owner' in value)) return undefined;
    if (!isIdentity(value.owner)) return undefined;
    const program = 'program' in value && isIdentity(value.program) ? value.program : undefined;
    return { owner: value.owner, ...(program ? { program } : {}) };
  } catch {
    return undefined;
  }
}

function isIdentity(value: unknown): value is ProcessIdentity {
  if (typeof value !== 'object' || value === null) return false;
  if (!('pid' in value) || !('started' in value)) return false;
  return Number.isInteger(value.pid) && typeof value.started === 'string';
}
