import { createPrivateKey } from 'node:crypto';
import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { JWK } from 'jose';
import { printable } from '../acme/index.ts';
import { accountFileError } from './error.ts';
import { type JsonObject, jsonObject } from './json.ts';

/** One file of a folder, by what it holds. */
export type Found = { path: string } & (
  | { kind: 'json'; object: JsonObject }
  | { kind: 'jwk'; jwk: JWK }
  | { kind: 'pem-key'; jwk: JWK }
  | { kind: 'locked-key' }
  | { kind: 'shell'; values: ReadonlyMap<string, string> }
);

/** A folder with what lies in it; other files were left out. */
export interface Folder {
  path: string;
  files: readonly Found[];
}

const MAX_BYTES = 262_144;
const MAX_FILES = 20_000;
const MAX_DEPTH = 8;

/** What lies in a folder and below it; of a file, its folder (and one named `keys` there). */
export async function scan(path: string): Promise<{ folders: Folder[]; file: string | undefined }> {
  const full = resolve(path);
  const info = await stat(full).catch((cause: unknown) => {
    throw accountFileError(`${path} cannot be read; check the path and its permissions.`, cause);
  });
  const budget = { files: MAX_FILES };
  const folders: Folder[] = [];
  if (info.isDirectory()) {
    await walk(full, MAX_DEPTH, budget, folders);
    return { folders, file: undefined };
  }
  // lego 4 keeps the key in a folder beside the account's file, whose key in turn has it above.
  const folder = dirname(full);
  await walk(basename(folder) === 'keys' ? dirname(folder) : folder, 1, budget, folders);
  return { folders, file: full };
}

async function walk(
  path: string,
  depth: number,
  budget: { files: number },
  folders: Folder[],
): Promise<void> {
  const names = (await readdir(path)).sort();
  const files: Found[] = [];
  const below: string[] = [];
  for (const name of names) {
    const each = join(path, name);
    // A link could lead anywhere; certbot's accounts, which have some, are found at their own place.
    const info = await lstat(each);
    if (info.isDirectory()) below.push(each);
    if (!info.isFile() || info.size > MAX_BYTES) continue;
    budget.files -= 1;
    if (budget.files < 0) {
      throw accountFileError(
        `${printable(path, 500)} and what is above hold over ${MAX_FILES} files; name the folder of the account itself.`,
      );
    }
    const found = contentOf(each, await readFile(each, 'utf8'));
    if (found !== undefined) files.push(found);
  }
  folders.push({ path, files });
  if (depth > 0) for (const each of below) await walk(each, depth - 1, budget, folders);
}

/** What a file is, by its content alone. */
function contentOf(path: string, text: string): Found | undefined {
  if (text.includes('PRIVATE KEY-----')) {
    const jwk = pemKey(text);
    if (jwk !== undefined) return { path, kind: 'pem-key', jwk };
    return /ENCRYPTED/.test(text) ? { path, kind: 'locked-key' } : undefined;
  }
  const object = jsonObject(text);
  if (object !== undefined) {
    const isKey = typeof object['kty'] === 'string' && typeof object['d'] === 'string';
    return isKey ? { path, kind: 'jwk', jwk: object } : { path, kind: 'json', object };
  }
  const values = shellValues(text);
  return values.size > 0 ? { path, kind: 'shell', values } : undefined;
}

function pemKey(text: string): JWK | undefined {
  try {
    return createPrivateKey(text).export({ format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** `NAME='value'` lines, as acme.sh writes its configuration. Nothing is evaluated. */
function shellValues(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, quoted, plain] =
      /^([A-Z][A-Z0-9_]*)=(?:'([^']*)'|([^\s'"]*))\s*$/.exec(line) ?? [];
    if (name !== undefined) values.set(name, quoted ?? plain ?? '');
  }
  return values;
}
