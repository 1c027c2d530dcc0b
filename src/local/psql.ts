import { readdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { cachedDebian, type DebianPackage, fetchDebian } from './debian.ts';
import { LocalError } from './local-error.ts';
import { isExecutable, run, which } from './run.ts';

/** Where psql is and what it needs. */
export interface Psql {
  psql: string;
  /** Variables to add to its environment: `LD_LIBRARY_PATH` for a psql that was fetched. */
  env: Record<string, string>;
  /** Where it was found, for people. */
  source: string;
  /** `15.18` say. */
  version: string;
}

/**
 * Finds psql: `PATH`, the cache, then Debian's postgresql-client fetched into the cache with the
 * libraries that the machine lacks.
 * @throws LocalError `ERR_LOCAL_MISSING` with one sentence that says what to install.
 */
export async function findPsql(
  options: { env?: NodeJS.ProcessEnv; log?: (line: string) => void } = {},
): Promise<Psql> {
  const env = options.env ?? process.env;
  const onPath = await which('psql', env['PATH']);
  const fromPath = onPath === undefined ? undefined : await usable(onPath, {}, 'PATH');
  if (fromPath) return fromPath;

  for (const found of await cachedDebian(/postgresql-client-\d+/, env)) {
    const psql = await unpacked(found, 'the cache');
    if (psql) return psql;
  }

  let reason = 'the fetched one does not run';
  try {
    options.log?.('Fetching psql from Debian');
    const name = { depends: 'postgresql-client' };
    const psql = await unpacked(await fetchDebian({ name, libraries: ['libpq5'], env }), 'Debian');
    if (psql) return psql;
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  throw new LocalError(
    'ERR_LOCAL_MISSING',
    `psql was not found; install it (Debian: apt-get install postgresql-client) and have it in PATH (${reason}).`,
  );
}

async function unpacked(found: DebianPackage, source: string): Promise<Psql | undefined> {
  // /usr/bin/psql is a wrapper of another package; the program itself lies in a folder by version.
  const versions = join(found.root, 'usr/lib/postgresql');
  for (const version of await readdir(versions).catch(() => [])) {
    const file = join(versions, version, 'bin/psql');
    const path = (await libraryFolders(found.root)).join(delimiter);
    const psql = await usable(file, { LD_LIBRARY_PATH: path }, `${source} (${found.version})`);
    if (psql) return psql;
  }
  return undefined;
}

/** `usr/lib/x86_64-linux-gnu` and the like, also those that still lie in `/lib`. */
async function libraryFolders(root: string): Promise<string[]> {
  const folders: string[] = [];
  for (const parent of ['usr/lib', 'lib']) {
    for (const name of await readdir(join(root, parent)).catch(() => [])) {
      if (name.includes('-linux-')) folders.push(join(root, parent, name));
    }
  }
  return folders;
}

async function usable(
  psql: string,
  env: Record<string, string>,
  source: string,
): Promise<Psql | undefined> {
  if (!(await isExecutable(psql))) return undefined;
  const result = await run(psql, ['--version'], {
    env: { ...process.env, ...env },
    timeoutMs: 20_000,
  });
  const version = /\(PostgreSQL\) ([\d.]+\w*)/.exec(result.stdout)?.[1];
  return version === undefined ? undefined : { psql, env, source, version };
}
