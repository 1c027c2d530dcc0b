import { LocalError } from './local-error.ts';
import type { PebbleBinaries } from './pebble-programs.ts';
import { lastLine, run, which } from './run.ts';

/**
 * Pebble 2.10.1 as its authors publish it, for Linux on amd64 and arm64. By digest, so that nothing else
 * ever runs under this name.
 */
export const images = {
  pebble:
    'ghcr.io/letsencrypt/pebble@sha256:ddf230642b1a584f519f32e347de1b05a6e4c1f6c35c1863b33effeab5f78199',
  challtestsrv:
    'ghcr.io/letsencrypt/pebble-challtestsrv@sha256:12ce21884def456bcf9786542113949e1f19dc7738d2c70e156c2d0c38a1405b',
} as const;

/** What to add to a sentence about a container that nobody can reach. */
export const HOST_NETWORK =
  'where Docker Desktop runs it, that has to be version 4.34 or newer with "Enable host networking" turned on in its settings';

/**
 * Pebble's two images, pulled unless they are there.
 * @throws LocalError `ERR_LOCAL_FETCH` when there is no Docker, or its engine does not answer or pull.
 */
export async function pebbleImages(options: {
  env: NodeJS.ProcessEnv;
  log?: ((line: string) => void) | undefined;
}): Promise<PebbleBinaries> {
  const docker = await which('docker', options.env['PATH']);
  if (docker === undefined) {
    throw new LocalError('ERR_LOCAL_FETCH', 'docker is not in PATH');
  }
  const engine = await run(docker, ['version', '--format', '{{.Server.Os}}'], {
    timeoutMs: 20_000,
  });
  if (engine.code !== 0 || engine.stdout.trim() !== 'linux') {
    throw new LocalError(
      'ERR_LOCAL_FETCH',
      `Docker's engine does not answer, or does not run Linux (${lastLine(engine)})`,
    );
  }
  for (const image of Object.values(images)) {
    const found = await run(docker, ['image', 'inspect', image], { timeoutMs: 20_000 });
    if (found.code === 0) continue;
    options.log?.(`Pulling ${image.replace(/@.*/, '')}`);
    const pulled = await run(docker, ['pull', '--quiet', image], { timeoutMs: 600_000 });
    if (pulled.code !== 0) {
      throw new LocalError('ERR_LOCAL_FETCH', `docker pull failed: ${lastLine(pulled)}`);
    }
  }
  return { ...images, docker, source: 'Docker', version: '2.10' };
}

/** How one of Pebble's programs is called. */
export interface Call {
  args: readonly string[];
  /** Variables for the program. */
  env?: Record<string, string>;
  /** A folder that it reads. */
  folder?: string;
}

/**
 * The command line for a program of Pebble: itself, or a container of its image. The container has the
 * host's network, since both sides connect: Pebble listens on the port that its directory names, and it
 * asks our DNS server and our responder on 127.0.0.1. It ends with the docker command, which passes
 * signals on.
 */
export function commandLine(
  binaries: PebbleBinaries,
  program: string,
  { args, env = {}, folder }: Call,
): { command: string; args: string[]; env: NodeJS.ProcessEnv } {
  if (binaries.docker === undefined) {
    return { command: program, args: [...args], env: { ...process.env, ...env } };
  }
  const variables = Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
  // The same path inside, so that the configuration is right on both sides.
  const mount =
    folder === undefined
      ? []
      : ['--mount', `type=bind,${csv('source', folder)},${csv('target', folder)},readonly`];
  const flags = ['--rm', '--pull=never', '--network=host', ...mount, ...variables];
  return { command: binaries.docker, args: ['run', ...flags, program, ...args], env: process.env };
}

/** Docker reads the value of --mount as a line of CSV. */
function csv(name: string, value: string): string {
  return `"${name}=${value.replaceAll('"', '""')}"`;
}
