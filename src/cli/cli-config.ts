import { type Config, readConfig } from '../config.ts';
import { PgacmeError } from '../errors.ts';
import { storedPassword, withStoredPassword } from './stored-password.ts';
import { type Target, targetOf } from './target.ts';

/** The environment, and which database it means. */
export interface CliConfig extends Config {
  target: Target;
}

/**
 * Reads the environment for a command.
 *
 * @throws PgacmeError ERR_CONFIG with all problems at once, a line each.
 */
export function readCliConfig(env: NodeJS.ProcessEnv): CliConfig {
  return check(env, []);
}

/** {@link readCliConfig} for a command that seals and opens nothing: it does not look at the key. */
export function readDatabaseConfig(env: NodeJS.ProcessEnv): Omit<CliConfig, 'secretKey'> {
  return check({ ...env, PGACME_SECRET_KEY: undefined, PGACME_SECRET_KEY_FILE: undefined }, []);
}

/** {@link readCliConfig} for a worker, which cannot do without the key that seals. */
export function readWorkerConfig(env: NodeJS.ProcessEnv): CliConfig & { secretKey: string } {
  const problems: string[] = [];
  if (!env['PGACME_SECRET_KEY']?.trim() && !env['PGACME_SECRET_KEY_FILE']) {
    problems.push(
      'PGACME_SECRET_KEY is not set: it seals the account keys, and all workers of a database have the same one. Make one with: openssl rand -base64 32',
    );
  }
  const config = check(env, problems);
  if (config.secretKey !== undefined) return { ...config, secretKey: config.secretKey };
  throw new PgacmeError(
    'ERR_CONFIG',
    'PGACME_SECRET_KEY_FILE is empty. Make a key with: openssl rand -base64 32',
  );
}

function check(env: NodeJS.ProcessEnv, problems: string[]): CliConfig {
  const target = targetOf(env);
  if (target === undefined) {
    // The value may hold a password and is not repeated.
    problems.push(
      'DATABASE_URL cannot be read: write postgres://user:password@host:port/database, with @ : / ? # % in a password as %40 %3A %2F %3F %23 %25.',
    );
  }
  let config: Config | undefined;
  try {
    config = readConfig(env);
  } catch (error) {
    if (!(error instanceof PgacmeError) || error.code !== 'ERR_CONFIG') throw error;
    problems.unshift(error.message);
  }
  if (config !== undefined && target !== undefined) storePasswords(config, target, env, problems);
  if (problems.length > 0 || config === undefined || target === undefined) {
    throw new PgacmeError('ERR_CONFIG', problems.join('\n'));
  }
  return { ...config, target };
}

/** What a password file has for the databases that are meant goes where both drivers look for it. */
function storePasswords(
  config: Config,
  target: Target,
  env: NodeJS.ProcessEnv,
  problems: string[],
): void {
  const { databaseUrl, listenUrl } = config;
  if (databaseUrl === undefined) {
    const password = storedPassword(undefined, target, env, problems);
    if (password !== undefined) process.env['PGPASSWORD'] = password;
  } else {
    config.databaseUrl = withStoredPassword(databaseUrl, target, env, problems);
  }
  const listen =
    listenUrl === undefined ? undefined : targetOf({ ...env, DATABASE_URL: listenUrl });
  if (listenUrl !== undefined && listen !== undefined) {
    config.listenUrl = withStoredPassword(listenUrl, listen, env, problems);
  }
}
