import { readdir, readFile } from 'node:fs/promises';

const ROOT = new URL('../../', import.meta.url);

/** Every .sql file below a folder of this checkout, such as `sql/api/`. */
export async function sqlFiles(folder: string): Promise<{ file: string; text: string }[]> {
  const names = await readdir(new URL(folder, ROOT), { recursive: true, encoding: 'utf8' });
  return Promise.all(
    names
      .filter((name) => name.endsWith('.sql'))
      .sort()
      .map(async (name) => ({
        file: `${folder}${name}`,
        text: await readFile(new URL(`${folder}${name}`, ROOT), 'utf8'),
      })),
  );
}
