import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';

/** The text of a file that an earlier start wrote; undefined: there is none. */
export async function readKept(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes a file that only this user may read, whole or not at all. */
export async function writeSecret(file: string, text: string): Promise<void> {
  const made = `${file}.${randomUUID()}`;
  await writeFile(made, text, { mode: 0o600, flag: 'wx' });
  await rename(made, file);
}
