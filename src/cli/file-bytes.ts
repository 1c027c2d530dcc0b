import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';

/** What is in a file, a pipe or, as /dev/stdin, in stdin. */
export function bytesOf(path: string): Promise<Buffer> {
  // Where stdin is a socket, as ssh gives it, its path cannot be opened.
  return path === STDIN ? buffer(process.stdin) : readFile(path);
}

/** The path of stdin. */
export const STDIN = '/dev/stdin';
