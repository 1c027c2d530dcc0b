import { PgacmeError } from '../errors.ts';
import { type Command, type ExitCode, UsageError } from './command.ts';
import { databaseSentence } from './database-error.ts';
import type { Output } from './output.ts';

/** What the command line was used wrongly for, rather than what failed. */
const MISUSE = ['ERR_USAGE', 'ERR_CONFIG', 'ERR_SECRET_KEY'];

/** Prints what went wrong as a sentence, and how pgacme is to end. */
export function reportError(
  error: unknown,
  {
    command,
    env,
    output,
    isVerbose,
  }: {
    command: Command | undefined;
    env: NodeJS.ProcessEnv;
    output: Output;
    isVerbose: boolean;
  },
): ExitCode {
  output.error(errorSentence(error, command, env));
  if (error instanceof UsageError) output.error(error.usage);
  if (isVerbose && error instanceof Error && error.stack !== undefined) {
    output.error(error.stack);
    // Only stacks: other members of an error may hold a URL with its password.
    if (error.cause instanceof Error) output.error(`Cause: ${error.cause.stack}`);
  }
  const isMisuse = error instanceof PgacmeError && MISUSE.includes(error.code);
  return isMisuse ? 2 : 1;
}

/** What went wrong. */
export function errorSentence(
  error: unknown,
  command: Command | undefined,
  env: NodeJS.ProcessEnv,
): string {
  // Errors of ours are sentences already; those of src/local are not PgacmeError.
  if (error instanceof PgacmeError) return error.message;
  const text = databaseSentence(error, command?.role, env);
  if (text !== undefined) return text;
  if (!(error instanceof Error)) return String(error);
  if (isListenError(error)) {
    const where = `http-01 cannot be answered on ${error.address}:${error.port} (${error.code})`;
    return error.code === 'EACCES'
      ? `${where}: this user may not listen on that port. Give the worker CAP_NET_BIND_SERVICE, or set PGACME_HTTP01_LISTEN to a port above 1023.`
      : `${where}; end the program that listens there, or change PGACME_HTTP01_LISTEN.`;
  }
  if ('code' in error && String(error.code).startsWith('ERR_LOCAL_')) return error.message;
  return `${error.message} (pgacme --verbose shows where.)`;
}

function isListenError(
  error: Error,
): error is Error & { address: string; port: number; code: string } {
  return 'syscall' in error && error.syscall === 'listen' && 'address' in error && 'port' in error;
}
