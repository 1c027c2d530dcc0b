import { readWorkerConfig } from './cli-config.ts';
import type { Command } from './command.ts';
import { aborted, stopOnSignals } from './signals.ts';

/** `pgacme worker`. */
export const workerCommand: Command = {
  name: 'worker',
  summary: 'perform what is due: any number of workers share a database',
  help: `Orders, proves, downloads and renews for the database that DATABASE_URL (or the PG* variables)
names, until it is told to stop. The login is a member of acme_worker. It logs JSON lines on stdout.

SIGTERM and SIGINT: it finishes the requests that are under way, hands the rest back for other workers,
and ends with 0. A second signal ends it at once; another worker takes over what it held within seconds.
It outlives restarts of PostgreSQL; a database of another version it waits for.

Environment:
  PGACME_SECRET_KEY or PGACME_SECRET_KEY_FILE   32 bytes in base64, the same for all workers (required)
  PGACME_HTTP01_LISTEN                          host:port on which to answer http-01; unset: nowhere
  PGACME_CONCURRENCY                            jobs at once (10)
  PGACME_LISTEN_URL                             a direct URL, where DATABASE_URL leads through a pooler
  PGACME_ENVIRONMENT                            as at the first migrate, else it gets no work (none)
  PGACME_LOG_LEVEL                              fatal, error, warn, info, debug, trace or silent (info)

Examples:
  openssl rand -base64 32 > secret-key          once; keep it as safe as the account keys it seals
  DATABASE_URL=postgres://issuer@db.internal/shop PGACME_SECRET_KEY_FILE=secret-key \\
    PGACME_HTTP01_LISTEN=0.0.0.0:80 pgacme worker`,
  flags: {},
  role: 'acme_worker',
  async run({ env }) {
    const config = readWorkerConfig(env);
    const signals = stopOnSignals();
    try {
      const [{ startWorker }, { makeLogger }] = await Promise.all([
        import('../worker.ts'),
        import('../log.ts'),
      ]);
      const worker = await startWorker({
        databaseUrl: config.databaseUrl,
        listenUrl: config.listenUrl,
        secretKey: config.secretKey,
        concurrency: config.concurrency,
        http01Listen: config.http01Listen,
        environment: config.environment,
        log: makeLogger(config.logLevel),
      });
      await aborted(signals.stopping);
      await worker.stop();
    } finally {
      signals.dispose();
    }
    return 0;
  },
};
