import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** The folder `pgacme` in the user's cache directory (`XDG_CACHE_HOME`, else `~/.cache`). */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  // The XDG base directory specification: a relative path there is to be ignored.
  const xdg = env['XDG_CACHE_HOME'];
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'pgacme');
}

/** Makes a folder below the cache folder (when missing) and returns its path. */
export async function cacheSubfolder(name: string, env?: NodeJS.ProcessEnv): Promise<string> {
  const folder = join(cacheFolder(env), name);
  await mkdir(folder, { recursive: true });
  return folder;
}
