import { chmod, mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimFolder, isAbandoned } from '../../src/local/claim.ts';
import { removeFolder } from '../../src/local/os-user.ts';

const PREFIX = 'pgacme-test-';

/** A new folder for a test's parts; {@link sweep} of a later run deletes it if this one is killed. */
export async function testFolder(what: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), `${PREFIX}${what}-`));
  // Below it run parts of other users than ours; what they keep there is closed by themselves.
  await chmod(dir, 0o755);
  return dir;
}

/** Ends what killed test runs left running and deletes their folders; other users' are left alone. */
export async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const dir = join(tmpdir(), name);
    if (!(await isAbandoned(dir))) continue;
    await claimFolder(dir, dir, 'SIGINT')
      .then(() => removeFolder(dir))
      .catch(() => undefined);
  }
}
