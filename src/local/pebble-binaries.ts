import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cachedDebian, fetchDebian } from './debian.ts';
import { pebbleImages } from './docker.ts';
import { LocalError } from './local-error.ts';
import type { PebbleBinaries, PebbleVersion } from './pebble-programs.ts';
import { isExecutable, run, which } from './run.ts';

/**
 * Finds Pebble: the folder `PGACME_PEBBLE`, `PATH`, the cache, then Debian's package fetched into the
 * cache, of suite sid (2.10) or else the machine's own, and at last its images for Docker.
 * @throws LocalError `ERR_LOCAL_MISSING` with one sentence that says what to install.
 */
export async function findPebble(
  options: { env?: NodeJS.ProcessEnv; log?: (line: string) => void } = {},
): Promise<PebbleBinaries> {
  const env = options.env ?? process.env;
  const named = env['PGACME_PEBBLE'];
  if (named !== undefined && named !== '') {
    const found = await inFolder(named, 'PGACME_PEBBLE');
    if (found) return found;
    throw new LocalError(
      'ERR_LOCAL_MISSING',
      `PGACME_PEBBLE is ${named}, but no program named pebble runs there; set it to the folder that holds pebble and pebble-challtestsrv.`,
    );
  }

  const onPath = await which('pebble', env['PATH']);
  const fromPath = onPath === undefined ? undefined : await inFolder(dirname(onPath), 'PATH');
  if (fromPath) return { ...fromPath, ...(await challtestsrvOnPath(fromPath, env)) };

  for (const { root, version } of await cachedDebian(/pebble/, env)) {
    const found = await inFolder(join(root, 'usr/bin'), `the cache (Debian ${version})`);
    if (found) return found;
  }

  const reasons: string[] = [];
  for (const suite of ['sid', undefined]) {
    options.log?.(`Fetching Pebble from Debian${suite === undefined ? '' : ` (${suite})`}`);
    try {
      const { root, version } = await fetchDebian({
        name: 'pebble',
        env,
        ...(suite === undefined ? {} : { suite }),
      });
      const found = await inFolder(join(root, 'usr/bin'), `Debian's package ${version}`);
      if (found) return found;
      reasons.push(`Debian's pebble ${version} does not run on this machine`);
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  try {
    return await pebbleImages({ env, log: options.log });
  } catch (error) {
    reasons.push(error instanceof Error ? error.message : String(error));
  }
  throw new LocalError(
    'ERR_LOCAL_MISSING',
    `Pebble was not found; install it (Debian: apt-get install pebble), set PGACME_PEBBLE to the folder of its programs, or start Docker (${reasons.join(' / ')}).`,
  );
}

async function inFolder(folder: string, source: string): Promise<PebbleBinaries | undefined> {
  const pebble = join(folder, 'pebble');
  const version = await pebbleVersion(pebble);
  if (version === undefined) return undefined;
  const challtestsrv = join(folder, 'pebble-challtestsrv');
  return {
    pebble,
    source,
    version,
    ...((await isExecutable(challtestsrv)) ? { challtestsrv } : {}),
  };
}

async function challtestsrvOnPath(
  found: PebbleBinaries,
  env: NodeJS.ProcessEnv,
): Promise<Pick<PebbleBinaries, 'challtestsrv'>> {
  const challtestsrv = found.challtestsrv ?? (await which('pebble-challtestsrv', env['PATH']));
  return challtestsrv === undefined ? {} : { challtestsrv };
}

/** What the program at that path can do; undefined when it is not Pebble or does not run here. */
async function pebbleVersion(file: string): Promise<PebbleVersion | undefined> {
  if (!(await isExecutable(file))) return undefined;
  const help = await run(file, ['-help'], { timeoutMs: 10_000 });
  // Another program named pebble, a service manager, is common.
  if (!/-dnsserver/.test(help.stdout + help.stderr)) return undefined;
  if (!/^\s*-version/m.test(help.stdout + help.stderr)) return '2.4';
  // 2.10 refuses requests without a User-Agent, and says so in these words.
  const program = await readFile(file);
  return program.includes('All requests MUST include a User-Agent') ? '2.10' : '2.5';
}
