import { printable } from '../acme/text.ts';
import type { Command } from './command.ts';
import { type Target, targetOf } from './target.ts';

/**
 * Says in a sentence what an error of a driver or of PostgreSQL means, where, and what to look at;
 * undefined for an error that is none of theirs.
 */
export function databaseSentence(
  error: unknown,
  role: Command['role'],
  env: NodeJS.ProcessEnv,
): string | undefined {
  const code = codeOf(error);
  if (code === undefined || !(error instanceof Error)) return undefined;
  // Without a role the database is the quickstart's own, and the environment names another one.
  const target = role === undefined ? undefined : targetOf(env);
  const where = target === undefined ? 'the local PostgreSQL' : `${target.host}:${target.port}`;
  const isFile = (code === 'ENOENT' || code === 'EACCES') && !isConnect(error);
  const text = isFile ? undefined : connectionSentence(code, where, target);
  if (text !== undefined) return text;
  // SQLSTATE: five characters. Other codes, of Node and of ours, are longer.
  if (!/^[0-9A-Z]{5}$/.test(code)) return undefined;
  const said = printable(error.message, 300);
  return (
    sqlSentence(code, said, where, target, role) ?? `PostgreSQL at ${where}: ${said} (${code})`
  );
}

function connectionSentence(
  code: string,
  where: string,
  target: Target | undefined,
): string | undefined {
  const source = target?.source ?? 'its log';
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return `No PostgreSQL answers at ${where}; check that it runs and listens there, and host and port in ${source}.`;
    case 'EACCES':
      return `This user may not connect to the socket of PostgreSQL at ${where} (EACCES); check its permissions, and host and port in ${source}.`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `The host of ${where} cannot be found (${code}); check its name in ${source}, and name resolution on this machine.`;
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'CONNECT_TIMEOUT':
      return `PostgreSQL at ${where} does not answer (${code}); check the network, firewalls, and host and port in ${source}.`;
    case 'ECONNRESET':
    case 'EPIPE':
    case 'CONNECTION_CLOSED':
    case 'CONNECTION_ENDED':
    case 'CONNECTION_DESTROYED':
      return `The connection to PostgreSQL at ${where} was cut (${code}); check that a PostgreSQL listens there, and its log.`;
    default:
      return undefined;
  }
}

function sqlSentence(
  code: string,
  said: string,
  where: string,
  target: Target | undefined,
  role: Command['role'],
): string | undefined {
  const source = target?.source ?? 'its log';
  const database = target?.database ?? 'postgres';
  const user = target?.user ?? 'postgres';
  switch (code) {
    case '28P01':
      return `PostgreSQL at ${where} does not take the password of user ${user}; check user and password in ${source}.`;
    case '28000':
      return `PostgreSQL at ${where} does not let user ${user} log in (${said}); check the user in ${source}, and pg_hba.conf there.`;
    case '3D000':
      return `There is no database ${database} at ${where}; create it (createdb ${database}), or check the name in ${source}.`;
    case '42501':
      return `User ${user} may not do this in database ${database} at ${where} (${said}); let an administrator run: grant ${role ?? 'acme_owner'} to "${user}";`;
    case '42P01':
    case '42883':
    case '3F000':
      if (role === 'acme_owner') return undefined;
      return `Database ${database} at ${where} has no pgacme of this version (${said}); run pgacme migrate.`;
    case '57P01':
      return `PostgreSQL at ${where} ended the connection (${said}); try again once it is up.`;
    case '57P03':
      return `PostgreSQL at ${where} is starting or stopping (${said}); try again in a moment.`;
    case '53300':
      return `PostgreSQL at ${where} has no connection left (${said}); raise max_connections, or end some.`;
    case '55P03':
      return `Another session in database ${database} at ${where} holds a lock for too long (${said}); see pg_stat_activity, then try again.`;
    case '25006':
      return `The database ${database} at ${where} is read-only (${said}); name the primary in ${source}.`;
    default:
      return undefined;
  }
}

function isConnect(error: Error): boolean {
  return 'syscall' in error && error.syscall === 'connect';
}

/** The code of a system, driver or PostgreSQL error; of several attempts (IPv6, IPv4) the first one's. */
function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return undefined;
}
