import { type Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { printable } from '../acme/index.ts';
import { accountFileError } from './error.ts';
import { type Found, foundIn } from './found.ts';
import { textOf } from './json.ts';

/** A folder with what lies in it. */
export interface Folder {
  path: string;
  files: readonly Found[];
}

/** What was read. */
export interface Scanned {
  folders: Folder[];
  /** The file that was named; undefined: it was a folder. */
  file: string | undefined;
  /** What could not be read, with the reason. */
  unread: string[];
}

const MAX_BYTES = 262_144;
const MAX_FILES = 20_000;
const MAX_DEPTH = 8;
/** What clients call the files that they keep beside a key, or the key beside these. */
const NEIGHBOURS = [
  'account.json',
  'account.key',
  'account_id.json',
  'account_key.pem',
  'ca.conf',
  'private_key.json',
  'regr.json',
  'registration_info.json',
];

/**
 * What lies in a folder and below it; of a file, it and what its client would have beside it. `text`: what
 * the file holds, where it can be read only once.
 */
export async function scan(path: string, text?: string): Promise<Scanned> {
  const full = resolve(path);
  if (text !== undefined) {
    const folders = [{ path: dirname(full), files: [foundIn(full, text)] }];
    return { folders, file: full, unread: [] };
  }
  const unread: string[] = [];
  const info = await stat(full).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  if (info.isDirectory()) {
    const entries = await entriesOf(full).catch((cause: unknown) => {
      throw unreadable(path, cause);
    });
    const folders: Folder[] = [];
    await walk(full, entries, { depth: MAX_DEPTH, budget: { files: MAX_FILES }, folders, unread });
    return { folders, file: undefined, unread };
  }
  const own = await readOne(full).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  return { folders: await around(full, own), file: full, unread };
}

/** The file and its neighbours, as far as there are any. One that cannot be read is none. */
async function around(file: string, own: Found | undefined): Promise<Folder[]> {
  // lego 4 keeps the key in a folder beside the account's file, whose key in turn has it above.
  const isBelow = basename(dirname(file)) === 'keys';
  const folder = isBelow ? dirname(dirname(file)) : dirname(file);
  const stem = basename(file).replace(/\.(json|key)$/, '');
  const pair = isBelow ? [] : [`${stem}.json`, `${stem}.key`];
  const beside = await read(folder, [...NEIGHBOURS, ...pair], file);
  const account = beside.find(({ path }) => basename(path) === 'account.json');
  const mine = own === undefined || isBelow ? [] : [own];
  const named = account ?? mine[0];
  const keys = named?.kind === 'json' ? legoKeys(named.object) : [];
  const below = join(folder, 'keys');
  return [
    {
      path: folder,
      files: sorted([...mine, ...beside, ...(await read(folder, keys, file))]),
    },
    {
      path: below,
      files: sorted([
        ...(isBelow && own !== undefined ? [own] : []),
        ...(await read(below, keys, file)),
      ]),
    },
  ];
}

/** How lego calls the key of an account: version 4 by the mail address, version 5 by the id. */
export function legoKeys(account: Record<string, unknown>): string[] {
  return [account['id'], account['email']].flatMap((value) => {
    const name = textOf(value);
    return name === undefined || basename(name) !== name ? [] : [`${name}.key`];
  });
}

async function read(folder: string, names: readonly string[], not: string): Promise<Found[]> {
  const paths = [...new Set(names)]
    .map((name) => join(folder, name))
    .filter((path) => path !== not);
  const found = await Promise.all(paths.map((path) => readOne(path).catch(() => undefined)));
  return found.filter((each) => each !== undefined);
}

function sorted(files: readonly Found[]): Found[] {
  const distinct = new Map(files.map((file) => [file.path, file]));
  return [...distinct.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function walk(
  path: string,
  entries: readonly Dirent[],
  at: { depth: number; budget: { files: number }; folders: Folder[]; unread: string[] },
): Promise<void> {
  const { depth, budget, folders, unread } = at;
  const files: Found[] = [];
  const below: string[] = [];
  for (const entry of entries) {
    const each = join(path, entry.name);
    budget.files -= 1;
    if (budget.files < 0) {
      throw accountFileError(
        `${printable(path, 500)} and what is above hold over ${MAX_FILES} files; name the folder of the account itself.`,
      );
    }
    // A link to a folder could lead anywhere; certbot's, which has some, are found at their own place.
    if (entry.isDirectory()) below.push(each);
    if (!entry.isFile() && !entry.isSymbolicLink()) continue;
    try {
      const found = await readOne(each);
      if (found !== undefined) files.push(found);
    } catch (error) {
      unread.push(`${each} (${codeOf(error)})`);
    }
  }
  folders.push({ path, files });
  if (depth === 0) return;
  for (const each of below) {
    try {
      await walk(each, await entriesOf(each), { ...at, depth: depth - 1 });
    } catch (error) {
      if (!isOfSystem(error)) throw error;
      unread.push(`${each} (${codeOf(error)})`);
    }
  }
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** undefined: it is no file, or none of an account. */
async function readOne(path: string): Promise<Found | undefined> {
  const info = await stat(path);
  if (!info.isFile() || info.size > MAX_BYTES) return undefined;
  // What has no size holds nothing; the kernel has such files that never end.
  return foundIn(path, info.size === 0 ? '' : await readFile(path, 'utf8'));
}

function unreadable(path: string, cause: unknown): Error {
  return accountFileError(
    `${path} cannot be read; check the path and its permissions (${codeOf(cause)}).`,
    cause,
  );
}

function isOfSystem(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
