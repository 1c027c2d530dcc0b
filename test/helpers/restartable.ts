import { onTestFinished } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { type LocalPostgres, startPostgres } from '../../src/local/postgres.ts';
import { databaseOn } from './own-database.ts';
import type { FreshDatabase } from './postgres.ts';
import { testFolder } from './sweep.ts';
import { until } from './until.ts';

/** A migrated database on a PostgreSQL of its own, which can be made to crash. */
export interface Restartable {
  database: FreshDatabase;
  /** Ends PostgreSQL without a checkpoint, as `pg_ctl stop -m immediate` does, and starts it again. */
  crash(): Promise<void>;
}

/** Starts one for this test, of the same programs as the run's; `settings`: PostgreSQL's. */
export async function restartablePostgres(
  settings: Record<string, string> = {},
): Promise<Restartable> {
  const bin = process.env['PGACME_TEST_PG_BIN'];
  const options = {
    dir: await testFolder('restartable'),
    persistent: true,
    settings: { max_connections: '200', ...settings },
    ...(bin === undefined || bin === '' ? {} : { postgresBin: bin }),
  };
  let server: LocalPostgres = await startPostgres(options);
  // A hook for the file that is added in a test is never run.
  onTestFinished(() => server.stop());
  const { host, password } = new URL(server.url);
  const database = await databaseOn({ hosts: host, password });
  await migrate({ databaseUrl: database.url });
  return {
    database,
    async crash() {
      process.kill(server.pid, 'SIGQUIT');
      await until(() => server.exit() !== undefined, { what: 'PostgreSQL has ended' });
      await server.stop();
      server = await startPostgres({ ...options, port: server.port });
    },
  };
}
