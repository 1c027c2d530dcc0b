import { open, rm } from 'node:fs/promises';
import { PgacmeError } from '../errors.ts';

/**
 * Makes a file that only its owner may read, with what `content` gives; never over one that is there,
 * and nothing of it stays where something fails. It is on the disk when this returns.
 *
 * @throws PgacmeError ERR_FILE when the file is there already or cannot be made.
 */
export async function makeFile(path: string, content: () => Promise<string>): Promise<void> {
  // Made before the content is: what cannot be written must not be taken out of the database either.
  const handle = await open(path, 'wx', 0o600).catch((error: unknown) => {
    throw new PgacmeError('ERR_FILE', whyNot(path, error), { cause: error });
  });
  try {
    await handle.writeFile(await content());
    await handle.sync();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

function whyNot(path: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  return code === 'EEXIST'
    ? `${path} is there already, and nothing is written over it. Name another file.`
    : `${path} cannot be made (${code}); check the folder and its permissions.`;
}
