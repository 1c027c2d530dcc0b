import { readFileSync } from 'node:fs';
import { PgacmeError } from './errors.ts';
import { isSealingKey, splitKeys } from './secrets/seal.ts';

/** Where a built-in responder listens. */
export interface Listen {
  host: string;
  port: number;
}

/** The environment, read once and checked. */
export interface Config {
  /** undefined: the PG* variables. */
  databaseUrl: string | undefined;
  /** A direct URL where `databaseUrl` leads through a transaction pooler; undefined: it does not. */
  listenUrl: string | undefined;
  /** Base64 of 32 bytes; seals account keys. Several: the first one seals, all of them open. */
  secretKey: string | undefined;
  concurrency: number;
  http01Listen: Listen | undefined;
  workerSchema: string | undefined;
  environment: string | undefined;
  logLevel: string;
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

/**
 * Reads the environment.
 *
 * @throws PgacmeError ERR_CONFIG with all problems at once.
 */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const config: Config = {
    databaseUrl: databaseUrl(env, problems),
    listenUrl: listenUrl(env['PGACME_LISTEN_URL'], problems),
    secretKey: secretKey(env, problems),
    concurrency: concurrency(env['PGACME_CONCURRENCY'], problems),
    http01Listen: listen('PGACME_HTTP01_LISTEN', env['PGACME_HTTP01_LISTEN'], problems),
    workerSchema: env['PGACME_WORKER_SCHEMA'] || undefined,
    environment: env['PGACME_ENVIRONMENT'] || undefined,
    logLevel: env['PGACME_LOG_LEVEL'] ?? 'info',
  };
  if (!LOG_LEVELS.includes(config.logLevel)) {
    problems.push(`PGACME_LOG_LEVEL must be one of ${LOG_LEVELS.join(', ')}.`);
  }
  if (problems.length > 0) throw new PgacmeError('ERR_CONFIG', problems.join('\n'));
  return config;
}

function databaseUrl(env: NodeJS.ProcessEnv, problems: string[]): string | undefined {
  const url = env['DATABASE_URL'];
  if (url === undefined || url === '') {
    if (env['PGHOST'] === undefined && env['PGDATABASE'] === undefined) {
      problems.push(
        'DATABASE_URL is not set: give postgres://user@host:5432/database, or the PG* variables.',
      );
    }
    return undefined;
  }
  if (!/^postgres(ql)?:\/\//.test(url)) {
    // The value may hold a password and is not repeated.
    problems.push('DATABASE_URL is not a PostgreSQL URL: it begins with postgres://.');
  }
  return url;
}

function listenUrl(url: string | undefined, problems: string[]): string | undefined {
  if (url === undefined || url === '') return undefined;
  if (!/^postgres(ql)?:\/\//.test(url)) {
    problems.push('PGACME_LISTEN_URL is not a PostgreSQL URL: it begins with postgres://.');
  }
  return url;
}

function secretKey(env: NodeJS.ProcessEnv, problems: string[]): string | undefined {
  const file = env['PGACME_SECRET_KEY_FILE'];
  let value = env['PGACME_SECRET_KEY'];
  if (file !== undefined && file !== '') {
    try {
      value = readFileSync(file, 'utf8');
    } catch (error) {
      problems.push(
        `PGACME_SECRET_KEY_FILE (${file}) cannot be read: ${error instanceof Error ? error.message : String(error)}.`,
      );
      return undefined;
    }
  }
  if (value === undefined || value.trim() === '') return undefined;
  if (!splitKeys(value).every(isSealingKey)) {
    problems.push(
      'PGACME_SECRET_KEY must be 32 bytes in base64; make one with: openssl rand -base64 32',
    );
  }
  return value.trim();
}

function concurrency(value: string | undefined, problems: string[]): number {
  if (value === undefined || value === '') return 10;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1 || number > 1000) {
    problems.push('PGACME_CONCURRENCY must be a whole number from 1 to 1000.');
  }
  return number;
}

function listen(name: string, value: string | undefined, problems: string[]): Listen | undefined {
  if (value === undefined || value === '') return undefined;
  const match = /^(\[[0-9a-fA-F:]+\]|[^:[\]]*):(\d{1,5})$/.exec(value);
  const port = Number(match?.[2]);
  if (match === null || port > 65535) {
    problems.push(`${name} must be host:port, for example 0.0.0.0:80 or [::]:80.`);
    return undefined;
  }
  return { host: (match[1] ?? '').replace(/^\[|\]$/g, '') || '0.0.0.0', port };
}
