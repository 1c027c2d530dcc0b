import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The port that an earlier start wrote down in the folder, else undefined. */
export async function keptPort(dir: string, name: string): Promise<number | undefined> {
  const text = await readFile(join(dir, name), 'utf8').catch(() => '');
  const port = Number(text.trim());
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

/** Writes a port down for the next start. */
export async function keepPort(dir: string, name: string, port: number): Promise<void> {
  await writeFile(join(dir, name), `${String(port)}\n`);
}
