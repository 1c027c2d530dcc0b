import { PgacmeError } from '../errors.ts';
import { bytesOf } from './file-bytes.ts';

/**
 * A secret from a file, or from stdin where there is no file: never from the command line, which other
 * users of the machine can read. The white space around it does not count.
 *
 * @throws PgacmeError ERR_CONFIG when it cannot be read, is not UTF-8 or is empty.
 */
export async function readSecret(file: string | undefined, what: string): Promise<string> {
  const bytes = await (file === undefined ? readStdin(what) : readSecretFile(file));
  const text = utf8(bytes)?.trim();
  const where = file === undefined ? '' : ` (${file})`;
  if (text === undefined) {
    throw new PgacmeError(
      'ERR_CONFIG',
      `${what}${where} is not text in UTF-8, so that it cannot be told from others like it. Give one line of text; one can be made with: openssl rand -base64 32`,
    );
  }
  if (text === '') throw new PgacmeError('ERR_CONFIG', `${what} is empty${where}.`);
  return text;
}

/** undefined: it is none. What is read leniently has U+FFFD in many places, and so is one secret of many files. */
function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

async function readSecretFile(file: string): Promise<Uint8Array> {
  try {
    return await bytesOf(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new PgacmeError('ERR_CONFIG', `The file ${file} cannot be read (${code}).`);
  }
}

async function readStdin(what: string): Promise<Uint8Array> {
  if (process.stdin.isTTY) {
    throw new PgacmeError(
      'ERR_CONFIG',
      `${what} is read from stdin or from a file, not typed: a terminal would show it. Give --file, or pipe it in.`,
    );
  }
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(Buffer.from(part as Uint8Array));
  return Buffer.concat(parts);
}
