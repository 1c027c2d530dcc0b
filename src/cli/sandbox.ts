import { resolve } from 'node:path';
import { type Command, UsageError } from './command.ts';
import { hasPostgres, withLocalServers } from './local-servers.ts';
import { usageLine } from './usage.ts';

/** `pgacme sandbox`, also `npm run sandbox`. */
export const sandboxCommand: Command = {
  name: 'sandbox',
  summary: 'a PostgreSQL with an empty database and a test CA, to follow the documents with',
  help: `Starts an embedded PostgreSQL with an empty database, app, and a local Pebble (a test CA), which takes
every name for this machine. The rest is yours: migrate, start a worker, insert requests. Everything is
kept in the folder .pgacme/sandbox here. Both listen on 127.0.0.1 only, and run until Ctrl-C. It needs
what the quickstart needs.

Examples:
  pgacme sandbox
  DATABASE_URL='postgres://postgres@localhost:5432/app?passfile=.pgacme/sandbox/pgpass' pgacme migrate
  rm -r .pgacme/sandbox         start from nothing`,
  flags: {},
  options: {
    'postgres-port': { value: 'PORT', text: 'where PostgreSQL listens; default 5432' },
    'pebble-port': { value: 'PORT', text: 'where Pebble listens; default 14000' },
    'http-port': { value: 'PORT', text: 'where Pebble asks for http-01 answers; default 5002' },
  },
  isAvailable: hasPostgres,
  run: (invocation) => {
    const ports = {
      postgres: portOf(invocation.options, 'postgres-port', 5432),
      pebble: portOf(invocation.options, 'pebble-port', 14_000),
      http: portOf(invocation.options, 'http-port', 5002),
    };
    return withLocalServers('The sandbox', invocation, async (stopping) => {
      const { sandbox } = await import('../quickstart/sandbox.ts');
      await sandbox({
        folder: resolve('.pgacme/sandbox'),
        ports,
        show: invocation.output,
        stopping,
      });
    });
  },
};

function portOf(options: ReadonlyMap<string, string>, name: string, otherwise: number): number {
  const given = options.get(name);
  if (given === undefined) return otherwise;
  const port = Number(given);
  if (/^\d+$/.test(given) && port > 0 && port < 65_536) return port;
  throw new UsageError(
    `--${name} is ${JSON.stringify(given)}, and takes a number from 1 to 65535.`,
    usageLine(sandboxCommand),
  );
}
