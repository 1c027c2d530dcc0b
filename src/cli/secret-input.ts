import { readFile } from 'node:fs/promises';
import { PgacmeError } from '../errors.ts';

/**
 * A secret from a file, or from stdin where there is no file: never from the command line, which other
 * users of the machine can read. The white space around it does not count.
 *
 * @throws PgacmeError ERR_CONFIG when it cannot be read or is empty.
 */
export async function readSecret(file: string | undefined, what: string): Promise<string> {
  const text = (await (file === undefined ? readStdin(what) : readSecretFile(file))).trim();
  if (text === '') {
    throw new PgacmeError(
      'ERR_CONFIG',
      `${what} is empty${file === undefined ? '' : ` (${file})`}.`,
    );
  }
  return text;
}

async function readSecretFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new PgacmeError('ERR_CONFIG', `The file ${file} cannot be read (${code}).`);
  }
}

async function readStdin(what: string): Promise<string> {
  if (process.stdin.isTTY) {
    throw new PgacmeError(
      'ERR_CONFIG',
      `${what} is read from stdin or from a file, not typed: a terminal would show it. Give --file, or pipe it in.`,
    );
  }
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(Buffer.from(part as Uint8Array));
  return Buffer.concat(parts).toString('utf8');
}
