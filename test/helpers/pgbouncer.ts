import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { dropsTo, postgresUser } from '../../src/local/os-user.ts';
import { type OwnedProcess, startOwned } from '../../src/local/owned-process.ts';
import { freePort } from '../../src/local/ports.ts';
import { which } from '../../src/local/run.ts';
import { testFolder } from './sweep.ts';
import { until } from './until.ts';

/** Debian's pgbouncer, where it is installed. */
export async function findPgbouncer(): Promise<string | undefined> {
  return (await which('pgbouncer')) ?? (await which('/usr/sbin/pgbouncer'));
}

/** A pgbouncer that runs, in front of one database. */
export interface Pgbouncer {
  /** Leads through it. */
  url: string;
  /** Ends it with whatever is under way, and starts it again on the same port. */
  restart(): Promise<void>;
}

/** Starts a pgbouncer in front of the database of this URL, and returns the URL that leads through it. */
export async function pgbouncerFor(
  program: string,
  url: string,
  mode: 'transaction' | 'session' = 'transaction',
): Promise<string> {
  return (await startPgbouncer(program, url, mode)).url;
}

/** The same, for a test that restarts it. */
export async function startPgbouncer(
  program: string,
  url: string,
  mode: 'transaction' | 'session' = 'transaction',
): Promise<Pgbouncer> {
  const to = new URL(url);
  const dir = await testFolder('pgbouncer');
  const port = await freePort();
  const database = to.pathname.slice(1);
  const ini = join(dir, 'pgbouncer.ini');
  await writeFile(
    ini,
    `[databases]
${database} = host=${to.hostname} port=${to.port} user=${to.username} password=${to.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${String(port)}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
ignore_startup_parameters = extra_float_digits
`,
  );
  const start = async (): Promise<OwnedProcess> => {
    const bouncer = startOwned({
      command: program,
      args: [ini],
      ...dropsTo(await postgresUser(dir)),
      // At once, with whatever is under way.
      stopSignals: ['SIGTERM', 'SIGKILL'],
      stopMs: 3000,
    });
    await until(() => bouncer.tail().some((line) => /listening on/.test(line)) || bouncer.exit(), {
      what: 'pgbouncer listens',
      timeoutMs: 60_000,
    });
    return bouncer;
  };
  let running = await start();
  onTestFinished(async () => {
    await running.stop();
    await rm(dir, { recursive: true, force: true });
  });
  const through = new URL(url);
  through.port = String(port);
  return {
    url: through.href,
    async restart() {
      await running.stop();
      running = await start();
    },
  };
}
