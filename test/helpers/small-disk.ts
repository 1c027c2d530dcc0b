import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { lastLine, run } from '../../src/local/run.ts';
import { testFolder } from './sweep.ts';

/** A file system of its own, small enough to be filled. */
export interface SmallDisk {
  dir: string;
  /** Takes what is left of it, to the last block. May be called again when something was freed. */
  fill(): Promise<void>;
  /** Gives that back. */
  makeRoom(): Promise<void>;
}

/** Mounts a tmpfs for this test; the reason where that is not permitted. */
export async function smallDisk(megabytes: number): Promise<SmallDisk | string> {
  const dir = await testFolder('disk');
  const options = `size=${megabytes}m,mode=0755`;
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', dir]);
  if (mounted.code !== 0) {
    await rm(dir, { recursive: true, force: true });
    return `a tmpfs cannot be mounted here (${lastLine(mounted)})`;
  }
  onTestFinished(async () => {
    await run('umount', ['--lazy', dir]);
    await rm(dir, { recursive: true, force: true });
  });
  const ballast = join(dir, 'ballast');
  return {
    dir,
    async fill() {
      const file = await open(ballast, 'a');
      try {
        for (const size of [1 << 20, 1 << 12]) {
          while (await fits(() => file.appendFile(Buffer.alloc(size)))) continue;
        }
      } finally {
        await file.close();
      }
    },
    async makeRoom() {
      await rm(ballast, { force: true });
    },
  };
}

async function fits(write: () => Promise<void>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  }
}
