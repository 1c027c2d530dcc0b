import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PgacmeError } from '../errors.ts';
import { type Claim, claimFolder } from '../local/claim.ts';
import { makeCsr } from '../x509/index.ts';
import { readKept, writeSecret } from './kept-file.ts';

/** The names of the sample; no CA but a test CA would issue for them. */
export const SAMPLE_NAMES = ['shop.example.org', 'www.shop.example.org'];

/**
 * Makes the folder and takes it for this process, which is `what` (`The quickstart`).
 *
 * @throws LocalError `ERR_LOCAL_IN_USE` when another process uses it; PgacmeError ERR_FOLDER when it
 * cannot be written.
 */
export async function takeFolder(folder: string, what: string): Promise<Claim> {
  try {
    // Not closed to others as a whole: where we are root, PostgreSQL is another user and lives in it.
    await mkdir(folder, { recursive: true });
    // Keys and data are nothing to commit.
    await writeFile(join(folder, '.gitignore'), '*\n');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PgacmeError(
      'ERR_FOLDER',
      `${folder} cannot be written (${why}); start in a folder of your own.`,
      { cause },
    );
  }
  return claimFolder(folder, `${what} in ${folder}`, 'SIGTERM');
}

/** The key that seals account keys, in base64; made at the first start. */
export async function keptSealingKey(folder: string): Promise<string> {
  const file = join(folder, 'secret-key');
  const kept = await readKept(file);
  if (kept !== undefined) return kept.trim();
  const made = randomBytes(32).toString('base64');
  await writeSecret(file, `${made}\n`);
  return made;
}

/** The PEM of the sample CSR; made with its TLS key, which stays in a file, at the first start. */
export async function keptCsr(folder: string): Promise<string> {
  const file = join(folder, 'sample.csr');
  const kept = await readKept(file);
  if (kept !== undefined) return kept;
  const { pem, keyPem } = await makeCsr({
    names: SAMPLE_NAMES,
    ...(SAMPLE_NAMES[0] === undefined ? {} : { commonName: SAMPLE_NAMES[0] }),
  });
  await writeSecret(join(folder, 'sample.key'), keyPem);
  // Last: when it is there, its key is.
  await writeSecret(file, pem);
  return pem;
}

/** Writes a libpq password file, so that no command line has to show the password; returns its path. */
export async function writePasswordFile(folder: string, url: URL): Promise<string> {
  const file = join(folder, 'pgpass');
  await writeSecret(file, `${url.hostname}:${url.port}:*:${url.username}:${url.password}\n`);
  return file;
}
